"""The one loop over episodes: adapt to the support of each, and keep what the learner predicts for its queries.

Every learner goes through `Learner.adapt`, the seam that users call too, and every measure is computed from what this
loop yields: scores, calibration and the open set.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ser_fewshot.episodes import Episode, EpisodeSpec, class_numbers
from ser_fewshot.errors import AdaptationError, CheckpointError, EpisodeError
from ser_fewshot.evaluation.metrics import Evaluation, score
from ser_fewshot.evaluation.novelty import Conditions
from ser_fewshot.evaluation.support import AdaptedSupport
from ser_fewshot.frontends import FeatureSet
from ser_fewshot.learners import (
    Learner,
    SpeakerModel,
    device_of,
    embed_clips,
    evaluating,
    without_voice,
)
from ser_fewshot.settings import check_is

UNKNOWN = -1
"""Class number of a query whose class is not enrolled."""


@dataclass(frozen=True, eq=False)
class Predictions:
    """What was predicted for the queries of one episode.

    Attributes:
        episode: which.
        conditions: of the support.
        logits: (n_query, n_way) of the enrolled classes.
        y: (n_query,) true class number of each query; UNKNOWN where its class is not enrolled.
        evidence: (n_query, 5) of novelty, see `SupportStatistics.evidence`; (0, 5) of a method that has none.

    Raises:
        CheckpointError: some logits are no numbers, so that the learner's weights are damaged.
    """

    episode: Episode
    conditions: Conditions
    logits: Tensor
    y: Tensor
    evidence: Tensor

    def __post_init__(self) -> None:
        if not bool(self.logits.isfinite().all()):
            raise CheckpointError(
                f"the learner's logits in episode {self.episode.index}",
                found="NaN or infinite values",
                expected="finite ones",
                remedy="Its weights, or the features of a clip, are damaged: take another checkpoint, or clear the "
                "cache.",
            )

    @property
    def n_way(self) -> int:
        """Enrolled classes."""
        return self.logits.shape[1]

    @property
    def known(self) -> Tensor:
        """(n_query,) whether the class of a query is enrolled."""
        return self.y != UNKNOWN

    @property
    def classes(self) -> NDArray[np.int64]:
        """(n_query,) the class number of the largest logit."""
        classes: NDArray[np.int64] = self.logits.argmax(1).numpy()
        return classes


@dataclass(frozen=True)
class Diverged:
    """An episode that the learner could not adapt to, and why; it is scored as chance."""

    episode: Episode
    reason: str


Outcome = Predictions | Diverged


def outcomes(
    learner: Learner,
    features: FeatureSet,
    episodes: Iterable[Episode],
    *,
    leave_out: bool = False,
    speakers: SpeakerModel | None = None,
    session: bool = False,
) -> Iterator[Outcome]:
    """Yield the predictions for each episode, in order.

    Args:
        learner: is not changed.
        features: of all clips that the episodes name; their deviations, if there are any, augment each support.
        episodes: what to adapt to.
        leave_out: whether one class of each episode, the first of the first and so on in turn, is not enrolled.
        speakers: subtracts the offsets of support speakers, and that of the query speaker where there is a context.
        session: whether the queries themselves are the context; one speaker speaks them all.

    Raises:
        CheckpointError: the learner's logits are no numbers.
    """
    device = device_of(learner)
    embedded = FeatureSet(features.utterances, tuple(embed_clips(learner, features.clips)))
    row = {utterance.id: number for number, utterance in enumerate(embedded.utterances)}
    for episode in episodes:
        left_out = episode.index % len(episode.classes) if leave_out else len(episode.classes)
        enrolled = tuple(clips for number, clips in enumerate(episode.support) if number != left_out)
        rows = [row[clip] for members in enrolled for clip in members]
        support = embedded.batch(rows)
        query = embedded.batch([row[clip] for members in episode.query for clip in members])
        deviations = [features.deviations[number] for number in rows] if features.deviations else []
        support_y, y = class_numbers(enrolled), class_numbers(episode.query)
        y = torch.where(y == left_out, UNKNOWN, y - (y > left_out).long())
        try:
            with evaluating(learner):
                names = [features.utterances[number].speaker_key for number in rows]
                fitted = AdaptedSupport.of(
                    learner, support, support_y, names=names, deviations=deviations, speakers=speakers
                )
                context = [row[clip] for clip in episode.context]
                if speakers is not None and fitted.means is not None and (session or context):
                    voice = query if session else embedded.batch(context)
                    query = without_voice(query, voice, fitted.means, speakers, n_support=len(support), session=session)
                logits = fitted.classifier(query.to(device)).cpu()
                evidence = fitted.statistics.evidence(query, logits)
        except AdaptationError as error:
            yield Diverged(episode, str(error))
        else:
            yield Predictions(episode, fitted.statistics.conditions, logits, y, evidence)


def adapted(found: Iterable[Outcome]) -> list[Predictions]:
    """Return the predictions for the episodes that could be adapted to."""
    return [one for one in found if isinstance(one, Predictions)]


def check_any(found: Sequence[Predictions]) -> None:
    """Refuse to measure nothing.

    Raises:
        EpisodeError: there is no episode that could be adapted to.
    """
    if not found:
        raise EpisodeError(
            "evaluation", found="no episode that could be adapted to", expected="at least one", remedy="Draw some."
        )


def evaluate(
    learner: Learner,
    features: FeatureSet,
    episodes: Sequence[Episode],
    *,
    spec: EpisodeSpec,
    track: Callable[[Sequence[Episode]], Iterable[Episode]] = iter,
    speakers: SpeakerModel | None = None,
    session: bool = False,
) -> Evaluation:
    """Adapt to the support of each episode and score its queries.

    Supports are of clean clips, as `FewShotClassifier.enroll` makes them with `clean_only`. To score what it makes by
    default, under recording conditions too, pass `models.as_enrolled(model, features)` as the features.

    Args:
        learner: is not changed.
        features: of all clips that the episodes name; their deviations, if there are any, augment each support.
        episodes: what to score on.
        spec: what the episodes were drawn by.
        track: wraps the episodes to show progress.
        speakers: see `outcomes`; by default, nothing is known of any voice.
        session: see `outcomes`.

    Raises:
        EpisodeError: there is no episode, one is not of this spec, or one names a clip that has no features.
        CheckpointError: the learner's logits are no numbers, so its weights are damaged.
    """
    check_is(learner, Learner, name="learner", remedy="Pass classifier.model.learner.", error=EpisodeError)
    check_is(features, FeatureSet, name="features", remedy="Compute them with frontends.extract.", error=EpisodeError)
    check_episodes(episodes, spec, {utterance.id for utterance in features.utterances})
    found = outcomes(learner, features, track(episodes), speakers=speakers, session=session)
    return evaluation_of(found, episodes, spec)


def evaluation_of(found: Iterable[Outcome], episodes: Sequence[Episode], spec: EpisodeSpec) -> Evaluation:
    """Score the outcomes of some episodes, in their order; one that could not be adapted to is chance."""
    every = list(found)
    classes = [None if isinstance(one, Diverged) else one.classes for one in every]
    diverged = {one.episode.index: one.reason for one in every if isinstance(one, Diverged)}
    return score(episodes, spec, classes, diverged=diverged)


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
        missing = [
            clip
            for members in (*episode.support, *episode.query, episode.context)
            for clip in members
            if clip not in known
        ]
        if missing:
            raise EpisodeError(
                f"episode {episode.index}",
                found=f"the clip {missing[0]}, which has no features",
                expected="clips of this manifest that can be read",
                remedy="Replay the list on the manifest it was drawn from, with the same audio files in place.",
            )
