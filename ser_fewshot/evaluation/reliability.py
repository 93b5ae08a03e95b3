"""Reliability: how far the confidence of predictions is from their accuracy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ser_fewshot.evaluation.calibration import Array, Calibration, tops
from ser_fewshot.evaluation.runner import Predictions, check_any

BINS = 15
"""Of equal width, over the top probability: as in Guo et al., 2017, https://arxiv.org/abs/1706.04599."""


@dataclass(frozen=True, eq=False)
class ReliabilityBins:
    """Predictions by their top probability, for a reliability diagram.

    Attributes:
        count: (bins,) predictions in each of the equal widths of [0, 1].
        confidence: (bins,) their mean top probability; 0 where there is none.
        accuracy: (bins,) the share of them that is right; 0 where there is none.
    """

    count: NDArray[np.int64]
    confidence: Array
    accuracy: Array

    @classmethod
    def of(cls, probability: Array, right: NDArray[np.bool_]) -> ReliabilityBins:
        """(n,) top probabilities, (n,) whether each is right -> bins, each open below and closed above."""
        number = np.clip(np.ceil(probability * BINS).astype(np.int64) - 1, 0, BINS - 1)
        count = np.bincount(number, minlength=BINS)
        sums = (np.bincount(number, weights=values, minlength=BINS) for values in (probability, right.astype(float)))
        confidence, accuracy = (total / count.clip(min=1) for total in sums)
        return cls(count, confidence, accuracy)

    @property
    def ece(self) -> float:
        """Expected calibration error: the mean gap of confidence and accuracy, weighed by the predictions in a bin."""
        return float(np.average(np.abs(self.confidence - self.accuracy), weights=self.count))

    def as_dict(self) -> dict[str, object]:
        """All of it as JSON values."""
        return {"ece": self.ece, **{name: values.tolist() for name, values in vars(self).items()}}


def reliability(found: Sequence[Predictions], calibration: Calibration | None) -> ReliabilityBins:
    """Pool the queries of some episodes, all of enrolled classes; without a calibration, at a temperature of 1.

    Raises:
        EpisodeError: there is no episode.
    """
    check_any(found)
    rights = [(one.logits.argmax(1) == one.y).numpy() for one in found]
    return ReliabilityBins.of(np.concatenate([tops(one, calibration) for one in found]), np.concatenate(rights))
