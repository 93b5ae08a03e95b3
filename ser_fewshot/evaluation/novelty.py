"""Novelty of a clip to a support: how far it is from the class means, and how undecided the classifier is.

A clip is unknown where the probability u that it is of no class is larger than that of every class, (1 - u) p: this is
`is_unknown`, the only rule for it.

What is usual depends on the support: the clips of another speaker are all further from a support of one speaker than
from one of many, and classes that overlap are left less surely. `Conditions` are what a calibration knows of that.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import overload

import torch
from torch import Tensor, nn

from ser_fewshot.frontends import Features
from ser_fewshot.learners import class_means, points, squared_distances

N_EVIDENCE = 5
_CLOSEST = 1e-12  # a squared distance whose logarithm is still finite
_WIDEST = 1.5  # largest spread, and minus the smallest: those of nine corpora were from -0.94 to 1.28


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


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """What a calibration depends on, the same for all queries of a support.

    Attributes:
        n_way: classes.
        k_shot: clips of a class, on average.
        spread: logarithm of `SupportStatistics.typical` over the distance between class means, within +-_WIDEST.
        one_speaker: whether no two speakers of the support are known.
    """

    n_way: int
    k_shot: float
    spread: float = 0.0
    one_speaker: bool = False

    def inputs(self, *, most_ways: int, most_shots: int) -> tuple[float, ...]:
        """Return (1, log n_way, log k_shot, spread, one_speaker), with at most so many ways and shots."""
        n_way, k_shot = min(self.n_way, most_ways), min(self.k_shot, most_shots)
        return 1.0, math.log(n_way), math.log(k_shot), self.spread, float(self.one_speaker)

    @classmethod
    def corners(cls, *, most_ways: int, most_shots: int) -> list[Conditions]:
        """Return those at which a linear function of the inputs is largest or smallest."""
        return [
            cls(n_way=n_way, k_shot=k_shot, spread=spread, one_speaker=one)
            for n_way in (2, most_ways)
            for k_shot in (1, most_shots)
            for spread in (-_WIDEST, _WIDEST)
            for one in (False, True)
        ]


@dataclass(frozen=True, eq=False)
class SupportStatistics:
    """Class means and typical distances of a support.

    Attributes:
        means: (n_way, width) the mean of each class.
        typical: the mean distance of a support clip to the nearest class mean that it is no part of; its own class's
            is taken without it.
        conditions: see there.
        n_directions: values at the end of an embedding that are projections on directions: `Encoder.n_directions`.
    """

    means: Tensor
    typical: float
    conditions: Conditions
    n_directions: int = 0

    @classmethod
    def of(
        cls, support: Features, y: Tensor, *, speakers: Sequence[str | None] = (), n_directions: int = 0
    ) -> SupportStatistics:
        """Return those of a support, with its class numbers (n_support,) of 0 .. n_way - 1 and its speakers' names."""
        at, n_way = points(support), int(y.max()) + 1
        means = class_means(at, y, n_way)
        distances = squared_distances(at, means).sqrt()  # (n_support, n_way)
        sizes = torch.bincount(y, minlength=n_way)[y].to(at.dtype)
        # A mean without one of its n clips is n / (n - 1) times as far from that clip; infinitely far if it was alone.
        own = nn.functional.one_hot(y, n_way).bool()
        apart = torch.where(own, distances * (sizes / (sizes - 1))[:, None], distances)
        apart = torch.where(own & (sizes == 1)[:, None], math.inf, apart)
        typical = float(apart.min(1).values.mean())
        between = float(squared_distances(means, means).sum()) / (n_way * (n_way - 1)) if n_way > 1 else 0.0
        spread = math.log(max(typical**2, _CLOSEST) / max(between, _CLOSEST)) / 2
        conditions = Conditions(
            n_way=n_way,
            k_shot=len(y) / n_way,
            spread=min(max(spread, -_WIDEST), _WIDEST),
            one_speaker=len({*speakers} - {None}) < 2,
        )
        return cls(means, typical, conditions, n_directions)

    def evidence(self, query: Features, logits: Tensor) -> Tensor:
        """Return the inputs of the novelty, (n_query, N_EVIDENCE).

        They are: the logarithm of the distance to the nearest class mean over `typical`; the largest of the logits
        (n_query, n_way); by how much it exceeds the second; the logarithms of the distances to the nearest class mean
        along the directions of emotions and along the rest of the embedding. Without directions, the former of these
        two is that of the whole embedding, and the latter 0.
        """
        at = points(query)
        nearest = _log_nearest(at, self.means)
        first, second = logits.topk(2, 1).values.unbind(1)
        parts = [nearest, torch.zeros_like(nearest)]
        if n := self.n_directions:
            parts = [_log_nearest(at[:, rows], self.means[:, rows]) for rows in (slice(-n, None), slice(-n))]
        ratio = nearest - math.log(max(self.typical**2, _CLOSEST)) / 2
        return torch.stack([ratio, first, first - second, *parts], 1)


def _log_nearest(at: Tensor, means: Tensor) -> Tensor:
    """(n, width), (n_way, width) -> the logarithm of the distance to the nearest mean, (n,)."""
    nearest: Tensor = squared_distances(at, means).min(1).values.clamp_min(_CLOSEST).log() / 2
    return nearest
