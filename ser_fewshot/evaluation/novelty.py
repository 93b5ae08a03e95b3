"""Novelty of a clip to a support: its distance to the nearest class mean, relative to the distances within it.

A clip is unknown where the probability u that it is of no class is larger than that of every class, (1 - u) p: this is
`is_unknown`, the only rule for it.

Distances are relative to the enrolment because those of another corpus may all be longer, or shorter, than those that
a calibration was fitted on.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import overload

import torch
from torch import Tensor, nn

from ser_fewshot.frontends import Features
from ser_fewshot.learners import class_means, points, squared_distances

_CLOSEST = 1e-12  # a squared distance whose logarithm is still finite


@overload
def is_unknown(novelty: float, top: float) -> bool: ...
@overload
def is_unknown(novelty: Tensor, top: Tensor) -> Tensor: ...
def is_unknown(novelty: float | Tensor, top: float | Tensor) -> bool | Tensor:
    """Whether a clip is of no class: the probability of that exceeds the largest of a class; where equal, it is not.

    Args:
        novelty: the probability that it is of no class.
        top: that of the most probable class, given that it is of one.
    """
    return novelty > (1 - novelty) * top


@dataclass(frozen=True, eq=False)
class SupportStatistics:
    """Class means and typical distances of a support.

    Attributes:
        means: (n_way, width) the mean of each class.
        typical: the mean distance of a support clip to the nearest class mean that it is no part of; its own class's
            is taken without it.
        k_shot: clips of a class, on average.
    """

    means: Tensor
    typical: float
    k_shot: float

    @classmethod
    def of(cls, support: Features, y: Tensor) -> SupportStatistics:
        """Return those of a support, with its class numbers (n_support,) of 0 .. n_way - 1."""
        at, n_way = points(support), int(y.max()) + 1
        means = class_means(at, y, n_way)
        distances = squared_distances(at, means).sqrt()  # (n_support, n_way)
        sizes = torch.bincount(y, minlength=n_way)[y].to(at.dtype)
        # A mean without one of its n clips is n / (n - 1) times as far from that clip; infinitely far if it was alone.
        own = nn.functional.one_hot(y, n_way).bool()
        apart = torch.where(own, distances * (sizes / (sizes - 1))[:, None], distances)
        apart = torch.where(own & (sizes == 1)[:, None], math.inf, apart)
        return cls(means, float(apart.min(1).values.mean()), len(y) / n_way)

    @property
    def n_way(self) -> int:
        """Classes."""
        return len(self.means)

    def evidence(self, query: Features, logits: Tensor) -> Tensor:
        """Return the inputs of the novelty, (n_query, 2).

        The first is the logarithm of a clip's distance to the nearest class mean over `typical`; the second its largest
        logit (n_query, n_way).
        """
        nearest = squared_distances(points(query), self.means).min(1).values
        ratio = (nearest.clamp_min(_CLOSEST) / max(self.typical**2, _CLOSEST)).log() / 2
        return torch.stack([ratio, logits.max(1).values], 1)
