"""Learners side by side, on the same encoder and the clips of one visitor, with 1, 2, 3 and more shots."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ser_fewshot.classifier import FewShotClassifier, Prediction
from ser_fewshot.compute.threads import small_work
from ser_fewshot.corpora import Utterance
from ser_fewshot.episodes import EpisodeSampler, EpisodeSpec
from ser_fewshot.errors import SerFewshotError
from ser_fewshot.evaluation import evaluate
from ser_fewshot.frontends import FeatureSet

from .models import LEARNERS, Models
from .notes import Code, Note, note
from .session import History, Session

SHOTS = (1, 2, 3, 5, 10)
_EPISODES = 10  # for each number of shots


@dataclass(frozen=True)
class Comparison:
    """One learner on the clips of the session.

    Attributes:
        learner: its name.
        shots: (n,) those of SHOTS that leave at least one clip of each class to test.
        uar: (n,) unweighted average recall on clips left out, in [0, 1], the mean over episodes.
        answer: to the last recognised clip; None without one.
        seconds: that enrolling all clips took, in s.
        note: why there are no numbers; None where there are.
    """

    learner: str
    shots: tuple[int, ...] = ()
    uar: tuple[float, ...] = ()
    answer: Prediction | None = None
    seconds: float = 0.0
    note: Note | None = None


def compare(
    session: Session, history: History, *, models: Models, learners: Sequence[str] = LEARNERS
) -> tuple[Comparison, ...]:
    """Compare learners; a note says why one of them, or all of them, cannot be."""
    refusal = None
    if not session.can_recognise:
        refusal = note(Code.TOO_FEW_LABELS, count=len(session.labels))
    elif len(session.enrolment.sounds) < session.enrolment.count:
        refusal = note(Code.NO_SOUND)
    if refusal is not None:
        return tuple(Comparison(name, note=refusal) for name in learners)
    return tuple(_compare_one(session, history, name, models) for name in learners)


def _compare_one(session: Session, history: History, learner: str, models: Models) -> Comparison:
    enrolment = session.enrolment
    clips = {label: [enrolment.sounds[name].clip for name in names] for label, names in enrolment.clips.items()}
    try:
        classifier = models.empty(enrolment.mode, learner=learner)
        start = time.perf_counter()
        classifier.enroll(clips)
        seconds = time.perf_counter() - start
        answer = None if history.last is None else classifier.predict(history.last.sound.clip)
        scores = _scores(classifier)
    except SerFewshotError as error:
        return Comparison(learner, note=note(Code.LEARNER_REFUSED, learner=learner, detail=str(error)))
    return Comparison(learner, tuple(scores), tuple(scores.values()), answer, seconds)


@small_work()
def _scores(classifier: FewShotClassifier) -> dict[int, float]:
    """Return the recall for each number of shots, in the same episodes for every learner; supports are as enrolled."""
    classes = classifier.members
    named = [(name, label) for label, members in classes.items() for name in members.names]
    features = FeatureSet(
        tuple(Utterance(name, Path(name), "session", label) for name, label in named),
        tuple(clip for members in classes.values() for clip in members.clips),
        deviations=tuple(one for members in classes.values() for one in members.deviations),
    )
    least = min(map(len, classifier.enrolled.values()))
    scores = {}
    for shots in (shots for shots in SHOTS if shots < least):
        spec = EpisodeSpec(n_way=len(classifier.labels), k_shot=shots, n_query=least - shots, query_speaker="any")
        episodes = EpisodeSampler(features.utterances, spec).draw_many(_EPISODES)
        scores[shots] = float(evaluate(classifier.model.learner, features, episodes, spec=spec).uar.mean())
    return scores
