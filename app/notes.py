"""Messages to the visitor, in no language yet: a code and values. `languages` has a sentence for every code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Literal

Level = Literal["info", "warning", "error"]
Card = Literal["teach", "recognise", "keep"]
Value = str | int | float


class Code(StrEnum):
    """What a note says, its level, and the card that shows it if the session holds it.

    An "error" means that nothing was done; for a clip, that it was refused.
    """

    level: Level
    card: Card

    def __new__(cls, text: str, level: Level, card: Card = "teach") -> Code:
        """Make a member that is its text."""
        member = str.__new__(cls, text)
        member._value_, member.level, member.card = text, level, card
        return member

    # A clip.
    NO_CLIP = "no_clip", "error"
    TOO_SHORT = "too_short", "error"
    TOO_LONG = "too_long", "error"
    SILENT = "silent", "error"
    TOO_BIG = "too_big", "error"
    UNREADABLE = "unreadable", "error"
    ALREADY_THERE = "already_there", "error"
    SERVER_FULL = "server_full", "error"
    TOO_MANY_AT_ONCE = "too_many_at_once", "error"
    CLIPPED = "clipped", "warning"
    SHORT = "short", "warning"
    NOISY = "noisy", "warning"
    NO_SPEECH = "no_speech", "warning"
    BAD_RATE = "bad_rate", "error"

    # The enrolment.
    ADDED = "added", "info"
    REMOVED = "removed", "info"
    FORGOTTEN = "forgotten", "info"
    EVERYTHING_FORGOTTEN = "everything_forgotten", "info", "keep"
    UNDONE = "undone", "info"
    NOTHING_TO_UNDO = "nothing_to_undo", "info"
    EXAMPLES_LOADED = "examples_loaded", "info"
    MISSPELT = "misspelt", "warning"
    BAD_LABEL = "bad_label", "error"
    NAME_FIRST = "name_first", "info"
    UNKNOWN_LABEL = "unknown_label", "error"
    UNKNOWN_CLIP = "unknown_clip", "error"
    TOO_MANY_CLIPS = "too_many_clips", "error"
    TOO_MANY_LABELS = "too_many_labels", "error"
    TOO_MUCH_SOUND = "too_much_sound", "error"
    MODE_CHANGED = "mode_changed", "info"

    # A file or a profile.
    NO_FILE = "no_file", "error", "keep"
    SAVED = "saved", "info", "keep"
    LOADED = "loaded", "info", "keep"
    NOTHING_TO_SAVE = "nothing_to_save", "error", "keep"
    BAD_FILE = "bad_file", "error", "keep"
    BAD_LABEL_IN_FILE = "bad_label_in_file", "error", "keep"
    CLIP_TOO_LONG_IN_FILE = "clip_too_long_in_file", "error", "keep"
    BAD_PROFILE_NAME = "bad_profile_name", "error", "keep"
    UNKNOWN_PROFILE = "unknown_profile", "error", "keep"
    STORE_FULL = "store_full", "error", "keep"
    PROFILE_EXISTS = "profile_exists", "error", "keep"
    PROFILE_SAVED = "profile_saved", "info", "keep"
    PROFILE_DELETED = "profile_deleted", "info", "keep"

    # A prediction, and why it may be wrong.
    TOO_FEW_LABELS = "too_few_labels", "error"
    NOTHING_RECOGNISED = "nothing_recognised", "error"
    CORRECTED = "corrected", "info", "recognise"
    FEW_CLIPS = "few_clips", "info"
    OVERLAP = "overlap", "info"
    CLOSE_CALL = "close_call", "info"
    FAR_AWAY = "far_away", "info"

    # Hints, and the comparison of learners.
    UNBALANCED = "unbalanced", "info"
    NEEDS_MORE = "needs_more", "info"
    LOOKS_GOOD = "looks_good", "info"
    TOO_FEW_TO_TELL = "too_few_to_tell", "info"
    NO_SOUND = "no_sound", "error"
    LEARNER_REFUSED = "learner_refused", "error"


@dataclass(frozen=True)
class Note:
    """A message; its values are plain text, to be escaped where they are shown."""

    code: Code
    values: Mapping[str, Value]

    @property
    def level(self) -> Level:
        """How serious it is."""
        return self.code.level


def note(code: Code, /, **values: Value) -> Note:
    """Return a note with its values."""
    return Note(code, MappingProxyType(values))
