"""Labels that look misspelt: nearly, but not quite, one that is enrolled or the word for a known emotion."""

from __future__ import annotations

import difflib
import unicodedata
import warnings
from collections.abc import Collection, Iterable

from ser_fewshot.corpora import ALIASES, canonical_emotion
from ser_fewshot.encoders import View
from ser_fewshot.errors import DataWarning

_CLOSE = 0.8  # of difflib's ratio: "agner" to "anger"
_LONG_ENOUGH = 4  # letters: codes such as "dis" are like too many words
_WORDS = tuple(word for noun, aliases in ALIASES.items() for word in (noun, *aliases) if len(word) >= _LONG_ENOUGH)


def class_key(label: str) -> str:
    """Return what is the same for all spellings of a class: "Anger", " anger " and letters of full width."""
    return " ".join(unicodedata.normalize("NFKC", label).casefold().split())


def misspelt(labels: Iterable[str], enrolled: Collection[str] = ()) -> dict[str, str]:
    """Return those of some new labels that look misspelt, each with the label that was probably meant.

    Each is compared with what is enrolled, with the labels before it, and with the known emotions; an emotion that is
    known itself, under another of its names, is only compared with the same emotion.
    """
    there = list(enrolled)
    found: dict[str, str] = {}
    for label in labels:
        if class_key(label) not in map(class_key, there):
            if (meant := _meant(label, there)) is not None:
                found[label] = meant
            there.append(label)
    return found


def warn_of_misspelt(labels: Iterable[str], enrolled: Collection[str] = (), *, view: View | None) -> None:
    """Warn of each label that looks misspelt, unless it is the name of somebody: those may differ by a letter."""
    for label, meant in misspelt(labels, enrolled).items() if view != "speaker" else ():
        warnings.warn(question(label, meant), DataWarning, stacklevel=3)


def question(label: str, meant: str) -> str:
    """Return what to ask about a label that looks misspelt."""
    return f"{label!r} is enrolled as a class of its own: did you mean {meant!r}?"


def _meant(label: str, there: Iterable[str]) -> str | None:
    noun = canonical_emotion(label)
    by_noun = {canonical_emotion(other): other for other in there}  # in lower case, where it is no emotion
    if noun in by_noun:
        return by_noun[noun]
    if noun in ALIASES:
        return None
    for word in difflib.get_close_matches(noun, [*by_noun, *_WORDS], cutoff=_CLOSE):
        # Typing errors rarely change the first letter, and "take 1" is not "take 2".
        if word[:1] == noun[:1] and _digits(word) == _digits(noun):
            return by_noun.get(word, word)
    return None


def _digits(text: str) -> str:
    return "".join(filter(str.isdigit, text))
