"""The errors that a user can meet, each with what was found, what is expected and the remedy.

They are exceptions for callers and one readable line for people: `str(error)` holds no line break, no control character
and no half of a character, so the command line and the page can print it as it is.
"""

from __future__ import annotations

import unicodedata
from typing import Any

_UNPRINTABLE = ("Cc", "Cs")  # controls, which a terminal obeys, and lone surrogates, which no encoding knows


class SerFewshotError(Exception):
    """The parent of every error that is about the user's input rather than about our code."""

    def __init__(self, subject: str, *, found: str, expected: str, remedy: str) -> None:
        """Describe one fault.

        Args:
            subject: a clip, a file, a setting.
            found: the illegal value or state.
            expected: the legal values or the limit.
            remedy: what the user can do, as a sentence.
        """
        self.subject = subject
        self.found = found
        self.expected = expected
        self.remedy = remedy
        super().__init__(subject)

    def __str__(self) -> str:
        sentence = f"{self.subject}: found {self.found}; expected {self.expected}. {self.remedy}"
        return "".join(_printable(character) for character in " ".join(sentence.split()))

    def __reduce__(self) -> tuple[Any, ...]:
        """Keep the four parts when a worker process hands the error to its parent."""
        return _rebuild, (type(self), self.subject, self.found, self.expected, self.remedy)


def _printable(character: str) -> str:
    return "\N{REPLACEMENT CHARACTER}" if unicodedata.category(character) in _UNPRINTABLE else character


def _rebuild(kind: type[SerFewshotError], subject: str, found: str, expected: str, remedy: str) -> SerFewshotError:
    return kind(subject, found=found, expected=expected, remedy=remedy)


class AudioError(SerFewshotError):
    """A clip cannot be used: missing, unreadable, silent, too short, too long."""


class TooShortError(AudioError):
    """A clip holds too little sound, with or without the silence at its ends."""


class TooLongError(AudioError):
    """A clip is longer than is allowed."""


class SilentError(AudioError):
    """A clip is silent."""


class CorpusError(SerFewshotError):
    """A corpus folder, a manifest or a label does not fit its format."""


class EpisodeError(SerFewshotError):
    """An episode cannot be drawn from these utterances."""


class CheckpointError(SerFewshotError):
    """A saved model, a checkpoint or a cached file cannot be trusted or does not fit."""


class EnrollmentError(SerFewshotError):
    """An enrolment lacks what it needs: clips, at least two emotions, a known name."""


class AdaptationError(SerFewshotError):
    """The adaptation to a support set diverged: its loss is no longer a number."""


class DataWarning(UserWarning):
    """The user's data can be used, but not all of it as intended."""


class SettingsError(SerFewshotError):
    """A setting, an option or the name of a plug-in is not legal."""


class DistributedError(SerFewshotError):
    """One of several processes is gone, cannot be reached or sees other files."""
