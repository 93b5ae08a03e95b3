"""Learners side by side on the clips of one visitor."""

from visitors import enrolled, models, packaged, recording

from app import comparison, handlers
from app.comparison import compare
from app.models import LEARNERS
from app.notes import Code
from app.session import History, Session

THREE = enrolled({"low": 3, "high": 3, "shrill": 3})


def test_learners_are_compared_on_the_enrolled_clips_and_change_neither_session_nor_models():
    history = handlers.recognise(THREE, History(), recording("high", 4))
    before = THREE.enrolment.classifier
    rows = compare(THREE, history, models=models())
    assert [row.learner for row in rows] == list(LEARNERS)
    for row in rows:
        assert (row.note, row.shots, row.answer.answer) == (None, (1, 2), "high")
        assert all(0 <= value <= 1 for value in row.uar)
        assert row.seconds > 0
    assert THREE.enrolment.classifier is before
    assert models().empty("emotion", learner="protonet").labels == ()
    session = enrolled({"low": 2, "high": 2}, by=packaged())
    assert [row.note for row in compare(session, History(), models=packaged())] == [None] * len(LEARNERS)


def test_what_is_scored_is_adapted_to_as_clips_are_enrolled(monkeypatch):
    seen, evaluate = {}, comparison.evaluate

    def watched(learner, features, *given, **named):
        seen[type(learner).__name__] = {len(one) for one in features.deviations}
        return evaluate(learner, features, *given, **named)

    monkeypatch.setattr(comparison, "evaluate", watched)
    compare(THREE, History(), models=models(), learners=["ridge", "maml"])
    assert seen == {"Ridge": {3}, "MAML": {0}}


def test_learners_that_cannot_be_compared_say_why(tmp_path):
    (row,) = compare(THREE, History(), models=models(), learners=["relation"])
    assert (row.note.code, row.shots) == (Code.LEARNER_REFUSED, ())
    (row,) = compare(enrolled({"low": 1}), History(), models=models(), learners=["ridge"])
    assert row.note.code is Code.TOO_FEW_LABELS
    _, path = handlers.save(THREE, tmp_path)
    loaded = handlers.load(Session(), path, models=models())
    (row,) = compare(loaded, History(), models=models(), learners=["ridge"])
    assert row.note.code is Code.NO_SOUND
