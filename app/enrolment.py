"""What is enrolled; a change makes a new value, and the old one stays for undo and other threads."""

from __future__ import annotations

import copy
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, count
from types import MappingProxyType

import numpy as np

from ser_fewshot.classifier import FewShotClassifier, Prediction
from ser_fewshot.classifier.inputs import checked_label
from ser_fewshot.errors import EnrollmentError

from . import limits
from .clips import Sound
from .models import Mode, Models
from .notes import Code, Note, note

_INVISIBLE = ("Cf", "Co")  # Unicode categories: format characters, of which some reverse text, and private ones
_JOINERS = "\u200c\u200d"  # Persian and Indic scripts and emoji are written with them


@dataclass(frozen=True, eq=False)
class Enrolment:
    """What is enrolled.

    Attributes:
        mode: what the classes are, "emotion" or "speaker".
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

    @property
    def count(self) -> int:
        """Clips of all labels."""
        return sum(map(len, self.clips.values()))

    def label_of(self, clip: str) -> str | None:
        """Return the label of the clip of that name; None if there is no such clip."""
        return next((label for label, names in self.clips.items() if clip in names), None)

    def name_of(self, sound: Sound) -> str | None:
        """Return the name under which the very same samples are enrolled already; None if they are not."""
        return next((name for name, other in self.sounds.items() if _same_samples(sound, other)), None)

    def has_classes_of(self, prediction: Prediction | None, *, mode: Mode) -> bool:
        """Whether every class of a prediction, which was made in a mode, is still enrolled; None has no classes."""
        return prediction is None or (mode == self.mode and prediction.probabilities.keys() <= self.clips.keys())

    def with_clips(self, label: str, sounds: Sequence[Sound], *, models: Models) -> Enrolment:
        """Return an enrolment with more clips."""
        classifier = copy.copy(self.classifier or models.empty(self.mode))  # shares the model
        classifier.add(label, [sound.clip for sound in sounds])
        new = {sound.clip.name: sound for sound in sounds}
        return replace(self, classifier=classifier, sounds=MappingProxyType({**self.sounds, **new}))

    def without(self, label: str, *, clip: str | None = None) -> Enrolment:
        """Return an enrolment without a label, or without one clip of it; a label goes with its last clip."""
        if self.classifier is None:
            return self
        classifier = copy.copy(self.classifier)
        classifier.forget(label, clip=clip)
        left = {name for names in classifier.enrolled.values() for name in names}
        sounds = {name: sound for name, sound in self.sounds.items() if name in left}
        return replace(self, classifier=classifier, sounds=MappingProxyType(sounds))

    def admit(self, sounds: Iterable[Sound], label: str) -> tuple[tuple[Sound, ...], tuple[Note, ...]]:
        """Return the sounds that are new and within the limits, under unique names; and why others are refused."""
        if label not in self.clips and len(self.clips) >= limits.LABELS:
            return (), (note(Code.TOO_MANY_LABELS, most=limits.LABELS),)
        admitted: list[Sound] = []
        notes: list[Note] = []
        for sound in sounds:
            refusal = self._refusal(sound, label, admitted)
            if refusal is None:
                admitted.append(sound)
            elif refusal not in notes:
                notes.append(refusal)
        names = unique_names((sound.clip.name for sound in admitted), set(chain.from_iterable(self.clips.values())))
        named = zip(admitted, names, strict=True)
        return tuple(replace(sound, clip=replace(sound.clip, name=name)) for sound, name in named), tuple(notes)

    def _refusal(self, sound: Sound, label: str, admitted: Sequence[Sound]) -> Note | None:
        """Return why a sound may not be added after those that were just admitted; None if it may."""
        name = self.name_of(sound)
        if name is not None or any(_same_samples(sound, other) for other in admitted):
            there = label if name is None else self.label_of(name) or label
            return note(Code.ALREADY_THERE, name=sound.clip.name, label=there)
        if len(self.clips.get(label, ())) + len(admitted) >= limits.CLIPS:
            return note(Code.TOO_MANY_CLIPS, label=label, most=limits.CLIPS)
        if seconds_of((*self.sounds.values(), *admitted, sound)) > limits.SOUND_SECONDS:
            return note(Code.TOO_MUCH_SOUND, most=limits.SOUND_SECONDS)
        return None


def checked_name(name: object, *, most: int, otherwise: Code) -> str | Note:
    """Return the name of a class or a profile as the library keeps it, of at most so many characters, or why not.

    Invisible characters and those that reverse text are refused too: two names that look alike would differ.
    """
    try:
        checked = checked_label(name)
    except EnrollmentError:
        checked = ""
    hidden = any(unicodedata.category(char) in _INVISIBLE and char not in _JOINERS for char in checked)
    return checked if 0 < len(checked) <= most and not hidden else note(otherwise, most=most)


def unique_names(names: Iterable[str], taken: set[str]) -> tuple[str, ...]:
    """Return names of which none is taken or there twice: "a.wav", "a.wav (2)", ... They are taken from then on."""
    unique = []
    for name in names:
        numbered = (name if number == 1 else f"{name} ({number})" for number in count(1))
        unique.append(next(one for one in numbered if one not in taken))
        taken.add(unique[-1])
    return tuple(unique)


def seconds_of(sounds: Iterable[Sound]) -> float:
    """Return how long sounds are together, in s, each counted once."""
    return sum(sound.clip.duration for sound in {id(sound): sound for sound in sounds}.values())


def _same_samples(one: Sound, other: Sound) -> bool:
    return np.array_equal(one.clip.waveform, other.clip.waveform)
