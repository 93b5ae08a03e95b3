"""The texts of the page. A language is a TOML file in this folder, and adding one changes nothing else."""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import get_args

from ..models import Mode
from ..notes import Code, Note, Value

DEFAULT = "en"
_FOLDER = Path(__file__).parent


def languages() -> dict[str, str]:
    """Return the code of each language, such as "ko", and its own name for itself; the default comes first."""
    codes = sorted((path.stem for path in _FOLDER.glob("*.toml")), key=lambda code: (code != DEFAULT, code))
    return {code: text(code, "page.language") for code in codes}


@functools.cache
def texts(language: str) -> Mapping[str, str]:
    """Return every text of a language by its name, such as "teach.undo".

    Raises:
        KeyError: there is no such language.
    """
    if (path := _FOLDER / f"{language}.toml") not in _FOLDER.glob("*.toml"):  # never a path that a visitor named
        raise KeyError(f"found the language {language!a:.20}; expected a file in {_FOLDER.name}")
    tables = tomllib.loads(path.read_text(encoding="utf-8"))
    return {f"{table}.{name}": value for table, entries in tables.items() for name, value in entries.items()}


def text(language: str, name: str, /, **values: Value) -> str:
    """Return one text with its values filled in: plain text, to be escaped where it is shown.

    Raises:
        KeyError: there is no such language, no such text, or one of its values is missing.
    """
    return texts(language)[name].format_map(values)


def text_of(language: str, name: str, mode: Mode, /, **values: Value) -> str:
    """Return a text as `text`, in the words of a mode: the classes are emotions, or people."""
    return text(language, name if mode == "emotion" else f"{name}_{mode}", **values)


def sentence(language: str, note: Note) -> str:
    """Return a note as a sentence."""
    values = dict(note.values)
    if note.code is Code.MODE_CHANGED and values.get("mode") in get_args(Mode):
        values["mode"] = text(language, f"teach.mode_{values['mode']}")
    return text(language, f"note.{note.code}", **values)


def preferred(accepted: str) -> str:
    """Return the first language of a browser's `Accept-Language` that is there, or the default."""
    codes = [part.partition(";")[0].strip().partition("-")[0].lower() for part in accepted.split(",")]
    return next((code for code in codes if code in languages()), DEFAULT)
