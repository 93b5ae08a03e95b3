"""Meta-transfer learning: pretrain the encoder, freeze it, and meta-learn how to scale and shift its neurons.

Sun et al., "Meta-transfer learning for few-shot learning", 2019, https://arxiv.org/abs/1812.02403.

The idea: a deep encoder that episodes alone would train has seen too little when it begins, and forgets too much when
it adapts. So (a) it is trained the conventional way, to classify everything that the meta-train clips hold; then (b)
its weights W and b are frozen, and episodes teach only a scale and a shift of each neuron, W * scale and b + shift,
and where the classifier begins: far fewer values than the encoder has, so that what it knows is moved to new tasks
rather than overwritten. In an episode the classifier alone takes gradient steps on the support, and the query loss is
differentiated through these steps, to second order. (c) Classes that failed are drawn again into harder episodes.
At meta-test (d) the classifier adapts to the support and nothing else moves.

Differs from the paper:
- The classifier's learned start is a function of the class, and not one row of weights a class: which class is number
  0 changes from episode to episode, so rows could only learn to be alike, and they would fix n_way. It is the linear
  head of a prototypical network with a learned gain a value, w = gain * c and b = -sum(gain * c^2) / 2 for a prototype
  c, as in Triantafillou et al., "Meta-dataset" (Proto-MAML), 2020, https://arxiv.org/abs/1903.03096. A bias that is
  learned for all classes alike would cancel in the softmax and is left out.
- The classifier descends on embeddings that are centred on the support, at a mean squared norm of 1; a shift of the
  encoder's last layer, which moves all embeddings alike, so has no effect.
- Linear layers have a scale a neuron; the paper has convolutions, with one a kernel, and so have ours.
- The authors' code shifts the first convolution alone (the others have no bias there), goes on training the
  normalisation, and drops the second order through the classifier's steps. Here, as in the paper, every layer with a
  bias is shifted, all else in the encoder is frozen (normalisation, gate and weights of the functionals), and nothing
  is dropped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor, nn

from ser_fewshot.encoders import EncoderSettings
from ser_fewshot.errors import SettingsError
from ser_fewshot.frontends import Features
from ser_fewshot.learners._base import Objective, Task, count_classes
from ser_fewshot.learners._linear_head import HeadSettings, LinearProbe, clip_weights
from ser_fewshot.learners._scale_shift import ScaleShift

_FIRST_GAIN = 2.0  # as good a start as any on untrained embeddings: larger ones start too sure of themselves


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What is pretrained, how the classifier adapts, and how hard the episodes are.

    Attributes:
        encoder: what is pretrained, frozen, scaled and shifted.
        head: how the classifier adapts to a support set, in meta-training and at meta-test.
        hard_tasks: episodes that each training step adds, drawn from the classes that failed in its others.
    """

    encoder: EncoderSettings = field(default_factory=lambda: EncoderSettings(name="dense"))
    head: HeadSettings = field(default_factory=HeadSettings)
    hard_tasks: int = 1

    def __post_init__(self) -> None:
        if type(self.hard_tasks) is not int or self.hard_tasks < 0:
            raise SettingsError(
                "mtl",
                found=f"hard_tasks {self.hard_tasks}",
                expected="a whole number of at least 0",
                remedy="0 switches hard tasks off.",
            )


class MetaTransfer(LinearProbe):
    """Logits are those of a linear head that begins at the prototypes, on an encoder that is scaled and shifted."""

    objectives: ClassVar[tuple[Objective, ...]] = ("classes", "episodes")

    def __init__(self, dim: int, settings: Settings) -> None:
        super().__init__(dim, settings.encoder, settings.head)
        self.hard_tasks = settings.hard_tasks
        self.scale_shift = ScaleShift(self.encoder)
        self.gain = nn.Parameter(torch.full((self.encoder.width,), _FIRST_GAIN))

    def extra_repr(self) -> str:
        """Show what no sub-module and no parameter shows."""
        return f"{super().extra_repr()}, hard_tasks={self.hard_tasks}"

    def begin(self, objective: Objective) -> None:
        """Train the encoder's own weights on classes; over episodes its scales and shifts, and the head's start."""
        self.requires_grad_(objective == "episodes")
        self.encoder.requires_grad_(objective == "classes")

    def embed(self, features: Features) -> Features:
        """(n, frames, dim) -> (n, width), by the scaled and shifted encoder; see `EmbeddingLearner.embed`."""
        if features.pooled:
            return features
        return Features(self.scale_shift(self.encoder, features), torch.ones_like(features.lengths))

    def start(self, z: Tensor, y: Tensor, n_way: int) -> tuple[Tensor, Tensor]:
        """z (..., n, width), y (..., n) -> the linear head of a prototypical network whose metric is the gain."""
        members = nn.functional.one_hot(y, n_way).to(z.dtype) * clip_weights(y, n_way, dtype=z.dtype)[..., None]
        prototypes = members.mT @ z  # (..., n_way, width)
        weight = self.gain * prototypes
        return weight, -(weight * prototypes).sum(-1) / 2

    def accumulate_many(self, tasks: Sequence[Task], weight: float) -> list[float]:
        """Do for each task what `accumulate` does, for all tasks of one shape at once.

        Raises:
            EpisodeError: a class of a task has no support.
            AdaptationError: adapting to a support diverged.
        """
        alike: dict[tuple[int, ...], list[int]] = {}
        for number, task in enumerate(tasks):
            n_way = count_classes(task.support_y, len(task.support))
            alike.setdefault((n_way, len(task.support), len(task.query)), []).append(number)
        losses = [0.0] * len(tasks)
        for (n_way, n_support, _), numbers in alike.items():
            group = [tasks[number] for number in numbers]
            loss = self._losses(group, n_way=n_way, n_support=n_support)
            (weight * loss.sum()).backward()  # type: ignore[no-untyped-call]
            for number, value in zip(numbers, loss.tolist(), strict=True):
                losses[number] = value
        return losses

    def _losses(self, tasks: Sequence[Task], *, n_way: int, n_support: int) -> Tensor:
        """Return the query loss of each of several tasks of one shape, (tasks,)."""
        clips = _join([part for task in tasks for part in (task.support, task.query)])
        z = self.embed(clips).x
        z = z.view(len(tasks), -1, z.shape[1])  # (tasks, n_support + n_query, width)
        head = self.fit_head(z[:, :n_support], torch.stack([task.support_y for task in tasks]), n_way)
        logits = head(z[:, n_support:])  # (tasks, n_query, n_way)
        query_y = torch.stack([task.query_y for task in tasks])
        return nn.functional.cross_entropy(logits.mT, query_y, reduction="none").mean(1)


def _join(parts: Sequence[Features]) -> Features:
    """Return the clips of all parts as one batch, padded to the longest."""
    lengths = torch.cat([part.lengths for part in parts])
    longest = max(part.x.shape[1] for part in parts)
    padded = [nn.functional.pad(part.x, (0, 0, 0, longest - part.x.shape[1])) for part in parts]
    return Features(torch.cat(padded), lengths)


LEARNER = MetaTransfer
