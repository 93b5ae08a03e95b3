"""Features and teacher targets for distillation, computed once and memory-mapped from disk in training."""

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
"""Range of speeds. Pitch and formants change with the speed, which makes another voice."""

_LEVEL = 0.05  # root mean square of every clip: -26 dBFS, as usual for speech
_BATCH_CLIPS = 64
_QUIET = 1e-6
_INDEX = "lesson.json"
_PARTS = ("clips", "targets")

Track = Callable[[Iterable[int], str], Iterable[int]]


@dataclass(frozen=True, eq=False)
class DistillationSet:
    """Clips, each at its own random speed, with the teachers' outputs.

    Attributes:
        features: of the student.
        targets: (frames, dim) of each clip in half precision, the teachers' frames concatenated.
        identity: a digest of clips, front-ends and speeds.
    """

    features: FeatureSet
    targets: tuple[Tensor, ...]
    identity: str = ""


def prepare_targets(
    student: FrontEnd,
    teachers: Sequence[FrontEnd],
    utterances: Sequence[Utterance],
    *,
    folder: Path,
    speeds: tuple[float, float] = SPEEDS,
    track: Track = lambda steps, _: steps,
) -> DistillationSet:
    """Compute features and targets of clips, or read them from the folder if they are there.

    Args:
        student: front-end of the student.
        teachers: front-ends with the same number of frames.
        utterances: labels are not used; unusable clips are skipped.
        folder: of two arrays and a JSON file.
        speeds: range of the speed that is drawn for each clip.
        track: wraps the clips to show progress.

    Raises:
        SettingsError: the folder cannot be written, no clip can be used, or the teachers differ in their frames.
        CheckpointError: the folder holds other clips, or those of other front-ends.
    """
    keys = content_keys(utterances)
    identity = _identity(student, teachers, utterances, keys, speeds)
    if not (folder / _INDEX).exists():
        _write(folder, _compute(student, teachers, utterances, speeds, track), identity)
    return _read(folder, utterances, keys, identity)


@dataclass(frozen=True, eq=False)
class _Computed:
    """Features and targets of the usable clips, the rows of these, and the reasons why others are skipped."""

    parts: tuple[list[Tensor], list[Tensor]]
    rows: list[int]
    skipped: dict[int, str]


def _compute(
    student: FrontEnd,
    teachers: Sequence[FrontEnd],
    utterances: Sequence[Utterance],
    speeds: tuple[float, float],
    track: Track,
) -> _Computed:
    computed = _Computed(([], []), [], {})
    for first in track(range(0, len(utterances), _BATCH_CLIPS), "clips"):
        waves = []
        for row in range(first, min(first + _BATCH_CLIPS, len(utterances))):
            try:
                waves.append(torch.from_numpy(load_at_level(utterances[row], _speed(utterances[row], speeds))))
                computed.rows.append(row)
            except AudioError as error:
                computed.skipped[row] = str(error)
        if waves:
            computed.parts[0].extend(analyse(student, waves))
            computed.parts[1].extend(_targets(teachers, waves))
    if not computed.rows:
        raise SettingsError(
            "lesson",
            found=f"{len(utterances)} clips, none of which can be used",
            expected="clips to learn from",
            remedy=next(iter(computed.skipped.values()), "Name some."),
        )
    return computed


def _targets(teachers: Sequence[FrontEnd], waves: Sequence[Tensor]) -> list[Tensor]:
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
    """Draw the speed of a clip, from its id alone."""
    return float(np.random.default_rng(utterance.seed).uniform(*speeds))


def load_at_level(utterance: Utterance, speed: float = 1.0) -> NDArray[np.float32]:
    """Return a clip, (samples,), at another speed and a fixed level.

    Raises:
        AudioError: it cannot be read, or is too short, too long or silent.
    """
    waveform = audio.load(utterance.path, start=utterance.start, end=utterance.end).waveform
    if speed != 1:
        waveform = soxr.resample(waveform, audio.SAMPLE_RATE, audio.SAMPLE_RATE / speed).astype(np.float32)
    loudness = float(np.sqrt(np.mean(np.square(waveform))))
    at_level: NDArray[np.float32] = waveform * np.float32(_LEVEL / max(loudness, _QUIET))
    return at_level


def _write(folder: Path, computed: _Computed, identity: str) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, parts in zip(_PARTS, computed.parts, strict=True):
            np.save(folder / f"{name}.npy", torch.cat(parts).numpy())
    except OSError as error:
        raise SettingsError(
            str(folder),
            found=f"{type(error).__name__}: {error}",
            expected="a folder that can be written",
            remedy="Name another, or make room.",
        ) from error
    lengths = {name: [len(part) for part in parts] for name, parts in zip(_PARTS, computed.parts, strict=True)}
    index = {"identity": identity, "rows": computed.rows, "skipped": computed.skipped, **lengths}
    write_atomically(folder / _INDEX, json.dumps(index) + "\n")  # last: it marks the arrays as complete


def _read(folder: Path, utterances: Sequence[Utterance], keys: Sequence[str], identity: str) -> DistillationSet:
    index = json.loads((folder / _INDEX).read_text())
    if index["identity"] != identity:
        raise CheckpointError(
            str(folder),
            found="what was computed of other clips or other sound, by other front-ends, or by version 0.1",
            expected="what these would make",
            remedy="Remove the folder, or name another; the clips are then analysed anew.",
        )
    clips, targets = (
        # Copy-on-write, as torch has no read-only arrays.
        torch.split(torch.from_numpy(np.load(folder / f"{name}.npy", mmap_mode="c")), index[name])
        for name in _PARTS
    )
    skipped = tuple(Skipped(utterances[int(row)].path, reason) for row, reason in index["skipped"].items())
    kept, known = (tuple(of[row] for row in index["rows"]) for of in (utterances, keys))
    return DistillationSet(FeatureSet(kept, clips, skipped, known), targets, identity)


def _identity(
    student: FrontEnd,
    teachers: Sequence[FrontEnd],
    utterances: Sequence[Utterance],
    keys: Sequence[str],
    speeds: tuple[float, float],
) -> str:
    """Return a digest of clips, front-ends and speeds; ids are part of it because they seed the speeds."""
    described = [speeds, student.identity, *(teacher.identity for teacher in teachers)]
    sounds = [(item.id, key) for item, key in zip(utterances, keys, strict=True)]
    return hashlib.sha256(json.dumps([described, sounds]).encode()).hexdigest()
