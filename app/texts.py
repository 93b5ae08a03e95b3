"""The texts of the page: a language is a file in `languages`, and adding one touches nothing else."""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Mapping
from pathlib import Path

from .session import Code, Mode, Note, Value

DEFAULT = "en"
_FOLDER = Path(__file__).parent / "languages"
_MODES = frozenset(("emotion", "speaker"))


def languages() -> dict[str, str]:
    """Return the code of each language, such as "ko", and what it calls itself; the default comes first."""
    codes = sorted((path.stem for path in _FOLDER.glob("*.toml")), key=lambda code: (code != DEFAULT, code))
    return {code: text(code, "page.language") for code in codes}


@functools.cache
def texts(language: str) -> Mapping[str, str]:
    """Return every text of a language by its name, such as "teach.undo".

    Raises:
        KeyError: there is no such language.
    """
    path = _FOLDER / f"{language}.toml"
    if path not in _FOLDER.glob("*.toml"):  # never a path that a visitor named
        raise KeyError(f"found the language {language!a:.20}; expected a file in {_FOLDER.name}")
    tables = tomllib.loads(path.read_text(encoding="utf-8"))
    return {f"{table}.{name}": value for table, entries in tables.items() for name, value in entries.items()}


def text(language: str, name: str, /, **values: Value) -> str:
    """Return one text with its values filled in: plain text, to be escaped where it is shown.

    Raises:
        KeyError: there is no such language, no such text, or a value that it mentions is missing.
    """
    return texts(language)[name].format_map(values)


def text_of(language: str, name: str, mode: Mode, /, **values: Value) -> str:
    """Return a text in the words of a mode: emotions are told apart, or people.

    Raises:
        KeyError: as `text`.
    """
    return text(language, name if mode == "emotion" else f"{name}_{mode}", **values)


def sentence(language: str, note: Note) -> str:
    """Return what a note says."""
    values = dict(note.values)
    if note.code is Code.MODE_CHANGED and values.get("mode") in _MODES:
        values["mode"] = text(language, f"teach.mode_{values['mode']}")
    return text(language, f"note.{note.code}", **values)


def preferred(accepted: str) -> str:
    """Return the language that a browser's `Accept-Language` asks for first, among those that are there."""
    known = languages()
    for part in accepted.split(","):
        code = part.partition(";")[0].strip().partition("-")[0].lower()
        if code in known:
            return code
    return DEFAULT
