"""Siamese network: learn whether two clips are of one class, and compare a query with every support clip.

Koch et al., "Siamese neural networks for one-shot image recognition", 2015,
https://www.cs.cmu.edu/~rsalakhu/papers/oneshot1.pdf.

The idea: twins with shared weights embed two clips; a weighted sum of the absolute differences is a distance, and a
sigmoid turns it into the probability that the clips are of one class. Training uses pairs only, so it generalises to
unseen classes.

Differs from the paper: the weights are positive, so that the sum is a distance; the probability has a learned
threshold; distances are divided by their mean over meta-train clips, so that training begins undecided with any
encoder; all pairs of an episode are used, same and different pairs weighing the same (the paper draws equal numbers);
with several shots, the logit of a class is the mean log-odds over its support clips (the paper has one shot).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from ser_fewshot.encoders import EncoderSettings
from ser_fewshot.frontends import Features
from ser_fewshot.learners._base import EmbeddingLearner, Task, class_means, evaluating

_SHARPNESS = 10.0  # initial log-odds of a pair at distance 0
_BATCH_CLIPS = 32
_SMALLEST_UNIT = 1e-6


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The encoder of the twins."""

    encoder: EncoderSettings = field(default_factory=lambda: EncoderSettings(name="dense"))


class SiameseNetwork(EmbeddingLearner):
    """Logits are the mean log-odds, over a class's support, that a query is of the same class."""

    unit: Tensor

    def __init__(self, dim: int, settings: Settings) -> None:
        super().__init__(dim, settings.encoder)
        self.register_buffer("unit", torch.tensor(1.0))
        self.weight = nn.Parameter(torch.full((self.encoder.width,), 1.0).expm1().log())  # softplus makes it 1
        self.threshold = nn.Parameter(torch.tensor(1.0))  # in units of distance

    def fit_scale(self, features: Features, y: Tensor | None = None) -> None:
        """Fit the encoder's normalisation, and as unit the mean distance between two clips."""
        super().fit_scale(features, y)
        with evaluating(self):
            parts = torch.split(torch.arange(len(features)), _BATCH_CLIPS)
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

    def task_loss(self, task: Task) -> Tensor:
        """Return the loss over all pairs of an episode's clips."""
        z = torch.cat([self.embed(part).x for part in (task.support, task.query)])
        return self.pair_loss(z, torch.cat([task.support_y, task.query_y]))

    def pair_loss(self, z: Tensor, y: Tensor) -> Tensor:
        """z (n, width), y (n,) -> cross-entropy of same and different pairs of different clips, each kind averaged."""
        first, second = torch.triu_indices(len(y), len(y), offset=1, device=y.device)
        log_odds = self.log_odds(z, z)[first, second]  # (n (n - 1) / 2,)
        same = y[first] == y[second]
        losses = nn.functional.binary_cross_entropy_with_logits(log_odds, same.to(z.dtype), reduction="none")
        kinds = [losses[kind].mean() for kind in (same, ~same) if kind.any()]
        return torch.stack(kinds).mean()


LEARNER = SiameseNetwork
