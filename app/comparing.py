"""Learners side by side, on the same encoder and the clips of one visitor, with one, two, three and more shots."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ser_fewshot.classifier import FewShotClassifier
from ser_fewshot.compute.threads import small_work
from ser_fewshot.corpora import Utterance
from ser_fewshot.episodes import EpisodeSampler, EpisodeSpec
from ser_fewshot.errors import SerFewshotError
from ser_fewshot.evaluation import evaluate
from ser_fewshot.frontends import FeatureSet

from .clips import note
from .models import LEARNERS, Models
from .session import Code, Note, Session, Trail

SHOTS = (1, 2, 3, 5, 10)
_EPISODES = 10  # random choices of the enrolled clips, for each number of shots


@dataclass(frozen=True)
class Comparison:
    """One learner on the clips of the session.

    Attributes:
        learner: its name.
        shots: (n,) clips of each class that it was given, those of SHOTS that leave at least one clip of each to test.
        uar: (n,) unweighted average recall, in [0, 1], on clips left out, the mean of several choices of the clips.
        answer: what it says of the last recognised clip; None without one.
        seconds: what enrolling all clips took it, in s.
        note: why there are no numbers; None where there are.
    """

    learner: str
    shots: tuple[int, ...] = ()
    uar: tuple[float, ...] = ()
    answer: str | None = None
    seconds: float = 0.0
    note: Note | None = None


def compare(
    session: Session, trail: Trail, *, models: Models, learners: Sequence[str] = LEARNERS
) -> tuple[Comparison, ...]:
    """Set learners side by side; a note says why one of them, or all of them, cannot be compared."""
    enrolment = session.enrolment
    if not session.can_recognise:
        few = note(Code.TOO_FEW_LABELS, "error", count=len(session.labels))
        return tuple(Comparison(name, note=few) for name in learners)
    if len(enrolment.sounds) < enrolment.count:
        return tuple(Comparison(name, note=note(Code.NO_SOUND, "error")) for name in learners)
    return tuple(_compared(session, trail, name, models) for name in learners)


def _compared(session: Session, trail: Trail, learner: str, models: Models) -> Comparison:
    try:
        classifier = models.empty(session.enrolment.mode, learner=learner)
        start = time.perf_counter()
        classifier.enroll(
            {
                label: [session.enrolment.sounds[name].clip for name in names]
                for label, names in session.enrolment.clips.items()
            }
        )
        seconds = time.perf_counter() - start
        answer = None if trail.last is None else classifier.predict(trail.last.sound.clip).label
        scores = _scores(classifier)
    except SerFewshotError as error:
        return Comparison(learner, note=note(Code.LEARNER_REFUSED, "error", learner=learner, detail=str(error)))
    return Comparison(learner, tuple(scores), tuple(scores.values()), answer, seconds)


@small_work()
def _scores(classifier: FewShotClassifier) -> dict[int, float]:
    """Return the recall for each number of shots: the same clips for every learner."""
    features = _features(classifier)
    least = min(map(len, classifier.enrolled.values()))
    scores = {}
    for shots in (shots for shots in SHOTS if shots < least):
        spec = EpisodeSpec(n_way=len(classifier.labels), k_shot=shots, n_query=least - shots, query_speaker="any")
        episodes = EpisodeSampler(features.utterances, spec).draw_many(_EPISODES)
        scores[shots] = float(evaluate(classifier.model.learner, features, episodes, spec=spec).uar.mean())
    return scores


def _features(classifier: FewShotClassifier) -> FeatureSet:
    """Return what was kept of all enrolled clips, which the library's evaluation asks for as those of a corpus."""
    classes = classifier.members
    named = [(name, label) for label, members in classes.items() for name in members.names]
    utterances = tuple(Utterance(name, Path(name), "session", label) for name, label in named)
    return FeatureSet(utterances, tuple(clip for members in classes.values() for clip in members.clips))
