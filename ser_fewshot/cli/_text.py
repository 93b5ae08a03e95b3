"""Text that may be shown: names and labels come from strangers' files, and a terminal obeys what it prints."""

from __future__ import annotations

import json
import math
import unicodedata
from typing import Any

_CONTROLS = {"Cc", "Cs"}  # control characters, and lone surrogates: bytes of a file name that are no text
_TURNS = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}  # they reorder what follows them


def printable(text: object) -> str:
    """Return a text as one line: white space as spaces, and nothing that moves the cursor or turns the line around.

    Joiners stay, which Persian words and emoji need.
    """
    return "".join(map(_shown, str(text)))


def _shown(char: str) -> str:
    if char.isspace():
        return " "
    obeyed = unicodedata.category(char) in _CONTROLS or unicodedata.bidirectional(char) in _TURNS
    return "\N{REPLACEMENT CHARACTER}" if obeyed else char


def counted(n: int, noun: str) -> str:
    """Return a number with its noun: "1 clip", "3 clips"."""
    return f"{n} {noun}{'' if n == 1 else 's'}"


def words(value: object) -> str:
    """Return a value of a card or a table as people read it."""
    if value is None:
        return "not stated"
    if isinstance(value, dict):
        return ", ".join(f"{name} {number}" for name, number in value.items())
    if isinstance(value, tuple | list):
        return " ".join(map(str, value))
    return str(value)


def as_json(value: object) -> str:
    """Return a value as JSON that every reader takes: ASCII, so that any encoding can carry it, and null for infinity.

    The interval of a single episode is infinitely wide, which JSON cannot say.
    """
    return json.dumps(_finite(value), indent=1, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(part) for name, part in value.items()}
    if isinstance(value, tuple | list):
        return [_finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
