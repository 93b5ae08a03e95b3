"""Example clips: synthetic voices that come with the package, some to enrol and others to recognise."""

from __future__ import annotations

from functools import cache

from ser_fewshot.corpora import Utterance, read_manifest
from ser_fewshot.quickstart import DEMO_MANIFEST

from .clips import Sound, check
from .models import Mode

EMOTIONS = ("anger", "fear", "sadness")
"""Enrolled; boredom and happiness are left for a visitor to add."""
_SHOTS = 5
_SPEAKERS = 4  # enrolled in the mode "speaker"


@cache
def sounds(mode: Mode, *, trim: bool) -> dict[str, tuple[Sound, ...]]:
    """Return the clips to enrol, by label, which all visitors share; see `clips.check` for `trim`.

    Those of an emotion are of five speakers, one clip each.
    """
    return {
        label: tuple(sound for item in members if (sound := check(item.path, trim=trim)[0]) is not None)
        for label, members in _support(mode).items()
    }


def queries() -> tuple[Utterance, ...]:
    """Return a clip of each emotion, by a speaker whose emotions are not enrolled."""
    speaker = _speakers()[_SHOTS]
    return tuple({item.emotion: item for item in _utterances() if item.speaker == speaker}.values())


@cache
def _utterances() -> tuple[Utterance, ...]:
    return tuple(sorted(read_manifest(DEMO_MANIFEST).utterances, key=lambda utterance: utterance.id))


def _speakers() -> list[str]:
    return sorted({str(utterance.speaker) for utterance in _utterances()})


def _support(mode: Mode) -> dict[str, list[Utterance]]:
    if mode == "speaker":
        return {
            speaker: [item for item in _utterances() if item.speaker == speaker][: 2 * _SHOTS : 2]
            for speaker in _speakers()[:_SPEAKERS]
        }
    by_emotion = {
        emotion: {item.speaker: item for item in _utterances() if item.emotion == emotion} for emotion in EMOTIONS
    }
    return {emotion: [clips[name] for name in _speakers()[:_SHOTS]] for emotion, clips in by_emotion.items()}
