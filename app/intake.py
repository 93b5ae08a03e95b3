"""Which of several clips may be enrolled: each is checked, gets a name of its own, and has to fit within the limits."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import chain

import numpy as np

from ser_fewshot.classifier.inputs import checked_label
from ser_fewshot.errors import EnrollmentError

from . import limits
from .clips import Given, check, note
from .enrolled import unique
from .session import Code, Enrolment, Note, Sound

_UNSEEN = ("Cf", "Co")  # Unicode categories: format characters, of which some turn text around, and private ones
_JOINERS = "\u200c\u200d"  # Persian and Indic scripts and emoji are written with them


def take(
    given: Sequence[Given], label: str, enrolment: Enrolment, *, trim: bool, name: str | None = None
) -> tuple[tuple[Sound, ...], tuple[Note, ...]]:
    """Return the clips that may be enrolled under a label, and what is to be said of all of them; see `clips.check`."""
    notes: list[Note] = []
    checked: list[Sound] = []
    for one in given[: limits.CLIPS_AT_ONCE]:
        sound, said = check(one, name=name, trim=trim)
        notes += said
        checked += [] if sound is None else [sound]
    fitting, refused = fit(checked, label, enrolment)
    if len(given) > limits.CLIPS_AT_ONCE:
        notes.append(note(Code.TOO_MANY_AT_ONCE, "error", most=limits.CLIPS_AT_ONCE))
    return fitting, (*notes, *refused)


def fit(sounds: Iterable[Sound], label: str, enrolment: Enrolment) -> tuple[tuple[Sound, ...], tuple[Note, ...]]:
    """Return the sounds, under names of their own, that are new and within the limits; and why others are not."""
    if label not in enrolment.clips and len(enrolment.clips) >= limits.LABELS:
        return (), (note(Code.TOO_MANY_LABELS, "error", most=limits.LABELS),)
    taken: dict[str, Sound] = {}
    notes: list[Note] = []
    names = set(chain.from_iterable(enrolment.clips.values()))
    for sound in sounds:
        refusal = _refusal(sound, label, enrolment, taken)
        if refusal is not None:
            notes += [] if refusal in notes else [refusal]
            continue
        name = unique(sound.clip.name, names)
        names.add(name)
        taken[name] = replace(sound, clip=replace(sound.clip, name=name))
    return tuple(taken.values()), tuple(notes)


def legal_name(name: object, *, most: int, otherwise: Code) -> str | Note:
    """Return the name of a class or a profile as the library keeps it, of at most so many characters, or why not.

    Characters that turn the text around them or are not seen are refused too: two names that look alike would differ.
    """
    try:
        checked = checked_label(name)
    except EnrollmentError:
        checked = ""
    hidden = any(unicodedata.category(char) in _UNSEEN and char not in _JOINERS for char in checked)
    return checked if 0 < len(checked) <= most and not hidden else note(otherwise, "error", most=most)


def name_of(sound: Sound, enrolment: Enrolment) -> str | None:
    """Return the name under which the very same samples are enrolled already; None if they are not."""
    same = (name for name, other in enrolment.sounds.items() if _alike(sound, other))
    return next(same, None)


def seconds_of(sounds: Iterable[Sound]) -> float:
    """Return how long sounds are together, in s, each counted once."""
    return sum(sound.clip.duration for sound in {id(sound): sound for sound in sounds}.values())


def _refusal(sound: Sound, label: str, enrolment: Enrolment, taken: Mapping[str, Sound]) -> Note | None:
    """Return why a sound may not be added to what is enrolled and what was just taken; None if it may."""
    if (there := _label_of(sound, label, enrolment, taken)) is not None:
        return note(Code.ALREADY_THERE, "error", name=sound.clip.name, label=there)
    if len(enrolment.clips.get(label, ())) + len(taken) >= limits.CLIPS:
        return note(Code.TOO_MANY_CLIPS, "error", label=label, most=limits.CLIPS)
    if seconds_of((*enrolment.sounds.values(), *taken.values(), sound)) > limits.SOUND_SECONDS:
        return note(Code.TOO_MUCH_SOUND, "error", most=limits.SOUND_SECONDS)
    return None


def _label_of(sound: Sound, label: str, enrolment: Enrolment, taken: Mapping[str, Sound]) -> str | None:
    """Return the label under which the very same samples are enrolled already, or were just taken."""
    if (name := name_of(sound, enrolment)) is not None:
        return enrolment.label_of(name)
    return label if any(_alike(sound, other) for other in taken.values()) else None


def _alike(one: Sound, other: Sound) -> bool:
    return np.array_equal(one.clip.waveform, other.clip.waveform)
