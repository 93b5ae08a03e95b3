"""What a large encoder makes of a clip, as something for a small one to learn."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from default_model.lesson import Lesson
from ser_fewshot.compute import distributed
from ser_fewshot.compute.distributed import Compute
from ser_fewshot.encoders import STRIDE, Discriminant, Transformer, moments
from ser_fewshot.errors import SettingsError
from ser_fewshot.frontends import FeatureSet, FrontEnd, stack
from ser_fewshot.learners import Learner
from ser_fewshot.models import Model
from ser_fewshot.storage.tensors import digest
from ser_fewshot.training import Goal, TrainSettings, train
from ser_fewshot.training.augmentation import FRAMES_PER_SECOND, augment
from ser_fewshot.training.settings import SEED_STRIDE

_SCALE_CLIPS = 400  # whose frames are enough to measure a spread by
_SMALLEST_SPREAD = 1e-3
_LIMIT = 3.0  # standard deviations
_LARGE_BATCHES = 16  # from so many batches at a time, clips of like length make one


class Distillation(Goal):
    """Say, of each frame of a clip that is varied, what a teacher said of the clip as it was.

    So it is with mean and standard deviation over time, which the embedding is made of: a clip has one of each, but
    hundreds of frames to learn from. Hinton et al., "Distilling the knowledge in a neural network", 2015,
    https://arxiv.org/abs/1503.02531; of speech encoders: Chang et al., "DistilHuBERT", 2022,
    https://arxiv.org/abs/2110.01900. That the student hears noise, rooms and telephones where the teacher did not makes
    it less sensitive to them. Parts of clips are their beginnings, as positions count from there.

    Raises:
        SettingsError: the encoder cannot be taught, or does not say as many values as it is to learn.
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
        if student.said != dim or len(targets) != len(features):
            raise SettingsError(
                "distillation",
                found=f"an encoder that says {student.said} values of a frame, for {len(features)} clips, "
                f"{len(targets)} of which have frames of {dim} values to learn from",
                expected=f"a width of {2 * dim}, and what a teacher made of each clip",
                remedy="Set encoder.width, and pass the teacher's frames of these clips.",
            )
        generator = torch.Generator().manual_seed(settings.seed)
        rows = torch.randperm(len(targets), generator=generator).tolist()
        frames = torch.cat([targets[row].float() for row in rows[:_SCALE_CLIPS]])
        self.register_buffer("frame_scale", frames.std(0).clamp_min(_SMALLEST_SPREAD))
        clips = torch.stack([_described(target.float()[None])[0] for target in targets])
        self.register_buffer("clip_scale", clips.std(0).clamp_min(_SMALLEST_SPREAD))

    def accumulate(self, done: int, generator: torch.Generator) -> float:
        """Add the gradient of one batch of clips, or of their beginnings; those of a batch are of like length."""
        longest = int(self.settings.augmentation.max_seconds * FRAMES_PER_SECOND) // STRIDE
        parts = [self._part(row, longest) for row in self._rows(done)]
        # At another tempo, frames would not be where the teacher's are.
        augmentation = replace(self.settings.augmentation, tempo=0.0)
        wanted = stack([target for _, target in parts])
        n_frames = int(wanted.lengths.sum())
        own = distributed.share(range(len(parts)))
        if not own:
            return 0.0
        batch = augment([clip for clip, _ in parts], augmentation, generator, own=own).to(self.device)
        wanted = wanted.select(torch.tensor(own)).to(self.device)
        student = self._student()
        with student.autocast():
            said, mask = student.frames(batch)
        said = said.float()
        frames = (said - wanted.x) / self.frame_scale
        clips = (_described(said, mask) - _described(wanted.x, mask)) / self.clip_scale
        shares = int(wanted.lengths.sum()) / n_frames, len(own) / len(parts)  # of what all processes average over
        loss: Tensor = shares[0] * _bounded(frames[mask]) + shares[1] * _bounded(clips)
        (self.scale * loss).backward()  # type: ignore[no-untyped-call]
        return loss.item()

    def _student(self) -> Transformer:
        """Return what is taught, which stands in a checkpoint once, as the learner's."""
        encoder = getattr(self.learner, "encoder", None)
        student = encoder.inner if isinstance(encoder, Discriminant) else encoder
        if not isinstance(student, Transformer):
            raise SettingsError(
                "distillation",
                found=f"the encoder {type(student).__name__}",
                expected="the encoder 'transformer', which can be taught",
                remedy="Set encoder.name to 'transformer'.",
            )
        return student

    def _part(self, row: int, longest: int) -> tuple[Tensor, Tensor]:
        """Return a clip, (STRIDE * n, dim), and the teacher's frames of it, (n, ...), or the beginnings of both."""
        clip, target = self.features.clips[row], self.targets[row]
        n = min(len(clip) // STRIDE, len(target), longest)
        return clip[: STRIDE * n], target[:n].float()

    def _rows(self, done: int) -> list[int]:
        """Return the clips of batch `done`: all clips once, shuffled anew, before any comes again."""
        size = self.settings.batch_clips
        per_pass = max(1, len(self.features) // size)
        passed, number = divmod(done, per_pass)
        generator = torch.Generator().manual_seed(self.settings.seed * SEED_STRIDE + passed)
        order = torch.randperm(len(self.features), generator=generator)[: per_pass * size].tolist()
        chunk, place = divmod(number, _LARGE_BATCHES)
        rows = order[chunk * _LARGE_BATCHES * size : (chunk + 1) * _LARGE_BATCHES * size]
        rows.sort(key=lambda row: len(self.targets[row]))
        return rows[place * size : (place + 1) * size]


def _bounded(x: Tensor) -> Tensor:
    """Mean square, but where it is large the mean size: a teacher's rare outbursts must not decide what is learned."""
    return 2 * nn.functional.huber_loss(x, torch.zeros_like(x), delta=_LIMIT)


def _described(x: Tensor, mask: Tensor | None = None) -> Tensor:
    """(batch, frames, dim) -> mean and standard deviation over time, (batch, 2 * dim)."""
    return torch.cat(
        moments(x, torch.ones(x.shape[:2], dtype=torch.bool, device=x.device) if mask is None else mask), 1
    )


def distil(
    model: Model,
    lesson: Lesson,
    *,
    teachers: Sequence[FrontEnd],
    settings: TrainSettings,
    run: Path,
    resume: bool = False,
    compute: Compute | None = None,
    track: Callable[[Iterable[int], str], Iterable[int]] = lambda steps, _: steps,
) -> dict[str, float]:
    """Train the encoder of a model, in place, to see in clips what its teachers see; no label takes part in it.

    Args:
        model: with the encoder "transformer", new or begun by `default_model.layerwise`.
        lesson: the clips to learn from, and what the teachers made of them.
        teachers: whose they are, for the run to know.
        settings: how to train.
        run: folder of the run; see `ser_fewshot.training.train`.
        resume: go on from the run's checkpoint.
        compute: where, and how exactly; see `ser_fewshot.training.train`.
        track: wraps the steps of an epoch to show progress.

    Returns:
        The record of the epoch that was kept, that of the lowest loss.
    """
    begun = {
        "model": asdict(model.config),
        "teachers": [teacher.identity for teacher in teachers],
        "weights": digest(model.learner),
    }
    history = train(
        model.learner,
        lesson.features,
        None,
        settings=settings,
        run=run,
        objective=partial(Distillation, targets=lesson.targets),
        config=json.dumps(begun, sort_keys=True),
        resume=resume,
        compute=compute,
        track=track,
    )
    return min(history, key=lambda record: record["loss"])
