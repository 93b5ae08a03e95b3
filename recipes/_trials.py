"""Measures of a model on one list of episodes, beside its score: a function each, listed in MEASURES."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from ser_fewshot.corpora import Gender
from ser_fewshot.episodes import Episode, EpisodeSpec
from ser_fewshot.evaluation import Evaluation, Interval, evaluate, interval
from ser_fewshot.evaluation.calibration import Calibration
from ser_fewshot.evaluation.open_set import Rejection, auroc, novelties, pooled
from ser_fewshot.evaluation.reliability import reliability
from ser_fewshot.evaluation.runner import adapted, outcomes
from ser_fewshot.frontends import FeatureSet
from ser_fewshot.learners import Learner

FEWEST = 30  # episodes that a mean by gender is taken over


@dataclass(frozen=True, eq=False)
class Trial:
    """A model on one frozen list.

    Attributes:
        learner: of the model.
        clips: embedded clips of the corpus, as recorded; their deviations, if there are any, augment every support.
        degraded: the same clips by condition; those of no query may be absent.
        episodes: the list.
        spec: its protocol.
        score: on the clips as recorded.
        calibration: None where the model has none.
    """

    learner: Learner
    clips: FeatureSet
    degraded: Mapping[str, FeatureSet]
    episodes: Sequence[Episode]
    spec: EpisodeSpec
    score: Evaluation
    calibration: Calibration | None = None


def measured(trial: Trial) -> dict[str, Any]:
    """Return score and measures of a trial, as JSON values."""
    values = trial.score.as_dict()
    left_out = {"uar_per_episode"} | (set() if trial.spec.label == "emotion" else {"recall", "labels", "confusion"})
    score = {name: value for name, value in values.items() if name not in left_out}
    return {**score, **{name: measure(trial) for name, measure in MEASURES.items()}}


def under_conditions(trial: Trial) -> dict[str, Any]:
    """Return UAR, and its loss on the same episodes, with degraded queries and the support of the trial."""
    results = {}
    for condition, degraded in trial.degraded.items():
        renamed = tuple(replace(clip, id=_id(condition, clip.id)) for clip in degraded.utterances)
        none = tuple(one[:0] for one in trial.clips.deviations[:1]) * len(renamed)  # queries have none
        both = FeatureSet(
            trial.clips.utterances + renamed,
            (*trial.clips.clips, *degraded.clips),
            deviations=trial.clips.deviations + none,
        )
        episodes = [
            replace(episode, query=tuple(tuple(_id(condition, clip) for clip in part) for part in episode.query))
            for episode in trial.episodes
        ]
        uar = evaluate(trial.learner, both, episodes, spec=trial.spec).uar
        results[condition] = {"uar": interval(uar).as_dict(), "loss": interval(trial.score.uar - uar).as_dict()}
    return results


def by_gender(trial: Trial) -> dict[str, Any] | None:
    """Return UAR on the queries of women and of men, and the gap, women minus men; None for fewer than FEWEST episodes.

    Only episodes count in which every class has queries of the gender: UAR over fewer classes is another number. The
    gap is paired over the episodes that count for both; where they are too few, as with one speaker each, it is not.
    """
    if trial.spec.label != "emotion":
        return None
    gender = {clip.id: clip.gender for clip in trial.clips.utterances}
    uar: dict[Gender, dict[int, float]] = {}
    for kind in get_args(Gender):
        own = [_only(episode, gender, kind) for episode in trial.episodes]
        whole = [episode for episode in own if all(episode.query)]
        if len(whole) < FEWEST:
            return None
        values = evaluate(trial.learner, trial.clips, whole, spec=trial.spec).uar
        uar[kind] = {episode.index: float(value) for episode, value in zip(whole, values, strict=True)}
    rows = {
        kind: {**interval(_array(values.values())).as_dict(), "episodes": len(values)} for kind, values in uar.items()
    }
    both = sorted(uar["female"].keys() & uar["male"].keys())
    return {"uar": rows, "gap": gap(uar["female"], uar["male"]).as_dict(), "paired_episodes": len(both)}


def gap(first: Mapping[int, float], second: Mapping[int, float]) -> Interval:
    """Return the difference of two scores by episode: paired over those that both have, if they are enough."""
    both = sorted(first.keys() & second.keys())
    if len(both) >= FEWEST:
        return interval(_array(first[index] - second[index] for index in both))
    one, other = (interval(_array(values.values())) for values in (first, second))
    return Interval(one.mean - other.mean, float(np.hypot(one.half_width, other.half_width)))


def probabilities(trial: Trial) -> dict[str, Any] | None:
    """Return ECE and reliability diagram, before and after calibration."""
    if trial.calibration is None:
        return None
    found = adapted(outcomes(trial.learner, trial.clips, trial.episodes))
    parts = {"before": reliability(found, None).as_dict(), "after": reliability(found, trial.calibration).as_dict()}
    return {"spec": trial.spec.as_dict(), "protocol": str(trial.spec), "episodes": len(found), **parts}


def unknown_classes(trial: Trial) -> dict[str, Any] | None:
    """Return how well clips of a class out of the support are detected; None for fewer than three classes."""
    if trial.calibration is None or trial.spec.n_way < 3:
        return None
    found = adapted(outcomes(trial.learner, trial.clips, trial.episodes, leave_out=True))
    rows = [(novelties(one, trial.calibration), one.known.numpy()) for one in found]
    within = [auroc(values[known], values[~known]) for values, known in rows]
    unknown = [trial.calibration.unknown(one.logits, one.evidence, one.conditions).numpy() for one in found]
    kept = [1 - np.mean(flags[known]) for flags, (_, known) in zip(unknown, rows, strict=True)]
    flagged = [np.mean(flags[~known]) for flags, (_, known) in zip(unknown, rows, strict=True)]
    return {
        "spec": trial.spec.as_dict(),
        "protocol": f"{trial.spec}, one class left out of the support",
        "episodes": len(found),
        **asdict(Rejection.of(*pooled(found, trial.calibration))),
        "auroc_within": interval(np.array(within)).as_dict(),
        "known_kept": interval(np.array(kept)).as_dict(),
        "unknown_flagged": interval(np.array(flagged)).as_dict(),
    }


MEASURES: dict[str, Callable[[Trial], Any]] = {
    "conditions": under_conditions,
    "gender": by_gender,
    "reliability": probabilities,
    "open_set": unknown_classes,
}
"""Beside the score of every protocol in a results file, by the key there."""


def _only(episode: Episode, gender: Mapping[str, Gender | None], kind: Gender) -> Episode:
    return replace(episode, query=tuple(tuple(clip for clip in part if gender[clip] == kind) for part in episode.query))


def _id(condition: str, clip: str) -> str:
    return f"{condition}: {clip}"


def _array(values: Any) -> NDArray[np.float64]:
    return np.array(list(values), dtype=np.float64)
