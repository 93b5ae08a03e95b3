"""What one visitor has on the page: values that are never changed, only replaced.

A page holds three of them, each in a state of its own, so that none overwrites another: a `Session` (what is enrolled),
a `Trail` (what was recognised) and a `Stream` (what the microphone heard, see `streaming`). Models are in none of the
initial values: they are shared by all visitors and handed to the handlers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ser_fewshot.audio import SAMPLE_RATE, Clip
from ser_fewshot.classifier import FewShotClassifier, Prediction
from ser_fewshot.encoders import View

Mode: TypeAlias = View
"""What is told apart: "emotion" or "speaker"."""
Level = Literal["info", "warning", "error"]
Value = str | int | float


class Code(StrEnum):
    """What a note says; its values in brackets. `texts` has a sentence for each of them in every language."""

    # About one clip; every one of them has {name}. The first group refuses the clip, the second keeps it.
    NO_CLIP = "no_clip"  # nothing was recorded or dropped (no values)
    TOO_SHORT = "too_short"  # {least} s
    TOO_LONG = "too_long"  # {most} s
    SILENT = "silent"
    TOO_BIG = "too_big"  # {most} MiB
    UNREADABLE = "unreadable"  # {detail}: the library's sentence, in English
    ALREADY_THERE = "already_there"  # {label}: the same sound is enrolled there
    SERVER_FULL = "server_full"  # the sound of all visitors together is as much as the program holds
    TOO_MANY_AT_ONCE = "too_many_at_once"  # {most} files; those beyond were left out (no name)

    CLIPPED = "clipped"
    SHORT = "short"  # less than {least} s
    NOISY = "noisy"  # {decibels} dB from the background to the voice
    NO_SPEECH = "no_speech"

    # About what is enrolled.
    ADDED = "added"  # {count} clips, {label}
    REMOVED = "removed"  # {name}, {label}
    FORGOTTEN = "forgotten"  # {label}
    EVERYTHING_FORGOTTEN = "everything_forgotten"
    UNDONE = "undone"
    NOTHING_TO_UNDO = "nothing_to_undo"
    EXAMPLES_LOADED = "examples_loaded"  # {labels}, {count} clips; the voices are synthetic
    MISSPELT = "misspelt"  # {label}, a new name, and {meant}, which it looks like
    BAD_LABEL = "bad_label"  # {most} characters
    NAME_FIRST = "name_first"  # {most} characters: clips came without a name, and wait for it
    UNKNOWN_LABEL = "unknown_label"  # {label}, {labels}
    UNKNOWN_CLIP = "unknown_clip"  # {name}
    TOO_MANY_CLIPS = "too_many_clips"  # {label}, {most}
    TOO_MANY_LABELS = "too_many_labels"  # {most}
    TOO_MUCH_SOUND = "too_much_sound"  # {most} s of all clips together
    MODE_CHANGED = "mode_changed"  # {mode}: "emotion" | "speaker"; begins with nothing enrolled

    # About a file or a profile.
    NO_FILE = "no_file"  # no enrolment file was chosen
    SAVED = "saved"  # {count} clips, {labels}
    LOADED = "loaded"  # {count} clips, {labels}
    NOTHING_TO_SAVE = "nothing_to_save"
    BAD_FILE = "bad_file"  # {detail}: the library's sentence, in English
    BAD_LABEL_IN_FILE = "bad_label_in_file"  # {number} of the name in the file, {most} characters
    CLIP_TOO_LONG_IN_FILE = "clip_too_long_in_file"  # {most} s
    NO_STORE = "no_store"  # the program was started without --store
    BAD_PROFILE_NAME = "bad_profile_name"  # {most} characters
    UNKNOWN_PROFILE = "unknown_profile"  # {name}
    STORE_FULL = "store_full"  # {most} profiles
    PROFILE_EXISTS = "profile_exists"  # {name}: kept already; nothing is replaced before the visitor says so
    PROFILE_SAVED = "profile_saved"  # {name}
    PROFILE_DELETED = "profile_deleted"  # {name}

    # About recognising.
    BAD_RATE = "bad_rate"  # {rate} Hz of a microphone, {least}, {most}
    TOO_FEW_LABELS = "too_few_labels"  # {count} enrolled; two are needed
    NOTHING_RECOGNISED = "nothing_recognised"  # there is nothing to correct yet
    CORRECTED = "corrected"  # {name}, {label}

    # Why an answer may be wrong.
    FEW_CLIPS = "few_clips"  # {label}, {count}, {enough}
    OVERLAP = "overlap"  # {first}, {second}: two classes that the enrolment itself confuses
    CLOSE_CALL = "close_call"  # {first}, {second}: the two most probable
    FAR_AWAY = "far_away"  # no enrolled clip sounds like it

    # Hints on the enrolment.
    UNBALANCED = "unbalanced"  # {label}, {count}, {most}, {most_label}
    NEEDS_MORE = "needs_more"  # {label}, {share} % of its clips are recognised as it
    LOOKS_GOOD = "looks_good"
    TOO_FEW_TO_TELL = "too_few_to_tell"  # two clips each of two classes are needed
    NO_SOUND = "no_sound"  # clips of a loaded enrolment have no sound, so they cannot be compared or played
    LEARNER_REFUSED = "learner_refused"  # {learner}, {detail}


@dataclass(frozen=True)
class Note:
    """Something to tell the visitor, in no language yet.

    Attributes:
        code: what.
        level: "error" means that nothing was done (for a clip: that it was refused).
        values: what the sentence mentions, plain text that must be shown as text.
    """

    code: Code
    level: Level
    values: Mapping[str, Value] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, eq=False)
class Sound:
    """A clip that passed the checks, to play and to embed.

    Attributes:
        clip: its samples, and its name, which is unique in a session.
        notes: what is odd about it but not fatal.
    """

    clip: Clip
    notes: tuple[Note, ...] = ()

    @property
    def playable(self) -> tuple[int, NDArray[np.int16]]:
        """(rate in Hz, samples (n,)) for an audio player; integers, since gradio changes the level of floats."""
        return SAMPLE_RATE, (self.clip.waveform.clip(-1, 1) * np.iinfo(np.int16).max).astype(np.int16)


@dataclass(frozen=True, eq=False)
class Enrolment:
    """What is enrolled at one moment.

    Attributes:
        mode: what is told apart, "emotion" or "speaker".
        classifier: holds labels, names and embeddings of the clips; never changed in place; None before the first clip.
        sounds: name of a clip -> its sound; clips of a loaded file have none.
    """

    mode: Mode = "emotion"
    classifier: FewShotClassifier | None = None
    sounds: Mapping[str, Sound] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def clips(self) -> dict[str, tuple[str, ...]]:
        """Label -> names of its clips, in the order of enrolment."""
        return {} if self.classifier is None else self.classifier.enrolled

    def label_of(self, clip: str) -> str | None:
        """Return the label of the clip of that name; None if there is no such clip."""
        return next((label for label, names in self.clips.items() if clip in names), None)

    @property
    def count(self) -> int:
        """Clips of all labels."""
        return sum(map(len, self.clips.values()))

    def knows(self, prediction: Prediction, *, mode: Mode) -> bool:
        """Whether every class that a prediction chose from is enrolled here; it was given in a mode."""
        return mode == self.mode and prediction.probabilities.keys() <= self.clips.keys()


@dataclass(frozen=True, eq=False)
class Session:
    """What one visitor enrolled.

    Attributes:
        enrolment: what is enrolled now; `past` what was before, the latest last, for undo.
        notes: what the last action has to say; replaced by every action.
    """

    enrolment: Enrolment = field(default_factory=Enrolment)
    past: tuple[Enrolment, ...] = ()
    notes: tuple[Note, ...] = ()

    def __deepcopy__(self, memo: object) -> Session:
        """Return itself: nothing in it changes, and a model must not be copied for every visitor."""
        return self

    @property
    def labels(self) -> tuple[str, ...]:
        """What is enrolled, in the order of enrolment."""
        return tuple(self.enrolment.clips)

    @property
    def can_recognise(self) -> bool:
        """Whether there are two classes to tell apart."""
        return len(self.labels) >= 2


@dataclass(frozen=True, eq=False)
class Recognised:
    """A clip that was recognised.

    Attributes:
        sound: the clip, to play and to add as a correction.
        prediction: label, probabilities, nearest enrolled clip (its `name` is a key of `Enrolment.sounds`), unknown,
            novelty.
        seconds: how long recognising took, in s.
        doubts: why the answer may be wrong.
        corrected: what the visitor said it was; None while he said nothing.
        mode: what was told apart.
        given_by: what answered, if it is still there; a reference that keeps nothing alive that was forgotten.
    """

    sound: Sound
    prediction: Prediction
    seconds: float
    doubts: tuple[Note, ...] = ()
    corrected: str | None = None
    mode: Mode = "emotion"
    given_by: Callable[[], FewShotClassifier | None] = lambda: None

    @property
    def label(self) -> str:
        """What it is taken for: what the visitor said, or else the answer."""
        return self.prediction.label if self.corrected is None else self.corrected

    def holds(self, enrolment: Enrolment) -> bool:
        """Whether every class that the answer names is still enrolled."""
        return enrolment.knows(self.prediction, mode=self.mode)


@dataclass(frozen=True, eq=False)
class Trail:
    """What was recognised, the latest last, and what the last action has to say."""

    recognised: tuple[Recognised, ...] = ()
    notes: tuple[Note, ...] = ()

    def __deepcopy__(self, memo: object) -> Trail:
        """Return itself: nothing in it changes."""
        return self

    @property
    def last(self) -> Recognised | None:
        """The latest clip; None before the first, and where the last action recognised nothing."""
        return self.recognised[-1] if self.recognised else None

    def answer(self, enrolment: Enrolment) -> Recognised | None:
        """Return the latest clip, unless its answer names what is no longer enrolled."""
        return self.last if self.last is not None and self.last.holds(enrolment) else None

    def valid_notes(self, enrolment: Enrolment) -> tuple[Note, ...]:
        """Return the notes without a correction that was undone since, or belongs to another enrolment."""
        now = self.last is not None and self.last.given_by() is enrolment.classifier
        return tuple(one for one in self.notes if now or one.code is not Code.CORRECTED)
