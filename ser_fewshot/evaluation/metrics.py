"""Scores over episodes: unweighted average recall (UAR) and accuracy with intervals, confusion, paired differences."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from ser_fewshot.episodes import Episode, EpisodeSpec, class_numbers
from ser_fewshot.episodes.frozen import episodes_hash
from ser_fewshot.errors import EpisodeError

_LEVEL = 0.95  # of every interval


@dataclass(frozen=True)
class Interval:
    """A mean and the half-width of its 95 % confidence interval over episodes."""

    mean: float
    half_width: float

    def __str__(self) -> str:
        return f"{100 * self.mean:.1f} ± {100 * self.half_width:.1f}"

    def as_dict(self) -> dict[str, float | None]:
        """The two as JSON values: JSON has no infinity, so the half-width of a single episode is None."""
        return {"mean": self.mean, "ci95": self.half_width if math.isfinite(self.half_width) else None}


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What a learner scored on a list of episodes.

    Attributes:
        spec: the protocol.
        episodes_sha256: which episodes; equal hashes, equal tasks.
        labels: (n_labels,) every class that occurred.
        uar, accuracy: (n_episodes,) in [0, 1].
        confusion: (n_labels, n_labels) queries of all episodes, true class by row, predicted class by column.
        diverged: by the index of the episode, why adapting to it failed. It is scored as chance.
    """

    spec: EpisodeSpec
    episodes_sha256: str
    labels: tuple[str, ...]
    uar: NDArray[np.float64]
    accuracy: NDArray[np.float64]
    confusion: NDArray[np.int64]
    diverged: Mapping[int, str] = field(default_factory=dict)

    @property
    def chance(self) -> float:
        """UAR of guessing."""
        return chance_of(self.spec)

    @property
    def recall(self) -> dict[str, float]:
        """Share of each class's queries that were recognised, over all episodes that it took part in."""
        rates = self.confusion.diagonal() / self.confusion.sum(1).clip(min=1)
        return {label: float(rate) for label, rate in zip(self.labels, rates, strict=True)}

    def as_dict(self) -> dict[str, object]:
        """Everything a later reader needs, as JSON values; scores in [0, 1]."""
        return {
            "spec": self.spec.as_dict(),
            "protocol": str(self.spec),
            "episodes": len(self.uar),
            "episodes_sha256": self.episodes_sha256,
            "chance": self.chance,
            "uar": interval(self.uar).as_dict(),
            "accuracy": interval(self.accuracy).as_dict(),
            "recall": self.recall,
            "labels": list(self.labels),
            "confusion": self.confusion.tolist(),
            "diverged": {str(index): reason for index, reason in self.diverged.items()},
            "uar_per_episode": [round(value, 6) for value in self.uar.tolist()],
        }


def chance_of(spec: EpisodeSpec) -> float:
    """Return the UAR of guessing."""
    return 1 / spec.n_way


def interval(values: NDArray[np.float64]) -> Interval:
    """(n,) scores -> their mean and its 95 % confidence interval by Student's t; infinitely wide for a single one.

    Student, "The probable error of a mean", 1908, https://doi.org/10.1093/biomet/6.1.1.
    """
    if len(values) < 2:
        return Interval(float(values.mean()), math.inf)
    error = values.std(ddof=1) / math.sqrt(len(values))
    return Interval(float(values.mean()), float(t_quantile(len(values)) * error))


@lru_cache(maxsize=256)
def t_quantile(n: int) -> float:
    """Return how many standard errors of a mean over n values, at least 2, its 95 % interval reaches to either side."""
    from scipy import stats  # noqa: PLC0415 - half a second, which only who asks for an interval should wait for

    return float(stats.t.ppf((1 + _LEVEL) / 2, n - 1))


def compare(first: Evaluation, second: Evaluation) -> Interval:
    """Return the paired difference in UAR, first minus second; zero outside the interval is a difference.

    Raises:
        EpisodeError: the two were not scored on the same episodes.
    """
    if first.episodes_sha256 != second.episodes_sha256:
        raise EpisodeError(
            "comparison",
            found=f"episodes {first.episodes_sha256[:12]} and {second.episodes_sha256[:12]}",
            expected="two evaluations on the same episodes",
            remedy="Score both on one frozen list.",
        )
    return interval(first.uar - second.uar)


def score(
    episodes: Sequence[Episode],
    spec: EpisodeSpec,
    predicted: Sequence[NDArray[np.int64] | None],
    *,
    diverged: Mapping[int, str] = MappingProxyType({}),
) -> Evaluation:
    """Score the predicted class numbers (n_query,) of each episode; None, where adapting to it failed, is chance."""
    from sklearn.metrics import balanced_accuracy_score, confusion_matrix  # noqa: PLC0415 - as slow to import as torch

    uar, accuracy = np.full((2, len(episodes)), chance_of(spec))
    truth: list[str] = []
    answers: list[str] = []
    for number, (episode, answer) in enumerate(zip(episodes, predicted, strict=True)):
        if answer is None:
            continue
        y = class_numbers(episode.query).numpy()
        uar[number] = balanced_accuracy_score(y, answer)
        accuracy[number] = np.mean(y == answer)
        truth += [episode.classes[label] for label in y]
        answers += [episode.classes[label] for label in answer]
    labels = tuple(sorted({label for episode in episodes for label in episode.classes}))
    shape = (len(labels), len(labels))
    confusion = confusion_matrix(truth, answers, labels=list(labels)) if truth else np.zeros(shape, dtype=np.int64)
    return Evaluation(spec, episodes_hash(episodes), labels, uar, accuracy, confusion, diverged)
