"""Embeddings of labelled corpora by the student, clean and under recording conditions, kept on disk."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor

from ser_fewshot.audio.conditions import CONDITIONS, CONDITIONS_VERSION, Condition
from ser_fewshot.corpora import Utterance
from ser_fewshot.encoders import Statistics, Transformer, normalise_level
from ser_fewshot.frontends import FeatureSet, extract, stack
from ser_fewshot.models import Model
from ser_fewshot.storage.files import write_atomically
from ser_fewshot.storage.tensors import digest, read_tensors

MOST_CLIPS = 2_800
"""Of one corpus: a larger one gives whole speakers, drawn at random, until it has as many."""

FUNCTIONALS = 0.3
"""Weight of the functionals beside the student's part of an embedding."""

_AT_ONCE = 256  # clips that are read before they are embedded
_BATCH_CLIPS = 16
_SCALE_CLIPS = 1_000  # of each corpus, for means and standard deviations
_SMALLEST_SPREAD = 1e-3
_LIMIT = 5.0  # standard deviations, as in `Statistics`


@dataclass(frozen=True, eq=False)
class Embeddings:
    """Embeddings of the clips of a corpus, as the encoder computes them before it standardises.

    Attributes:
        utterances: of the clips.
        clean: (n_clips, width), the student's part first, then the functionals.
        degraded: (n_clips, n_conditions, width).
    """

    utterances: tuple[Utterance, ...]
    clean: Tensor
    degraded: Tensor


def chosen(clips: Sequence[Utterance]) -> list[Utterance]:
    """Return the clips of a corpus that have an emotion and a speaker, of as many speakers as MOST_CLIPS permits."""
    labelled = [clip for clip in clips if clip.emotion is not None and clip.speaker_key is not None]
    speakers = sorted({str(clip.speaker_key) for clip in labelled})
    order = [speakers[row] for row in np.random.default_rng(0).permutation(len(speakers))]
    kept: list[Utterance] = []
    for speaker in order:
        own = [clip for clip in labelled if clip.speaker_key == speaker]
        if not kept or len(kept) + len(own) <= MOST_CLIPS:
            kept += own
    return sorted(kept, key=lambda clip: clip.id)


def embed(model: Model, clips: Sequence[Utterance], folder: Path) -> Embeddings:
    """Return the embeddings of the clips of a corpus, from the folder what is there; unusable clips are skipped."""
    student = cast("Transformer", model.learner.get_submodule("encoder"))
    identity = json.dumps([digest(student), model.frontend.identity, [clip.id for clip in clips]], sort_keys=True)
    clean = _kept(folder / f"{clips[0].corpus}_clean.safetensors", identity, model, clips, None)
    usable = [clip for clip in clips if clip.id in clean]
    parts = []
    for condition in CONDITIONS:
        path = folder / f"{clips[0].corpus}_{condition}.safetensors"
        found = _kept(path, f"{identity} {CONDITIONS_VERSION}", model, usable, condition)
        parts.append(torch.stack([found[clip.id] for clip in usable]))
    return Embeddings(tuple(usable), torch.stack([clean[clip.id] for clip in usable]), torch.stack(parts, 1))


def _kept(
    path: Path, identity: str, model: Model, clips: Sequence[Utterance], condition: Condition | None
) -> dict[str, Tensor]:
    """Return id -> embedding (width,) under a condition, computed if the file is not there."""
    if path.exists():
        tensors, strings = read_tensors(path)
        if strings["identity"] == identity:
            return dict(zip(json.loads(strings["ids"]), tensors["embeddings"].float(), strict=True))
    found: dict[str, Tensor] = {}
    for start in range(0, len(clips), _AT_ONCE):
        features = extract(model.frontend, clips[start : start + _AT_ONCE], condition=condition)
        found |= dict(zip([clip.id for clip in features.utterances], _embedded(model, features.clips), strict=True))
    print(f"{path.stem}: {len(found)} of {len(clips)} clips", flush=True)
    strings = {"identity": identity, "ids": json.dumps(list(found))}
    kept = torch.stack(list(found.values())).half()
    write_atomically(path, save({"embeddings": kept}, strings))
    return dict(zip(found, kept.float(), strict=True))  # as they are read the next time


@torch.no_grad()
def _embedded(model: Model, clips: Sequence[Tensor]) -> Iterable[Tensor]:
    """(frames, bands) of each clip -> (width,) each; clips of like length together."""
    student = cast("Transformer", model.learner.get_submodule("encoder"))
    statistics = Statistics(model.frontend.dim)
    order = sorted(range(len(clips)), key=lambda row: len(clips[row]))
    found: dict[int, Tensor] = {}
    for start in range(0, len(order), _BATCH_CLIPS):
        rows = order[start : start + _BATCH_CLIPS]
        features = stack([clips[row] for row in rows])
        both = torch.cat(
            [student.pool(*student.frames(features)), statistics.functionals(normalise_level(features))], 1
        )
        found |= dict(zip(rows, both, strict=True))
    return [found[row] for row in range(len(clips))]


@dataclass(frozen=True, eq=False)
class Scale:
    """How embeddings are standardised, as the encoder does.

    Attributes:
        mean, spread: (width,).
        learned: how many values are the student's.
    """

    mean: Tensor
    spread: Tensor
    learned: int

    @classmethod
    def of(cls, embeddings: Iterable[Embeddings], *, learned: int) -> Scale:
        """Return that of the clean clips of some corpora, each of which counts up to _SCALE_CLIPS clips."""
        some = torch.cat([one.clean[:: math.ceil(len(one.clean) / _SCALE_CLIPS)] for one in embeddings])
        spread = some.std(0, correction=0).clamp_min(_SMALLEST_SPREAD)
        return cls(some.mean(0).half().float(), spread.half().float(), learned)

    def apply(self, z: Tensor) -> Tensor:
        """(..., width) -> standardised, with the functionals at their weight."""
        learned, functionals = ((z - self.mean) / self.spread).tensor_split([self.learned], -1)
        ratio = FUNCTIONALS * math.sqrt(self.learned / functionals.shape[-1])
        return torch.cat([learned, ratio * functionals.clamp(-_LIMIT, _LIMIT)], -1)

    def set_in(self, encoder: Transformer) -> None:
        """Set the standardisation of an encoder with functionals, in place."""
        statistics = cast("Statistics", encoder.statistics)
        with torch.no_grad():
            for buffer, value in ((encoder, "mean"), (encoder, "scale")):
                source = self.mean if value == "mean" else self.spread
                getattr(buffer, value).copy_(source[: self.learned])
                getattr(statistics, value).copy_(source[self.learned :])


def standardised(embeddings: Mapping[str, Embeddings], scale: Scale) -> dict[str, FeatureSet]:
    """Return the embeddings of each corpus (width,) with their deviations under each condition."""
    found = {}
    for name, one in embeddings.items():
        clean = scale.apply(one.clean)
        deviations = scale.apply(one.degraded) - clean[:, None]
        found[name] = FeatureSet(one.utterances, tuple(clean), deviations=tuple(deviations))
    return found
