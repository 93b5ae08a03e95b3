"""Cells of tables: the name of an emotion or a speaker, nothing, or a number, which is no class."""

from __future__ import annotations

import re
from collections.abc import Iterable

from ser_fewshot.corpora._utterance import Utterance, canonical_emotion

_MISSING = frozenset({"", "-", "--", "na", "n/a", "#n/a", "<na>", "nan", "nat", "none", "null"})
"""What programs and people write into a cell where there is nothing to say, without letter case."""
_NUMBER = re.compile(r"[+-]?(?:\d+[.,]?\d*|[.,]\d+)(?:e[+-]?\d+)?", re.IGNORECASE)

_NAMED = 5  # numbers in a sentence


class LabelError(Exception):
    """A cell names no class; the message is the reason why its row is skipped."""


def stated(cell: str | None) -> str | None:
    """Return a cell as it is, None where it says that nothing is known: empty, "nan", "N/A", "None", "-" and the like.

    Examples:
        >>> stated("maria"), stated(" NaN ")
        ('maria', None)
    """
    return None if cell is None or cell.strip().casefold() in _MISSING else cell


def is_number(label: str) -> bool:
    """Whether a label is a number, such as an index without its name, or a value of arousal."""
    return _NUMBER.fullmatch(label.strip()) is not None


def emotion_of(cell: str | None, *, numbers: bool = False) -> str | None:
    """Return the field's noun for the emotion in a cell, None where none is stated.

    Raises:
        LabelError: it is a number, which would make a class of every value, and `numbers` are not allowed.
    """
    word = stated(cell)
    if word is None:
        return None
    if is_number(word) and not numbers:
        raise LabelError(f"label: the emotion {word.strip()!r} is a number; give the names of the emotions instead")
    return canonical_emotion(word) or None


def numbers_among(clips: Iterable[Utterance]) -> tuple[str, ...]:
    """Return one sentence if clips have numbers as emotions: nothing says what they stand for."""
    numbers = [clip.emotion for clip in clips if clip.emotion is not None and is_number(clip.emotion)]
    if not numbers:
        return ()
    kinds = sorted(set(numbers))
    named = ", ".join(kinds[:_NAMED]) + (" ..." if len(kinds) > _NAMED else "")
    return (f"{len(numbers)} clips have a number as their emotion ({named}): give the names of the emotions",)
