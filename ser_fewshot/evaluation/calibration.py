"""Calibration: temperature scaling of the logits and the probability of an unknown class, fitted to episodes.

Temperature: Guo et al., "On calibration of modern neural networks", 2017, https://arxiv.org/abs/1706.04599; here its
logarithm is linear in the `Conditions` of the support, and minimises the cross-entropy. Novelty: logistic regression on
`SupportStatistics.evidence` and the conditions, whose offset, the prior, is such that the rule `is_unknown` keeps a
chosen share of known clips. Both are fitted on meta-validation episodes of which each leaves one class out of the
support, with supports of many speakers and of one.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ser_fewshot.episodes import Episode, EpisodeSampler, EpisodeSpec, QuerySpeaker, SupportSpeakers
from ser_fewshot.errors import EpisodeError, SettingsError
from ser_fewshot.evaluation.novelty import N_EVIDENCE, Conditions, is_unknown
from ser_fewshot.evaluation.runner import Predictions, adapted, outcomes
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

_QUERIES = 5  # a class
_SCALES = (-20.0, 20.0)  # logarithm of the temperatures that are tried
_HALVINGS = 50
_CONDITIONS = 5  # numbers of the inputs
_STEPS = 60  # of L-BFGS: it has converged
_DECAY = 1e-4  # of the weights of the temperature, but its offset; else two classes that never mix drive them away
_HOTTEST = 20.0  # of the logarithm of a temperature: beyond it, a softmax in single precision is flat or a step
_LARGEST_WEIGHT = 1e6
LEGAL = (
    f"a temperature from e^-{_HOTTEST:g} to e^{_HOTTEST:g}, weights of the novelty up to {_LARGEST_WEIGHT:g}, at least "
    "2 ways and 1 shot"
)
"""What the values of a calibration must be, in words."""
_NEVER = -1e9  # in place of the logit of a class that an episode does not have
Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """Temperature and novelty weights of a model, fitted on meta-validation episodes.

    More classes or clips than were fitted count as the most that were.

    Attributes:
        temperature: (5,) weights of `Conditions.inputs` in the logarithm of the temperature.
        novelty: (10,) weights of these and of the values of `SupportStatistics.evidence` in the log-odds that a clip is
            of no enrolled class.
        most_ways, most_shots: the most classes, and clips of each, that were fitted.
    """

    temperature: tuple[float, ...]
    novelty: tuple[float, ...]
    most_ways: int
    most_shots: int

    def __post_init__(self) -> None:
        check_types(self, where="calibration")
        sizes = (len(self.temperature), len(self.novelty))
        legal = sizes == (_CONDITIONS, _CONDITIONS + N_EVIDENCE) and self.most_ways >= 2 and self.most_shots >= 1
        legal = legal and all(abs(weight) <= _LARGEST_WEIGHT for weight in self.novelty)
        if not legal or not all(abs(value) <= _HOTTEST for value in self._corners()):
            raise SettingsError(
                "calibration",
                found=f"{self}",
                expected=f"{_CONDITIONS} of the temperature and {_CONDITIONS + N_EVIDENCE} of the novelty; {LEGAL}",
                remedy="Fit it again.",
            )

    def temperature_at(self, conditions: Conditions) -> float:
        """Return what the logits of a support are divided by."""
        return math.exp(self._weigh(self.temperature, conditions))

    def novelty_of(self, evidence: Tensor, conditions: Conditions) -> Tensor:
        """(n_query, 5) evidence -> (n_query,) probability that a clip is of no enrolled class, float64."""
        weights = torch.tensor(self.novelty[_CONDITIONS:], dtype=torch.float64)
        return (evidence.double() @ weights + self._weigh(self.novelty, conditions)).sigmoid()

    def unknown(self, logits: Tensor, evidence: Tensor, conditions: Conditions) -> Tensor:
        """(n_query, n_way) logits, (n_query, 5) evidence -> (n_query,) whether a clip is of no enrolled class."""
        top = _top(logits, self.temperature_at(conditions))
        return is_unknown(self.novelty_of(evidence, conditions), top)

    def _weigh(self, weights: tuple[float, ...], conditions: Conditions) -> float:
        values = conditions.inputs(most_ways=self.most_ways, most_shots=self.most_shots)
        return sum(weight * value for weight, value in zip(weights, values, strict=False))

    def _corners(self) -> list[float]:
        """The logarithm of the temperature where it is largest and smallest: it is linear between."""
        corners = Conditions.corners(most_ways=self.most_ways, most_shots=self.most_shots)
        return [self._weigh(self.temperature, corner) for corner in corners]


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
        kinds: tuple[SupportSpeakers, ...] = ("any",) if query_speaker == "any" else ("any", "one")
        cells = [
            EpisodeSpec(
                n_way=n_way + 1,
                k_shot=k_shot,
                n_query=_QUERIES,
                query_speaker=query_speaker,
                support_speakers=support_speakers,
            )
            for n_way in WAYS
            for k_shot in SHOTS
            for support_speakers in kinds
            if support_speakers == "any" or _one_speaker_has(features, n_way + 1, k_shot)
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
    most_ways, most_shots = max(one.n_way for one in found), int(max(one.conditions.k_shot for one in found))
    of_each = np.array([one.conditions.inputs(most_ways=most_ways, most_shots=most_shots) for one in found])
    x = np.repeat(of_each, [len(one.y) for one in found], 0)
    known = np.concatenate([one.known.numpy() for one in found])
    x = np.column_stack([x, np.concatenate([one.evidence.double().numpy() for one in found])])
    weights = _regression(x, ~known)
    fitted = Calibration(
        temperature=_fit_temperature(found, of_each),
        novelty=tuple(weights.tolist()),
        most_ways=most_ways,
        most_shots=most_shots,
    )
    # Of log-odds o and a top probability p, a clip is unknown where o > log p.
    margins = np.log(np.concatenate([tops(one, fitted) for one in found])) - x @ weights
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


def _one_speaker_has(features: FeatureSet, n_way: int, k_shot: int) -> bool:
    """Whether some speaker has that many clips of that many emotions: counting is faster than drawing in vain."""
    clips = Counter((clip.speaker_key, clip.emotion) for clip in features.utterances if clip.speaker_key)
    emotions = Counter(speaker for (speaker, _), n in clips.items() if n >= k_shot)
    return max(emotions.values(), default=0) >= n_way


def tops(one: Predictions, calibration: Calibration | None) -> Array:
    """Return the largest probability of a class, (n_query,); without a calibration, at a temperature of 1."""
    temperature = 1.0 if calibration is None else calibration.temperature_at(one.conditions)
    values: Array = _top(one.logits, temperature).numpy()
    return values


def _top(logits: Tensor, temperature: float) -> Tensor:
    """(n_query, n_way) -> the largest probability of a class, (n_query,) float64."""
    return (logits.double() / temperature).softmax(1).max(1).values


def _regression(x: Array, unknown: NDArray[np.bool_]) -> Array:
    """(n, m) inputs, the first of them ones, (n,) truth -> (m,) weights of a balanced logistic regression."""
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415 - as slow to import as torch
    from sklearn.pipeline import make_pipeline  # noqa: PLC0415
    from sklearn.preprocessing import StandardScaler  # noqa: PLC0415

    scaler, model = StandardScaler(), LogisticRegression(class_weight="balanced")
    make_pipeline(scaler, model).fit(x[:, 1:], unknown)
    weights = model.coef_[0] / scaler.scale_
    return np.concatenate([model.intercept_ - weights @ scaler.mean_, weights])


def _fit_temperature(found: Sequence[Predictions], inputs: Array) -> tuple[float, ...]:
    """Return the weights of the conditions (n_found, 5) of least cross-entropy over known queries.

    As in `optimal_temperature`, one clip in n + 2 counts as of any class.
    """
    ways, n = max(one.n_way for one in found), sum(int(one.known.sum()) for one in found)
    rows = torch.cat([torch.full((int(one.known.sum()),), row) for row, one in enumerate(found)])
    pads = [nn.functional.pad(one.logits[one.known].double(), (0, ways - one.n_way), value=_NEVER) for one in found]
    logits, y, doubt = torch.cat(pads), torch.cat([one.y[one.known] for one in found]), 1 / (n + 2)
    of_each, present = torch.from_numpy(inputs), logits > _NEVER
    mean = logits.where(present, 0).sum(1) / present.sum(1)
    true = (1 - doubt) * logits.gather(1, y[:, None])[:, 0] + doubt * mean
    weights = torch.zeros(_CONDITIONS, dtype=torch.float64)
    weights[0] = _start(found)
    weights.requires_grad_()
    optimiser = torch.optim.LBFGS([weights], max_iter=_STEPS, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimiser.zero_grad()
        colder = (-(of_each @ weights).clamp(-_HOTTEST, _HOTTEST)).exp()[rows]
        loss = ((logits * colder[:, None]).logsumexp(1) - true * colder).mean() + _DECAY * weights[1:].square().sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    with torch.enable_grad():
        optimiser.step(closure)  # type: ignore[no-untyped-call]
    return tuple(weights.detach().tolist())


def _start(found: Sequence[Predictions]) -> float:
    """Return the mean logarithm of the optima of single numbers of classes."""
    optima = []
    for n_way in sorted({one.n_way for one in found}):
        same = [one for one in found if one.n_way == n_way]
        logits, y = (torch.cat([getattr(one, name)[one.known] for one in same]) for name in ("logits", "y"))
        optima.append(math.log(optimal_temperature(logits, y)))
    return sum(optima) / len(optima)
