"""What a student hears and what its teachers made of it: made once, kept on disk, read from there in training."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soxr
import torch
from numpy.typing import NDArray
from torch import Tensor

from ser_fewshot import audio
from ser_fewshot.corpora import Skipped, Utterance
from ser_fewshot.errors import AudioError, CheckpointError, SettingsError
from ser_fewshot.frontends import FeatureSet, FrontEnd, analyse, content_keys
from ser_fewshot.storage.files import write_atomically

SPEEDS = (0.8, 1.25)
"""From and to: played slower, a voice is another voice, lower and larger."""

_LEVEL = 0.05  # root mean square that every clip is heard at: -26 dBFS, as recordings of speech have
_TOGETHER = 64  # clips that are read before they are analysed
_QUIET = 1e-6
_SEAL = "lesson.json"
_PARTS = ("clips", "targets")

Track = Callable[[Iterable[int], str], Iterable[int]]


@dataclass(frozen=True, eq=False)
class Lesson:
    """Clips, each at a speed of its own, and what teachers made of them.

    Attributes:
        features: the student's.
        targets: (frames, dim) of each clip in half precision, the teachers' frames side by side.
        identity: a digest of all that decides them: the sound of the clips, the front-ends, the speeds.
    """

    features: FeatureSet
    targets: tuple[Tensor, ...]
    identity: str = ""


def prepare_lesson(
    student: FrontEnd,
    teachers: Sequence[FrontEnd],
    utterances: Sequence[Utterance],
    *,
    folder: Path,
    speeds: tuple[float, float] = SPEEDS,
    track: Track = lambda steps, _: steps,
) -> Lesson:
    """Analyse clips by student and teachers, or take what stands in the folder from another time.

    Args:
        student: whose frames the clips are given as.
        teachers: whose frames are to be learned; alike in how many they make of a clip.
        utterances: what to analyse; labels are not looked at. Clips that cannot be used are skipped.
        folder: two arrays and a line of JSON, which are read from disk while training goes on.
        speeds: between which a speed is drawn for each clip.
        track: wraps the clips to show progress.

    Raises:
        SettingsError: the folder cannot be written, no clip can be used, or the teachers do not make the same number of
            frames.
        CheckpointError: the folder holds other clips, or those of other front-ends.
    """
    keys = content_keys(utterances)
    identity = _identity(student, teachers, utterances, keys, speeds)
    if not (folder / _SEAL).exists():
        _write(folder, _analysed(student, teachers, utterances, speeds, track), identity)
    return _read(folder, utterances, keys, identity)


@dataclass(frozen=True, eq=False)
class _Made:
    """What is written: both parts of each clip that could be used, which clips these are, and why others are not."""

    parts: tuple[list[Tensor], list[Tensor]]
    rows: list[int]
    skipped: dict[int, str]


def _analysed(
    student: FrontEnd,
    teachers: Sequence[FrontEnd],
    utterances: Sequence[Utterance],
    speeds: tuple[float, float],
    track: Track,
) -> _Made:
    made = _Made(([], []), [], {})
    for first in track(range(0, len(utterances), _TOGETHER), "clips"):
        waves = []
        for row in range(first, min(first + _TOGETHER, len(utterances))):
            try:
                waves.append(torch.from_numpy(heard(utterances[row], _speed(utterances[row], speeds))))
                made.rows.append(row)
            except AudioError as error:
                made.skipped[row] = str(error)
        if waves:
            made.parts[0].extend(analyse(student, waves))
            made.parts[1].extend(_taught(teachers, waves))
    if not made.rows:
        raise SettingsError(
            "lesson",
            found=f"{len(utterances)} clips, none of which can be used",
            expected="clips to learn from",
            remedy=next(iter(made.skipped.values()), "Name some."),
        )
    return made


def _taught(teachers: Sequence[FrontEnd], waves: Sequence[Tensor]) -> list[Tensor]:
    targets = []
    for frames in zip(*(analyse(teacher, waves) for teacher in teachers), strict=True):
        if len({len(part) for part in frames}) > 1:
            raise SettingsError(
                "teachers",
                found=f"{' and '.join(str(len(part)) for part in frames)} frames of one clip",
                expected="as many of each",
                remedy="Take layers of one encoder, with pooling 'frames'.",
            )
        targets.append(torch.cat(frames, 1).half())
    return targets


def _speed(utterance: Utterance, speeds: tuple[float, float]) -> float:
    """Draw the speed of a clip, the same whichever clips stand beside it."""
    return float(np.random.default_rng(utterance.seed).uniform(*speeds))


def heard(utterance: Utterance, speed: float = 1.0) -> NDArray[np.float32]:
    """Return a clip, (samples,), at another speed and the level that all are heard at.

    Raises:
        AudioError: it cannot be read, or is too short, too long or silent.
    """
    waveform = audio.load(utterance.path, start=utterance.start, end=utterance.end).waveform
    if speed != 1:
        waveform = soxr.resample(waveform, audio.SAMPLE_RATE, audio.SAMPLE_RATE / speed).astype(np.float32)
    loudness = float(np.sqrt(np.mean(np.square(waveform))))
    at_level: NDArray[np.float32] = waveform * np.float32(_LEVEL / max(loudness, _QUIET))
    return at_level


def _write(folder: Path, made: _Made, identity: str) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, parts in zip(_PARTS, made.parts, strict=True):
            np.save(folder / f"{name}.npy", torch.cat(parts).numpy())
    except OSError as error:
        raise SettingsError(
            str(folder),
            found=f"{type(error).__name__}: {error}",
            expected="a folder that can be written",
            remedy="Name another, or make room.",
        ) from error
    lengths = {name: [len(part) for part in parts] for name, parts in zip(_PARTS, made.parts, strict=True)}
    told = {"identity": identity, "rows": made.rows, "skipped": made.skipped, **lengths}
    write_atomically(folder / _SEAL, json.dumps(told) + "\n")  # last: without it, nothing is here


def _read(folder: Path, utterances: Sequence[Utterance], keys: Sequence[str], identity: str) -> Lesson:
    told = json.loads((folder / _SEAL).read_text())
    if told["identity"] != identity:
        raise CheckpointError(
            str(folder),
            found="what was made of other clips or other sound, by other front-ends, or by version 0.1",
            expected="what these would make",
            remedy="Remove the folder, or name another; the clips are then analysed anew.",
        )
    clips, targets = (
        # Copy-on-write: torch knows no array that may not be written, and nobody writes to this one.
        torch.split(torch.from_numpy(np.load(folder / f"{name}.npy", mmap_mode="c")), told[name])
        for name in _PARTS
    )
    skipped = tuple(Skipped(utterances[int(row)].path, reason) for row, reason in told["skipped"].items())
    kept, known = (tuple(of[row] for row in told["rows"]) for of in (utterances, keys))
    return Lesson(FeatureSet(kept, clips, skipped, known), targets, identity)


def _identity(
    student: FrontEnd,
    teachers: Sequence[FrontEnd],
    utterances: Sequence[Utterance],
    keys: Sequence[str],
    speeds: tuple[float, float],
) -> str:
    """Return a digest of what decides a lesson; ids are part of it because speeds are drawn by them."""
    described = [speeds, student.identity, *(teacher.identity for teacher in teachers)]
    sounds = [(item.id, key) for item, key in zip(utterances, keys, strict=True)]
    return hashlib.sha256(json.dumps([described, sounds]).encode()).hexdigest()
