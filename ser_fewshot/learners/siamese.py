"""Siamese network: learn whether two clips are of the same class, and ask it of a query and every support clip.

Koch et al., "Siamese neural networks for one-shot image recognition", 2015,
https://www.cs.cmu.edu/~rsalakhu/papers/oneshot1.pdf.

The idea: two twins with the same weights embed two clips; the absolute differences of their values, each with a learned
weight, add up to a distance, and a sigmoid turns it into the probability that the clips are of one class. Training sees
pairs and never a class, so what it learns holds for classes that it has never met.

Differs from the paper: the weights of the differences are held positive, so that the sum is a distance (0 for a clip
and itself, never less); the probability has a learned threshold; the unit of the distance is its mean over meta-train
clips, so that training begins undecided with any encoder. Pairs are all those of an episode, and the same and the
different ones weigh alike (the paper draws equal numbers of both). With several shots, the logit of a class is the mean
log-odds over its support clips (the paper has one shot).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from ser_fewshot.encoders import EncoderSettings
from ser_fewshot.frontends import Features
from ser_fewshot.learners._base import EmbeddingLearner, Task, class_means, evaluating

_SHARPNESS = 10.0  # log-odds by which a pair at distance 0 is the same, before anything is learned
_SCALE_CLIPS = 32  # clips that are embedded at a time when the unit is learned
_SMALLEST_UNIT = 1e-6


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What the twins are made of."""

    encoder: EncoderSettings = field(default_factory=lambda: EncoderSettings(name="dense"))


class SiameseNetwork(EmbeddingLearner):
    """Logits are the mean log-odds, over a class's support, that the query is of the same class."""

    unit: Tensor

    def __init__(self, dim: int, settings: Settings) -> None:
        super().__init__(dim, settings.encoder)
        self.register_buffer("unit", torch.tensor(1.0))
        self.weight = nn.Parameter(torch.full((self.encoder.width,), 1.0).expm1().log())  # softplus makes it 1
        self.threshold = nn.Parameter(torch.tensor(1.0))  # in units of distance

    def fit_scale(self, features: Features, y: Tensor | None = None) -> None:
        """Learn the encoder's scale, and as unit the mean distance of two meta-train clips."""
        super().fit_scale(features, y)
        with evaluating(self):
            parts = torch.split(torch.arange(len(features)), _SCALE_CLIPS)
            z = torch.cat([self.embed(features.select(rows)).x for rows in parts])
            distances = self.distances(z, z) * self.unit
            self.unit.copy_((distances.sum() / (len(z) * max(1, len(z) - 1))).clamp_min(_SMALLEST_UNIT))

    def distances(self, a: Tensor, b: Tensor) -> Tensor:
        """a (n, width), b (m, width) -> weighted mean absolute differences (n, m), in units."""
        weight = nn.functional.softplus(self.weight) / (len(self.weight) * self.unit)
        return torch.cdist(a * weight, b * weight, p=1.0)

    def log_odds(self, a: Tensor, b: Tensor) -> Tensor:
        """a (n, width), b (m, width) -> log-odds (n, m) that two clips are of the same class."""
        return _SHARPNESS * (self.threshold - self.distances(a, b))

    def fit_head(self, z: Tensor, y: Tensor, n_way: int) -> Callable[[Tensor], Tensor]:
        """z (n_support, width) -> head from (n_query, width) to (n_query, n_way)."""
        return lambda query: class_means(self.log_odds(z, query), y, n_way).T

    def accumulate(self, task: Task, weight: float) -> float:
        """Add the gradient of `weight` times the loss over all pairs of an episode's clips, and return the loss."""
        z = torch.cat([self.embed(part).x for part in (task.support, task.query)])
        loss = self.pair_loss(z, torch.cat([task.support_y, task.query_y]))
        (weight * loss).backward()  # type: ignore[no-untyped-call]
        return loss.item()

    def pair_loss(self, z: Tensor, y: Tensor) -> Tensor:
        """z (n, width), y (n,) -> cross-entropy of same and different pairs of different clips, each kind averaged."""
        first, second = torch.triu_indices(len(y), len(y), offset=1, device=y.device)
        log_odds = self.log_odds(z, z)[first, second]  # (n (n - 1) / 2,)
        same = y[first] == y[second]
        losses = nn.functional.binary_cross_entropy_with_logits(log_odds, same.to(z.dtype), reduction="none")
        kinds = [losses[kind].mean() for kind in (same, ~same) if kind.any()]
        return torch.stack(kinds).mean()


LEARNER = SiameseNetwork
