"""Scores over episodes: unweighted average recall (UAR) and accuracy with intervals, confusion, paired differences.

Every learner is scored on the same frozen episodes through `Learner.adapt`, the seam that users call too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ser_fewshot.episodes import Episode, EpisodeSpec, class_numbers
from ser_fewshot.episodes.frozen import episodes_hash
from ser_fewshot.errors import AdaptationError, CheckpointError, EpisodeError
from ser_fewshot.frontends import FeatureSet
from ser_fewshot.learners import Learner, device_of, embed_clips, evaluating
from ser_fewshot.settings import check_is

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
        confusion: (n_labels, n_labels) queries of all episodes, true class by row, answer by column.
        diverged: by the index of the episode, why adapting to it failed. It counts as chance, with no answers.
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
            "spec": asdict(self.spec),
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


def evaluate(
    learner: Learner,
    features: FeatureSet,
    episodes: Sequence[Episode],
    *,
    spec: EpisodeSpec,
    track: Callable[[Sequence[Episode]], Iterable[Episode]] = iter,
) -> Evaluation:
    """Adapt to the support of each episode and score its queries.

    Args:
        learner: is not changed.
        features: of all clips that the episodes name.
        episodes: what to score on.
        spec: what the episodes were drawn by.
        track: wraps the episodes to show progress.

    Raises:
        EpisodeError: there is no episode, one is not of this spec, or one names a clip that has no features.
        CheckpointError: the learner's answers are no numbers, so its weights are damaged.
    """
    check_is(learner, Learner, name="learner", remedy="Pass classifier.model.learner.", error=EpisodeError)
    check_is(features, FeatureSet, name="features", remedy="Compute them with frontends.extract.", error=EpisodeError)
    check_episodes(episodes, spec, {utterance.id for utterance in features.utterances})
    embedded = FeatureSet(features.utterances, tuple(embed_clips(learner, features.clips)))
    row = {utterance.id: number for number, utterance in enumerate(embedded.utterances)}
    answers: list[NDArray[np.int64] | None] = []
    diverged: dict[int, str] = {}
    device = device_of(learner)
    with evaluating(learner):
        for episode in track(episodes):
            support, query = (
                embedded.batch([row[clip] for members in part for clip in members]).to(device)
                for part in (episode.support, episode.query)
            )
            try:
                y = class_numbers(episode.support).to(device)
                answers.append(answered(learner.adapt(support, y)(query), episode))
            except AdaptationError as error:
                answers.append(None)
                diverged[episode.index] = str(error)
    return score(episodes, spec, answers, diverged=diverged)


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


def check_episodes(episodes: Sequence[Episode], spec: EpisodeSpec, known: Collection[str]) -> None:
    """Refuse, before the work begins, what could not be scored.

    Raises:
        EpisodeError: there is no episode, one is not of this spec, or one names a clip that is not among the known.
    """
    check_is(episodes, Sequence, name="episodes", remedy="Draw them: sampler.draw_many(600).", error=EpisodeError)
    check_is(spec, EpisodeSpec, name="spec", remedy="Pass the one of the sampler: sampler.spec.", error=EpisodeError)
    if not episodes:
        raise EpisodeError("evaluation", found="no episodes", expected="at least one", remedy="Draw some.")
    for episode in episodes:
        classes, support, query = len(episode.classes), len(episode.support), len(episode.query)
        if {classes, support, query} != {spec.n_way} or not all((*episode.support, *episode.query)):
            raise EpisodeError(
                f"episode {episode.index}",
                found=f"{classes} classes, support for {support} and queries for {query}, or a class without clips",
                expected=f"{spec.n_way} classes, each with support and query clips",
                remedy="Pass the spec that the episodes were drawn by.",
            )
        missing = [clip for members in (*episode.support, *episode.query) for clip in members if clip not in known]
        if missing:
            raise EpisodeError(
                f"episode {episode.index}",
                found=f"the clip {missing[0]}, which has no features",
                expected="clips of this manifest that can be read",
                remedy="Replay the list on the manifest it was drawn from, with the same audio files in place.",
            )


def answered(logits: Tensor, episode: Episode) -> NDArray[np.int64]:
    """(n_query, n_way) -> (n_query,) the class of the largest logit.

    Raises:
        CheckpointError: some are no numbers, so that the learner's weights are damaged.
    """
    if not bool(logits.isfinite().all()):
        raise CheckpointError(
            f"the learner's answers to episode {episode.index}",
            found="NaN or infinite logits",
            expected="finite ones",
            remedy="Its weights, or the features of a clip, are damaged: take another checkpoint, or clear the cache.",
        )
    answers: NDArray[np.int64] = logits.argmax(1).cpu().numpy()
    return answers


def score(
    episodes: Sequence[Episode],
    spec: EpisodeSpec,
    answers: Sequence[NDArray[np.int64] | None],
    *,
    diverged: Mapping[int, str] = MappingProxyType({}),
) -> Evaluation:
    """Score the answers (n_query,) to each episode; one without answers, because adapting to it failed, is chance."""
    from sklearn.metrics import balanced_accuracy_score, confusion_matrix  # noqa: PLC0415 - as slow to import as torch

    uar, accuracy = np.full((2, len(episodes)), chance_of(spec))
    truth: list[str] = []
    taken_for: list[str] = []
    for number, (episode, answer) in enumerate(zip(episodes, answers, strict=True)):
        if answer is None:
            continue
        y = class_numbers(episode.query).numpy()
        uar[number] = balanced_accuracy_score(y, answer)
        accuracy[number] = np.mean(y == answer)
        truth += [episode.classes[label] for label in y]
        taken_for += [episode.classes[label] for label in answer]
    labels = tuple(sorted({label for episode in episodes for label in episode.classes}))
    shape = (len(labels), len(labels))
    confusion = confusion_matrix(truth, taken_for, labels=list(labels)) if truth else np.zeros(shape, dtype=np.int64)
    return Evaluation(spec, episodes_hash(episodes), labels, uar, accuracy, confusion, diverged)
