"""Calibration: temperature scaling of the logits and the probability of an unknown class, fitted and measured.

Temperature: Guo et al., "On calibration of modern neural networks", 2017, https://arxiv.org/abs/1706.04599; here it
depends on the number of classes and of clips in each, as the logits of an episode do. Novelty: logistic regression on
the two values of `SupportStatistics.evidence`, whose offset, the prior, is such that the rule `is_unknown` keeps a
chosen share of known clips. Both are fitted on meta-validation episodes of which each leaves one class out of the
support; the expected calibration error (ECE) is measured on others.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ser_fewshot.episodes import Episode, EpisodeSampler, EpisodeSpec, QuerySpeaker
from ser_fewshot.errors import EpisodeError, SettingsError
from ser_fewshot.evaluation.novelty import is_unknown
from ser_fewshot.evaluation.runner import Predictions, adapted, check_any, outcomes
from ser_fewshot.frontends import FeatureSet
from ser_fewshot.learners import Learner
from ser_fewshot.settings import check_types

WAYS = (2, 3, 4, 5, 6, 7, 8)
"""Classes of the supports that are fitted on; one more takes part as the unknown one."""
SHOTS = (1, 2, 5, 10, 20)
KEEP = 0.9
"""Share of meta-validation clips of enrolled classes that keep their label.

High, because all clips of a corpus outside the training set are more novel than these: about three quarters of those
of enrolled classes are kept there; at equal error rates, fewer than half would be.
"""

BINS = 15
"""Of equal width, over the top probability: as in Guo et al., 2017."""

_QUERIES = 5  # a class
_SCALES = (-20.0, 20.0)  # logarithm of the temperatures that are tried
_HALVINGS = 50
_CONDITIONS, _EVIDENCE = 3, 2  # numbers of the inputs
_HOTTEST = 20.0  # of the logarithm of a temperature: beyond it, a softmax in single precision is flat or a step
_LARGEST_WEIGHT = 1e6
Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """Temperature and novelty weights of a model, fitted on meta-validation episodes.

    Conditions are (1, log n_way, log k_shot), where more classes or clips than were fitted count as the most that were.

    Attributes:
        temperature: (3,) weights of the conditions in the logarithm of the temperature.
        novelty: (5,) weights of the conditions and of the two values of `SupportStatistics.evidence` in the
            log-odds that a clip is of no enrolled class.
        most_ways, most_shots: the most classes, and clips of each, that were fitted.
    """

    temperature: tuple[float, ...]
    novelty: tuple[float, ...]
    most_ways: int
    most_shots: int

    def __post_init__(self) -> None:
        check_types(self, where="calibration")
        sizes = (len(self.temperature), len(self.novelty))
        legal = sizes == (_CONDITIONS, _CONDITIONS + _EVIDENCE) and self.most_ways >= 2 and self.most_shots >= 1
        legal = legal and all(abs(weight) <= _LARGEST_WEIGHT for weight in self.novelty)
        if not legal or not all(abs(value) <= _HOTTEST for value in self._corners()):
            raise SettingsError(
                "calibration",
                found=f"{self}",
                expected=f"{_CONDITIONS} weights of a temperature from e^-{_HOTTEST:g} to e^{_HOTTEST:g}, "
                f"{_CONDITIONS + _EVIDENCE} of the novelty, at least 2 ways and 1 shot",
                remedy="Fit it again.",
            )

    def temperature_at(self, n_way: int, k_shot: float) -> float:
        """Return what logits are divided by, for classes of `k_shot` enrolled clips on average."""
        return math.exp(self._weigh(self.temperature, n_way, k_shot))

    def novelty_of(self, evidence: Tensor, *, n_way: int, k_shot: float) -> Tensor:
        """(n_query, 2) evidence -> (n_query,) probability that a clip is of no enrolled class, float64."""
        weights = torch.tensor(self.novelty[_CONDITIONS:], dtype=torch.float64)
        return (evidence.double() @ weights + self._weigh(self.novelty, n_way, k_shot)).sigmoid()

    def unknown(self, logits: Tensor, evidence: Tensor, *, k_shot: float) -> Tensor:
        """(n_query, n_way) logits, (n_query, 2) evidence -> (n_query,) whether a clip is of no enrolled class."""
        n_way = logits.shape[1]
        top = (logits.double() / self.temperature_at(n_way, k_shot)).softmax(1).max(1).values
        return is_unknown(self.novelty_of(evidence, n_way=n_way, k_shot=k_shot), top)

    def _weigh(self, weights: tuple[float, ...], n_way: int, k_shot: float) -> float:
        values = conditions(min(n_way, self.most_ways), min(k_shot, self.most_shots))
        return sum(weight * value for weight, value in zip(weights, values, strict=False))

    def _corners(self) -> list[float]:
        """The logarithm of the temperature where it is largest and smallest: it is linear between."""
        return [
            self._weigh(self.temperature, ways, shots) for ways in (2, self.most_ways) for shots in (1, self.most_shots)
        ]


def fit_calibration(
    learner: Learner, features: FeatureSet, *, seed: int, n_episodes: int = 40, keep: float = KEEP
) -> Calibration:
    """Fit a calibration on clips that the learner was not trained on.

    Speakers of support and query are disjoint if the clips allow any such episode.

    Args:
        learner: what to calibrate.
        features: of the meta-validation clips.
        seed: of the episodes.
        n_episodes: of each of WAYS and SHOTS that these clips allow.
        keep: the share of clips of enrolled classes that keep their label, in these episodes.

    Raises:
        EpisodeError: the clips do not give one episode of three classes.
        SettingsError: `keep` is no share.
    """
    return fit(validation_predictions(learner, features, seed=seed, n_episodes=n_episodes), keep=keep)


def validation_predictions(
    learner: Learner, features: FeatureSet, *, seed: int, n_episodes: int = 40
) -> list[Predictions]:
    """Return the predictions for episodes of each of WAYS and SHOTS that the clips allow, one class left out of each.

    A calibration may be fitted on those of several learners, such as of leave-one-corpus-out.

    Raises:
        EpisodeError: the clips do not give one episode of three classes.
    """
    choices: tuple[QuerySpeaker, ...] = ("disjoint", "any")
    for query_speaker in choices:
        cells = [
            EpisodeSpec(n_way=n_way + 1, k_shot=k_shot, n_query=_QUERIES, query_speaker=query_speaker)
            for n_way in WAYS
            for k_shot in SHOTS
        ]
        episodes = [episode for spec in cells for episode in possible_episodes(features, spec, seed, n_episodes)]
        if found := adapted(outcomes(learner, features, episodes, leave_out=True)):
            return found
    raise EpisodeError(
        "calibration",
        found=f"{len(features)} clips, which give no episode of three classes that could be adapted to",
        expected=f"three classes of one corpus with at least {_QUERIES + 1} clips each",
        remedy="Add meta-validation clips, or go without a calibration.",
    )


def fit(found: Sequence[Predictions], *, keep: float = KEEP) -> Calibration:
    """Fit a calibration to predictions for episodes of several numbers of classes and clips.

    The regression weighs known and unknown clips alike. Then the offset of its log-odds is shifted, until `keep` of the
    known clips keep their label: how many clips of a user will be unknown, nobody knows.

    Raises:
        SettingsError: `keep` is no share between 0 and 1.
    """
    if not 0 < keep < 1:
        raise SettingsError("keep", found=f"{keep}", expected="a share between 0 and 1", remedy=f"Try {KEEP}.")
    x, known = _inputs(found), np.concatenate([one.known.numpy() for one in found])
    weights = _regression(x, ~known)
    fitted = Calibration(
        temperature=_fit_temperature(found),
        novelty=tuple(weights.tolist()),
        most_ways=max(one.n_way for one in found),
        most_shots=int(max(one.k_shot for one in found)),
    )
    # Of log-odds o and a top probability p, a clip is unknown where o > log p.
    margins = np.log(np.concatenate([_tops(one, fitted) for one in found])) - x @ weights
    weights[0] += float(np.quantile(margins[known], 1 - keep))
    return replace(fitted, novelty=tuple(weights.tolist()))


def optimal_temperature(logits: Tensor, y: Tensor) -> float:
    """(n, n_way) logits and (n,) class numbers -> the temperature at which their cross-entropy is least.

    Found by bisection: in 1 / temperature the cross-entropy is convex, and its slope is the mean of the expected logit
    less that of the true one. As in Platt, "Probabilistic outputs for support vector machines", 1999, one clip in n + 2
    counts as of any class, so that the optimum is finite where no answer is wrong.
    """
    logits, doubt = logits.double(), 1 / (len(y) + 2)
    true = (1 - doubt) * logits.gather(1, y[:, None]).mean() + doubt * logits.mean()
    low, high = _SCALES
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        expected = ((logits / np.exp(middle)).softmax(1) * logits).sum(1).mean()
        low, high = (low, middle) if expected < true else (middle, high)
    return float(np.exp((low + high) / 2))


def possible_episodes(features: FeatureSet, spec: EpisodeSpec, seed: int, n_episodes: int) -> tuple[Episode, ...]:
    """Return episodes of a spec; none where the clips do not allow any."""
    try:
        return EpisodeSampler(features.utterances, spec, seed=seed).draw_many(n_episodes)
    except EpisodeError:
        return ()


def _inputs(found: Sequence[Predictions]) -> Array:
    """Return the conditions and the evidence of all queries, (n, 5)."""
    rows = [
        np.column_stack([np.tile(conditions(one.n_way, one.k_shot), (len(one.y), 1)), one.evidence.double().numpy()])
        for one in found
    ]
    return np.concatenate(rows)


def _tops(one: Predictions, calibration: Calibration | None) -> Array:
    """Return the largest probability of a class, (n_query,); without a calibration, at a temperature of 1."""
    temperature = 1.0 if calibration is None else calibration.temperature_at(one.n_way, one.k_shot)
    tops: Array = (one.logits.double() / temperature).softmax(1).max(1).values.numpy()
    return tops


def _regression(x: Array, unknown: NDArray[np.bool_]) -> Array:
    """(n, 5) inputs, the first of them ones, (n,) truth -> (5,) weights of a balanced logistic regression."""
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415 - as slow to import as torch
    from sklearn.pipeline import make_pipeline  # noqa: PLC0415
    from sklearn.preprocessing import StandardScaler  # noqa: PLC0415

    scaler, model = StandardScaler(), LogisticRegression(class_weight="balanced")
    make_pipeline(scaler, model).fit(x[:, 1:], unknown)
    weights = model.coef_[0] / scaler.scale_
    return np.concatenate([model.intercept_ - weights @ scaler.mean_, weights])


def _fit_temperature(found: Sequence[Predictions]) -> tuple[float, ...]:
    """Return the least-squares weights through the optima of all cells, weighted by their numbers of queries."""
    cells: dict[tuple[int, float], list[Predictions]] = {}
    for one in found:
        cells.setdefault((one.n_way, one.k_shot), []).append(one)
    root = np.sqrt([sum(int(one.known.sum()) for one in members) for members in cells.values()])
    best = [
        optimal_temperature(
            torch.cat([one.logits[one.known] for one in members]), torch.cat([one.y[one.known] for one in members])
        )
        for members in cells.values()
    ]
    at = np.array([conditions(*cell) for cell in cells])
    return tuple(np.linalg.lstsq(at * root[:, None], np.log(best) * root, rcond=None)[0].tolist())


def conditions(n_way: int, k_shot: float) -> tuple[float, float, float]:
    """Return the inputs of a calibration that are the same for all clips of an enrolment."""
    return 1.0, math.log(n_way), math.log(k_shot)


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
    return ReliabilityBins.of(np.concatenate([_tops(one, calibration) for one in found]), np.concatenate(rights))
