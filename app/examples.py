"""Something to play with: synthetic voices that come with the package, some to enrol and others to recognise."""

from __future__ import annotations

from functools import cache

from ser_fewshot.corpora import Utterance, read_manifest
from ser_fewshot.quickstart import DEMO_MANIFEST

from .clips import check
from .session import Mode, Sound

EMOTIONS = ("anger", "fear", "sadness")
"""Enrolled at once; boredom and happiness are left for a visitor to add."""
_SHOTS = 5
_SPEAKERS = 4  # that are enrolled in the mode "speaker"


@cache
def _utterances() -> tuple[Utterance, ...]:
    return tuple(sorted(read_manifest(DEMO_MANIFEST).utterances, key=lambda utterance: utterance.id))


def _speakers() -> list[str]:
    return sorted({str(utterance.speaker) for utterance in _utterances()})


@cache
def support(mode: Mode) -> dict[str, tuple[Utterance, ...]]:
    """Return the clips to enrol, by label; those of emotions are of five speakers, one clip each."""
    if mode == "speaker":
        return {
            speaker: tuple(item for item in _utterances() if item.speaker == speaker)[: 2 * _SHOTS : 2]
            for speaker in _speakers()[:_SPEAKERS]
        }
    by_emotion = {
        emotion: {item.speaker: item for item in _utterances() if item.emotion == emotion} for emotion in EMOTIONS
    }
    return {emotion: tuple(clips[name] for name in _speakers()[:_SHOTS]) for emotion, clips in by_emotion.items()}


@cache
def sounds(mode: Mode, *, trim: bool) -> dict[str, tuple[Sound, ...]]:
    """Return the same as sounds, which all visitors share; see `clips.check` for `trim`."""
    return {
        label: tuple(sound for item in members if (sound := check(item.path, trim=trim)[0]) is not None)
        for label, members in support(mode).items()
    }


def queries() -> tuple[Utterance, ...]:
    """Return clips to try, one of each emotion of the manifest, by speakers whose emotions are not enrolled."""
    speaker = _speakers()[_SHOTS]
    one_each = {item.emotion: item for item in _utterances() if item.speaker == speaker}
    return tuple(one_each.values())
