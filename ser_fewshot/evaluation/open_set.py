"""Open-set measures: how well novelty separates clips of a class that is not enrolled from the others."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from ser_fewshot.evaluation.calibration import Calibration
from ser_fewshot.evaluation.runner import Predictions, check_any

RECALL = 0.95
"""Share of clips of enrolled classes that are accepted where the false-positive rate is measured."""

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Rejection:
    """How well the novelty separates unknown clips from known ones, over all thresholds.

    Attributes:
        auroc: area under the ROC curve of the novelty.
        fpr95: share of unknown clips that are accepted by the threshold that accepts 95 % of known ones.
        oscr: area under the share of known clips that are accepted and right, over the share of unknown ones
            that are accepted; Dhamija et al., "Reducing network agnostophobia", 2018, https://arxiv.org/abs/1811.04110.
    """

    auroc: float
    fpr95: float
    oscr: float

    @classmethod
    def of(cls, known: Array, right: NDArray[np.bool_], unknown: Array) -> Rejection:
        """(n,) novelties of known clips, (n,) whether they are right, (m,) novelties of unknown ones."""
        return cls(auroc(known, unknown), false_positive_rate(known, unknown), oscr(known, right, unknown))


def pooled(found: Sequence[Predictions], calibration: Calibration | None) -> tuple[Array, NDArray[np.bool_], Array]:
    """Return, over all queries, the novelties of known clips, whether these are right, and the novelties of others.

    Raises:
        EpisodeError: there is no episode.
    """
    check_any(found)
    values = np.concatenate([novelties(one, calibration) for one in found])
    known = np.concatenate([one.known.numpy() for one in found])
    right = np.concatenate([(one.logits.argmax(1) == one.y).numpy() for one in found])
    return values[known], right[known], values[~known]


def novelties(one: Predictions, calibration: Calibration | None) -> Array:
    """Return the novelty of every query, (n_query,); without a calibration, the first of its evidences."""
    if calibration is None:
        evidence: Array = one.evidence[:, 0].double().numpy()
        return evidence
    values: Array = calibration.novelty_of(one.evidence, one.conditions).numpy()
    return values


def auroc(known: Array, unknown: Array) -> float:
    """(n,) and (m,) novelties -> share of pairs of a known and an unknown clip of which the unknown one is more novel.

    It is the area under the ROC curve: Hanley and McNeil, 1982, https://doi.org/10.1148/radiology.143.1.7063747.
    """
    is_unknown = np.arange(len(known) + len(unknown)) >= len(known)
    return float(roc_auc_score(is_unknown, np.concatenate([known, unknown])))


def false_positive_rate(known: Array, unknown: Array, *, recall: float = RECALL) -> float:
    """(n,) and (m,) novelties -> share of unknown clips accepted by the least threshold that accepts enough known."""
    threshold = np.sort(known)[math.ceil(recall * len(known)) - 1]
    return float(np.mean(unknown <= threshold))


def oscr(known: Array, right: NDArray[np.bool_], unknown: Array) -> float:
    """(n,) novelties of known clips, (n,) whether they were right, (m,) novelties of unknown ones -> OSCR.

    The area is the share that is right times the chance that an unknown clip is more novel than one of these.
    """
    if not right.any():
        return 0.0
    return float(right.mean() * auroc(known[right], unknown))
