"""Fit a model's calibration on meta-validation episodes; `ser_fewshot.evaluation.open_set` measures it on others.

Every episode leaves one of its classes out of the support, so that its queries are of no enrolled class; the queries of
the others say how right the probabilities are. Nothing here changes a learner.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ser_fewshot.episodes import Episode, EpisodeSampler, EpisodeSpec, QuerySpeaker, class_numbers
from ser_fewshot.errors import AdaptationError, EpisodeError, SettingsError
from ser_fewshot.evaluation.calibration import Calibration, Surroundings, conditions
from ser_fewshot.frontends import FeatureSet
from ser_fewshot.learners import Learner, device_of, embed_clips, evaluating

WAYS = (2, 3, 4, 5, 6, 7, 8)
"""Classes of the supports that are fitted on; one more takes part as the unknown one."""
SHOTS = (1, 2, 5, 10, 20)
KEEP = 0.9
"""Share of meta-validation clips of enrolled classes that the threshold keeps.

High, because clips of a corpus never heard are all more novel than these: about three quarters of those of enrolled
classes are kept there, where the point of equal error rate would keep fewer than half.
"""

_QUERIES = 5  # a class
_UNKNOWN = -1  # class number of a query whose class is not enrolled
_SCALES = (-20.0, 20.0)  # logarithm of the temperatures that are tried
_HALVINGS = 50

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Observation:
    """What a learner said of the queries of one episode.

    Attributes:
        k_shot: support clips of a class, on average.
        logits: (n_query, n_way) of the enrolled classes.
        evidence: (n_query, 2) what novelty is told by; see `Surroundings.evidence`.
        y: (n_query,) class number of each query; -1 where its class is not enrolled.
    """

    k_shot: float
    logits: Tensor
    evidence: Tensor
    y: Tensor

    @property
    def n_way(self) -> int:
        """Enrolled classes."""
        return self.logits.shape[1]

    @property
    def known(self) -> Tensor:
        """(n_query,) whether the class of a query is enrolled."""
        return self.y != _UNKNOWN


def fit_calibration(
    learner: Learner, features: FeatureSet, *, seed: int, n_episodes: int = 40, keep: float = KEEP
) -> Calibration:
    """Fit a calibration on clips that the learner was not trained on.

    Speakers of support and query are disjoint if the clips allow any such episode.

    Args:
        learner: what to calibrate.
        features: of the meta-validation clips.
        seed: which episodes are drawn.
        n_episodes: of each number of classes and clips that these clips allow, of WAYS and SHOTS.
        keep: the share of clips of enrolled classes that the threshold keeps.

    Raises:
        EpisodeError: the clips do not give one episode of three classes.
        SettingsError: `keep` is no share.
    """
    return fit(observe(learner, features, seed=seed, n_episodes=n_episodes), keep=keep)


def observe(learner: Learner, features: FeatureSet, *, seed: int, n_episodes: int = 40) -> list[Observation]:
    """Return what a learner says of episodes of WAYS and SHOTS, of each cell that the clips allow.

    A calibration may be fitted on the observations of several learners, such as those that each left one corpus out.

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
        episodes = [episode for spec in cells for episode in drawn(features, spec, seed, n_episodes)]
        if found := list(observed(learner, features, episodes=episodes, leave_out=True)):
            return found
    raise EpisodeError(
        "calibration",
        found=f"{len(features)} clips, which give no episode of three classes that could be adapted to",
        expected=f"three classes of one corpus with at least {_QUERIES + 1} clips each",
        remedy="Add meta-validation clips, or go without a calibration.",
    )


def fit(observations: Sequence[Observation], *, keep: float = KEEP) -> Calibration:
    """Fit a calibration to what was observed.

    Args:
        observations: of several numbers of classes and clips.
        keep: the share of clips of enrolled classes that the threshold keeps.

    Raises:
        SettingsError: `keep` is no share.
    """
    if not 0 < keep < 1:
        raise SettingsError("keep", found=f"{keep}", expected="a share between 0 and 1", remedy=f"Try {KEEP}.")
    x, known = _inputs(observations), np.concatenate([one.known.numpy() for one in observations])
    weights = _regression(x, ~known)
    novelty = 1 / (1 + np.exp(-x @ weights))
    return Calibration(
        temperature=_fit_temperature(observations),
        novelty=tuple(weights.tolist()),
        threshold=float(np.quantile(novelty[known], keep)),
        most_ways=max(one.n_way for one in observations),
        most_shots=int(max(one.k_shot for one in observations)),
    )


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


def observed(
    learner: Learner, features: FeatureSet, *, episodes: Sequence[Episode], leave_out: bool
) -> Iterator[Observation]:
    """Yield what a learner says of each episode that it can adapt to.

    Args:
        learner: which.
        features: of all clips that the episodes name.
        episodes: what to adapt to.
        leave_out: whether one class of each, the first of the first and so on in turn, is not enrolled.
    """
    device = device_of(learner)
    embedded = FeatureSet(features.utterances, tuple(embed_clips(learner, features.clips)))
    row = {utterance.id: number for number, utterance in enumerate(embedded.utterances)}
    for episode in episodes:
        n_way = len(episode.classes)
        left_out = episode.index % n_way if leave_out else n_way
        enrolled = tuple(clips for number, clips in enumerate(episode.support) if number != left_out)
        support, query = (
            embedded.batch([row[clip] for members in part for clip in members]) for part in (enrolled, episode.query)
        )
        y = class_numbers(episode.query)
        y = torch.where(y == left_out, _UNKNOWN, y - (y > left_out).long())
        numbers = class_numbers(enrolled)
        try:
            with evaluating(learner):
                logits = learner.adapt(support.to(device), numbers.to(device))(query.to(device)).cpu()
                around = Surroundings.of(support, numbers)
                yield Observation(around.k_shot, logits, around.evidence(query, logits), y)
        except AdaptationError:
            continue


def drawn(features: FeatureSet, spec: EpisodeSpec, seed: int, n_episodes: int) -> tuple[Episode, ...]:
    """Return episodes of a spec; none where the clips do not allow them."""
    try:
        return EpisodeSampler(features.utterances, spec, seed=seed).draw_many(n_episodes)
    except EpisodeError:
        return ()


def _inputs(observations: Sequence[Observation]) -> Array:
    """Return (n, 5) what novelty is computed from, of all queries."""
    rows = [
        np.column_stack([np.tile(conditions(one.n_way, one.k_shot), (len(one.y), 1)), one.evidence.double().numpy()])
        for one in observations
    ]
    return np.concatenate(rows)


def _regression(x: Array, unknown: NDArray[np.bool_]) -> Array:
    """(n, 5) inputs, the first of them ones, (n,) truth -> (5,) weights of a balanced logistic regression."""
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415 - as slow to import as torch
    from sklearn.pipeline import make_pipeline  # noqa: PLC0415
    from sklearn.preprocessing import StandardScaler  # noqa: PLC0415

    scaler, model = StandardScaler(), LogisticRegression(class_weight="balanced")
    make_pipeline(scaler, model).fit(x[:, 1:], unknown)
    weights = model.coef_[0] / scaler.scale_
    return np.concatenate([model.intercept_ - weights @ scaler.mean_, weights])


def _fit_temperature(observations: Sequence[Observation]) -> tuple[float, ...]:
    """Return the weights of least squares through the optimum of every cell, weighed by the number of its queries."""
    cells: dict[tuple[int, float], list[Observation]] = {}
    for one in observations:
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
