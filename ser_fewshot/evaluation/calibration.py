"""Calibration: temperature scaling of the logits, and novelty, the probability of none of the enrolled classes.

Temperature: Guo et al., "On calibration of modern neural networks", 2017, https://arxiv.org/abs/1706.04599; here it
depends on the number of classes and of clips in each, as the logits of an episode do. Novelty: logistic regression on
how far a clip is from the nearest class mean, over what is usual in the enrolment, and on its largest logit.
Distances are relative to the enrolment because those of another corpus may all be longer, or shorter, than those that
the weights were fitted on. `fit_calibration` beside this file fits them, `open_set` measures them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ser_fewshot.errors import SettingsError
from ser_fewshot.frontends import Features
from ser_fewshot.learners import class_means, squared_distances
from ser_fewshot.settings import check_types

_CONDITIONS = 3
_EVIDENCE = 2
_HOTTEST = 20.0  # of the logarithm of a temperature: beyond it, a softmax in single precision is flat or a step
_LARGEST_WEIGHT = 1e6
_CLOSEST = 1e-12  # a squared distance whose logarithm is still finite


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """What meta-validation episodes said of a model's confidence, as few numbers.

    Conditions are (1, log n_way, log k_shot), where more classes or clips than were fitted count as the most that were.

    Attributes:
        temperature: (3,) weights of the conditions in the logarithm of the temperature.
        novelty: (5,) weights of the conditions and of the two values of `Surroundings.evidence` in the log-odds that a
            clip is of no enrolled class, if half of all clips were.
        threshold: the novelty, in [0, 1], from which a clip is called unknown.
        most_ways, most_shots: the most classes, and clips of each, that were fitted.
    """

    temperature: tuple[float, ...]
    novelty: tuple[float, ...]
    threshold: float
    most_ways: int
    most_shots: int

    def __post_init__(self) -> None:
        check_types(self, where="calibration")
        sizes = (len(self.temperature), len(self.novelty))
        legal = sizes == (_CONDITIONS, _CONDITIONS + _EVIDENCE) and self.most_ways >= 2 and self.most_shots >= 1
        legal = legal and 0 <= self.threshold <= 1 and all(abs(weight) <= _LARGEST_WEIGHT for weight in self.novelty)
        if not legal or not all(abs(value) <= _HOTTEST for value in self._corners()):
            raise SettingsError(
                "calibration",
                found=f"{self}",
                expected=f"{_CONDITIONS} weights of a temperature from e^-{_HOTTEST:g} to e^{_HOTTEST:g}, "
                f"{_CONDITIONS + _EVIDENCE} of the novelty, a threshold in [0, 1], at least 2 ways and 1 shot",
                remedy="Fit it again.",
            )

    def temperature_at(self, n_way: int, k_shot: float) -> float:
        """Return what logits are divided by, for classes of `k_shot` enrolled clips on average."""
        return math.exp(self._weigh(self.temperature, n_way, k_shot))

    def novelty_of(self, evidence: Tensor, *, n_way: int, k_shot: float) -> Tensor:
        """(n_query, 2) evidence -> (n_query,) probability that a clip is of no enrolled class, float64."""
        weights = torch.tensor(self.novelty[_CONDITIONS:], dtype=torch.float64)
        return (evidence.double() @ weights + self._weigh(self.novelty, n_way, k_shot)).sigmoid()

    def _weigh(self, weights: tuple[float, ...], n_way: int, k_shot: float) -> float:
        held = conditions(min(n_way, self.most_ways), min(k_shot, self.most_shots))
        return sum(weight * value for weight, value in zip(weights, held, strict=False))

    def _corners(self) -> list[float]:
        """The logarithm of the temperature where it is largest and smallest: it is linear between."""
        return [
            self._weigh(self.temperature, ways, shots) for ways in (2, self.most_ways) for shots in (1, self.most_shots)
        ]


@dataclass(frozen=True, eq=False)
class Surroundings:
    """Where the clips of a support lie.

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
    def of(cls, support: Features, y: Tensor) -> Surroundings:
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
        """Return what novelty is told by, (n_query, 2).

        The first is the logarithm of a clip's distance to the nearest class mean over `typical`; the second its largest
        logit (n_query, n_way).
        """
        nearest = squared_distances(points(query), self.means).min(1).values
        ratio = (nearest.clamp_min(_CLOSEST) / max(self.typical**2, _CLOSEST)).log() / 2
        return torch.stack([ratio, logits.max(1).values], 1)


def conditions(n_way: int, k_shot: float) -> tuple[float, float, float]:
    """Return what calibration depends on, beside the clip."""
    return 1.0, math.log(n_way), math.log(k_shot)


def points(features: Features) -> Tensor:
    """Return one point a clip: (n, width) as they are, or the average frame of (n, frames, dim)."""
    return features.x if features.pooled else features.x.sum(1) / features.lengths[:, None]
