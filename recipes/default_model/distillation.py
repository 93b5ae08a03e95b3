"""Distillation of a large encoder into the transformer."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from default_model.targets import DistillationSet
from ser_fewshot.compute import distributed
from ser_fewshot.compute.distributed import Compute
from ser_fewshot.encoders import STRIDE, Discriminant, Transformer, moments
from ser_fewshot.errors import SettingsError
from ser_fewshot.frontends import FeatureSet, FrontEnd, stack
from ser_fewshot.learners import Learner
from ser_fewshot.models import Model
from ser_fewshot.settings import require
from ser_fewshot.storage.tensors import digest
from ser_fewshot.training import TrainingObjective, TrainSettings, train
from ser_fewshot.training.augmentation import FRAMES_PER_SECOND, augment
from ser_fewshot.training.settings import SEED_STRIDE

_SCALE_CLIPS = 400
_SMALLEST_SPREAD = 1e-3
_LIMIT = 3.0  # standard deviations
_LARGE_BATCHES = 16  # are drawn together and sorted by length


class Distillation(TrainingObjective):
    """Regression of the teacher's frames of clean clips, and their mean and deviation, from augmented clips.

    Hinton et al., "Distilling the knowledge in a neural network", 2015, https://arxiv.org/abs/1503.02531; of speech
    encoders: Chang et al., "DistilHuBERT", 2022, https://arxiv.org/abs/2110.01900. Augmentation of the student's input
    alone makes it robust to noise, rooms and telephones. Longer clips are cut at the end, as positions count from the
    beginning.

    Raises:
        SettingsError: the encoder is no transformer, or differs from the targets in width or number of clips.
    """

    frame_scale: Tensor
    clip_scale: Tensor

    def __init__(
        self, learner: Learner, features: FeatureSet, settings: TrainSettings, targets: Sequence[Tensor] = ()
    ) -> None:
        super().__init__(learner, features, settings)
        self.targets = targets
        dim = targets[0].shape[1] if targets else 0
        student = self._student()
        require(
            student.frame_width == dim and len(targets) == len(features),
            "distillation",
            found=f"{student.frame_width} values a frame for {len(features)} clips, {len(targets)} targets of {dim}",
            expected=f"a width of {2 * dim}, and a target of each clip",
            remedy="Set encoder.width, and pass the teacher's frames of these clips.",
        )
        generator = torch.Generator().manual_seed(settings.seed)
        rows = torch.randperm(len(targets), generator=generator).tolist()
        frames = torch.cat([targets[row].float() for row in rows[:_SCALE_CLIPS]])
        self.register_buffer("frame_scale", frames.std(0).clamp_min(_SMALLEST_SPREAD))
        clips = torch.stack([_pooled(target.float()[None])[0] for target in targets])
        self.register_buffer("clip_scale", clips.std(0).clamp_min(_SMALLEST_SPREAD))

    def accumulate(self, done: int, generator: torch.Generator) -> float:
        """Add the gradient of one batch of clips of similar length."""
        longest = int(self.settings.augmentation.max_seconds * FRAMES_PER_SECOND) // STRIDE
        parts = [self._part(row, longest) for row in self._rows(done)]
        # Another tempo would misalign the frames with the teacher's.
        augmentation = replace(self.settings.augmentation, tempo=0.0)
        target = stack([target for _, target in parts])
        n_frames = int(target.lengths.sum())
        own = distributed.share(range(len(parts)))
        if not own:
            return 0.0
        batch = augment([clip for clip, _ in parts], augmentation, generator, own=own).to(self.device)
        target = target.select(torch.tensor(own)).to(self.device)
        student = self._student()
        with student.autocast():
            outputs, mask = student.frames(batch)
        outputs = outputs.float()
        frames = (outputs - target.x) / self.frame_scale
        clips = (_pooled(outputs, mask) - _pooled(target.x, mask)) / self.clip_scale
        shares = int(target.lengths.sum()) / n_frames, len(own) / len(parts)  # of all processes' frames and clips
        loss: Tensor = shares[0] * _huber(frames[mask]) + shares[1] * _huber(clips)
        (self.scale * loss).backward()  # type: ignore[no-untyped-call]
        return loss.item()

    def _student(self) -> Transformer:
        """Return the transformer; no attribute, so that a checkpoint stores it once."""
        encoder = getattr(self.learner, "encoder", None)
        student = encoder.inner if isinstance(encoder, Discriminant) else encoder
        if not isinstance(student, Transformer):
            raise SettingsError(
                "distillation",
                found=f"the encoder {type(student).__name__}",
                expected="the encoder 'transformer'",
                remedy="Set encoder.name to 'transformer'.",
            )
        return student

    def _part(self, row: int, longest: int) -> tuple[Tensor, Tensor]:
        """Return a clip, (STRIDE * n, dim), and its target, (n, ...), cut to at most `longest` frames."""
        clip, target = self.features.clips[row], self.targets[row]
        n = min(len(clip) // STRIDE, len(target), longest)
        return clip[: STRIDE * n], target[:n].float()

    def _rows(self, done: int) -> list[int]:
        """Return the clips of batch `done`; every pass is in a new random order."""
        size = self.settings.batch_clips
        per_pass = max(1, len(self.features) // size)
        passed, number = divmod(done, per_pass)
        generator = torch.Generator().manual_seed(self.settings.seed * SEED_STRIDE + passed)
        order = torch.randperm(len(self.features), generator=generator)[: per_pass * size].tolist()
        chunk, place = divmod(number, _LARGE_BATCHES)
        rows = order[chunk * _LARGE_BATCHES * size : (chunk + 1) * _LARGE_BATCHES * size]
        rows.sort(key=lambda row: len(self.targets[row]))
        return rows[place * size : (place + 1) * size]


def _huber(x: Tensor) -> Tensor:
    """Return the Huber loss to zero: outliers of the teacher must not dominate."""
    return 2 * nn.functional.huber_loss(x, torch.zeros_like(x), delta=_LIMIT)


def _pooled(x: Tensor, mask: Tensor | None = None) -> Tensor:
    """(batch, frames, dim) -> mean and standard deviation over time, (batch, 2 * dim)."""
    return torch.cat(
        moments(x, torch.ones(x.shape[:2], dtype=torch.bool, device=x.device) if mask is None else mask), 1
    )


def distil(
    model: Model,
    clips: DistillationSet,
    *,
    teachers: Sequence[FrontEnd],
    settings: TrainSettings,
    run: Path,
    resume: bool = False,
    compute: Compute | None = None,
    track: Callable[[Iterable[int], str], Iterable[int]] = lambda steps, _: steps,
) -> dict[str, float]:
    """Train the transformer of a model, in place, without labels; return the record of the best epoch.

    `teachers` made the targets of `clips` and identify the run; the other arguments are those of
    `ser_fewshot.training.train`.
    """
    config = {
        "model": asdict(model.config),
        "teachers": [teacher.identity for teacher in teachers],
        "weights": digest(model.learner),
    }
    history = train(
        model.learner,
        clips.features,
        None,
        settings=settings,
        run=run,
        objective=partial(Distillation, targets=clips.targets),
        config=json.dumps(config, sort_keys=True),
        resume=resume,
        compute=compute,
        track=track,
    )
    return min(history, key=lambda record: record["loss"])
