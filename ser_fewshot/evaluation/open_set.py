"""What a calibration is worth: whether probabilities mean what they say, and whether unknown clips are told apart."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score
from torch import Tensor

from ser_fewshot.episodes import Episode, EpisodeSpec
from ser_fewshot.errors import EpisodeError
from ser_fewshot.evaluation import Interval, interval
from ser_fewshot.evaluation.calibration import Calibration
from ser_fewshot.evaluation.fit_calibration import Observation, observed
from ser_fewshot.frontends import FeatureSet
from ser_fewshot.learners import Learner

BINS = 15
"""Of equal width, over the top probability: as in Guo et al., 2017."""
RECALL = 0.95
"""Share of clips of enrolled classes that are accepted where the false-positive rate is told."""

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ReliabilityBins:
    """Answers by how probable they were said to be, for a reliability plot.

    Attributes:
        count: (bins,) answers in each of the equal widths of [0, 1].
        confidence: (bins,) their mean top probability; 0 where there is none.
        accuracy: (bins,) the share of them that is right; 0 where there is none.
    """

    count: NDArray[np.int64]
    confidence: Array
    accuracy: Array

    @classmethod
    def of(cls, probability: Array, right: NDArray[np.bool_]) -> ReliabilityBins:
        """(n,) top probabilities, (n,) whether the answer is right -> bins, each open below and closed above."""
        number = np.clip(np.ceil(probability * BINS).astype(np.int64) - 1, 0, BINS - 1)
        count = np.bincount(number, minlength=BINS)
        sums = (np.bincount(number, weights=values, minlength=BINS) for values in (probability, right.astype(float)))
        confidence, accuracy = (total / count.clip(min=1) for total in sums)
        return cls(count, confidence, accuracy)

    @classmethod
    def of_answers(cls, answers: Sequence[tuple[Tensor, Tensor]], temperatures: Sequence[float]) -> ReliabilityBins:
        """Pool episodes, each with logits (n_query, n_way), class numbers (n_query,) and a temperature."""
        tops, rights = [], []
        for (logits, y), temperature in zip(answers, temperatures, strict=True):
            top, answer = (logits.double() / temperature).softmax(1).max(1)
            tops.append(top.numpy())
            rights.append((answer == y).numpy())
        return cls.of(np.concatenate(tops), np.concatenate(rights))

    @property
    def ece(self) -> float:
        """Expected calibration error: the mean gap of confidence and accuracy, weighed by the answers in a bin."""
        return float(np.average(np.abs(self.confidence - self.accuracy), weights=self.count))

    def as_dict(self) -> dict[str, object]:
        """All of it as JSON values."""
        return {"ece": self.ece, **{name: values.tolist() for name, values in vars(self).items()}}


@dataclass(frozen=True, eq=False)
class Reliability:
    """Reliability of all answers to some episodes, with a temperature of 1 and with the calibration's."""

    spec: EpisodeSpec
    episodes: int
    before: ReliabilityBins
    after: ReliabilityBins

    def as_dict(self) -> dict[str, object]:
        """All of it as JSON values."""
        parts = {"before": self.before.as_dict(), "after": self.after.as_dict()}
        return {"spec": asdict(self.spec), "protocol": str(self.spec), "episodes": self.episodes, **parts}


@dataclass(frozen=True)
class Rejection:
    """How well one threshold of novelty, whichever it is, tells unknown clips from known ones.

    Attributes:
        auroc: area under the ROC curve of the novelty.
        fpr95: share of unknown clips that are accepted by the threshold that accepts 95 % of known ones.
        oscr: area under the share of known clips that are accepted and rightly named, over the share of unknown ones
            that are accepted; Dhamija et al., "Reducing network agnostophobia", 2018, https://arxiv.org/abs/1811.04110.
    """

    auroc: float
    fpr95: float
    oscr: float

    @classmethod
    def of(cls, known: Array, right: NDArray[np.bool_], unknown: Array) -> Rejection:
        """(n,) novelties of known clips, (n,) whether they are rightly named, (m,) novelties of unknown ones."""
        return cls(auroc(known, unknown), false_positive_rate(known, unknown), oscr(known, right, unknown))


@dataclass(frozen=True)
class OpenSet:
    """How well clips of a class that is not enrolled are told from those that are.

    Attributes:
        spec: of the episodes; one of its classes is not enrolled.
        episodes: how many.
        auroc, fpr95, oscr: see `Rejection`; over all queries: one threshold for all episodes.
        auroc_within: of the queries of one episode, on average.
        known_kept, unknown_flagged: shares by the fitted threshold.
    """

    spec: EpisodeSpec
    episodes: int
    auroc: float
    auroc_within: Interval
    fpr95: float
    oscr: float
    known_kept: Interval
    unknown_flagged: Interval

    def as_dict(self) -> dict[str, object]:
        """All of it as JSON values, shares in [0, 1]."""
        values = {name: value.as_dict() if isinstance(value, Interval) else value for name, value in vars(self).items()}
        return {**values, "spec": asdict(self.spec), "protocol": f"{self.spec}, one class left out of the support"}


def reliability(
    learner: Learner, calibration: Calibration, *, features: FeatureSet, episodes: Sequence[Episode], spec: EpisodeSpec
) -> Reliability:
    """Compare what a learner says of its answers with how often they are right, all classes enrolled.

    Raises:
        EpisodeError: there is no episode that the learner can adapt to.
    """
    found = _found(learner, features, episodes, leave_out=False)
    answers = [(one.logits, one.y) for one in found]
    before, after = (
        ReliabilityBins.of_answers(answers, [temperature_of(one.n_way, one.k_shot, by) for one in found])
        for by in (None, calibration)
    )
    return Reliability(spec, len(found), before, after)


def open_set(
    learner: Learner, calibration: Calibration, *, features: FeatureSet, episodes: Sequence[Episode], spec: EpisodeSpec
) -> OpenSet:
    """Measure novelty on episodes of which each leaves one class out of the support, in turn.

    Raises:
        EpisodeError: there is no episode that the learner can adapt to, or they have two classes.
    """
    if spec.n_way < 3:
        raise EpisodeError(
            f"{spec}", found="two classes", expected="one to leave out of at least three", remedy="Raise n_way."
        )
    found = _found(learner, features, episodes, leave_out=True)
    novelties = [novelty(one, calibration) for one in found]
    knowns = [one.known.numpy() for one in found]
    flagged = [values >= calibration.threshold for values in novelties]
    within = [auroc(values[inside], values[~inside]) for inside, values in zip(knowns, novelties, strict=True)]
    kept = [np.mean(~flag[inside]) for flag, inside in zip(flagged, knowns, strict=True)]
    caught = [np.mean(flag[~inside]) for flag, inside in zip(flagged, knowns, strict=True)]
    return OpenSet(
        spec,
        len(found),
        **asdict(Rejection.of(*novelties_of(found, calibration))),
        auroc_within=interval(np.array(within)),
        known_kept=interval(np.array(kept)),
        unknown_flagged=interval(np.array(caught)),
    )


def novelties_of(
    observations: Sequence[Observation], calibration: Calibration | None
) -> tuple[Array, NDArray[np.bool_], Array]:
    """Return, over all queries, the novelties of known clips, whether these are rightly named, and those of others."""
    values = np.concatenate([novelty(one, calibration) for one in observations])
    known = np.concatenate([one.known.numpy() for one in observations])
    right = np.concatenate([(one.logits.argmax(1) == one.y).numpy() for one in observations])
    return values[known], right[known], values[~known]


def novelty(observation: Observation, calibration: Calibration | None) -> Array:
    """Return the novelty of every query, (n_query,); without a calibration, the first of its two evidences."""
    if calibration is None:
        evidence: Array = observation.evidence[:, 0].double().numpy()
        return evidence
    values: Array = calibration.novelty_of(
        observation.evidence, n_way=observation.n_way, k_shot=observation.k_shot
    ).numpy()
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
    """(n,) novelties of known clips, (n,) whether they were rightly named, (m,) novelties of unknown ones -> OSCR.

    The area is the share that is rightly named times the chance that an unknown clip is more novel than one of these.
    """
    if not right.any():
        return 0.0
    return float(right.mean() * auroc(known[right], unknown))


def _found(
    learner: Learner, features: FeatureSet, episodes: Sequence[Episode], *, leave_out: bool
) -> list[Observation]:
    found = list(observed(learner, features, episodes=episodes, leave_out=leave_out))
    if not found:
        raise EpisodeError(
            "confidence", found="no episode that could be adapted to", expected="at least one", remedy="Draw some."
        )
    return found


def temperature_of(n_way: int, k_shot: float, calibration: Calibration | None) -> float:
    """Return what logits are divided by: 1 without a calibration."""
    return 1.0 if calibration is None else calibration.temperature_at(n_way, k_shot)
