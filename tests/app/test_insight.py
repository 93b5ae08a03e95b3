"""What the page says of an enrolment: map, confusion, hints, doubts, and learners side by side."""

import numpy as np
import pytest
import torch
from visitors import enrolled, models, packaged, recording

from app import cross_validate, handlers
from app.comparing import compare
from app.cross_validate import confused, leave_one_out
from app.doubts import doubts_of
from app.insight import confusion, map_points
from app.models import LEARNERS
from app.session import Code, Session, Trail
from ser_fewshot.classifier import FewShotClassifier, NearestClip, Prediction
from ser_fewshot.classifier.enrollment import Enrolled
from ser_fewshot.classifier.enrollment_file import embedding_of_silence

THREE = enrolled({"low": 3, "high": 3, "shrill": 3})


def overlapping():
    """A session in which one tone is enrolled as two labels, and another as a third."""
    session = enrolled({"high": 3})
    for label, numbers in (("low", (0, 2, 4)), ("shrill", (1, 3, 5))):
        clips = [recording("shrill", number) for number in numbers]
        session = handlers.add_clips(session, label, clips, models=models())
    return session


def hint_codes(session):
    return [hint.code for hint in confusion(session).hints]


def test_the_map_shows_every_clip_once_and_like_beside_like():
    trail = handlers.recognise(THREE, Trail(), recording("high", 4))
    points = map_points(THREE, trail)
    assert sorted(point.name for point in points if point.kind == "enrolled") == sorted(THREE.enrolment.sounds)
    (heard,) = (point for point in points if point.kind == "recognised")
    assert heard.label == "high"
    places = {label: np.mean([(p.x, p.y) for p in points if p.label == label], axis=0) for label in THREE.labels}
    distances = {label: np.hypot(*(place - (heard.x, heard.y))) for label, place in places.items()}
    assert min(distances, key=distances.get) == "high"


def test_the_map_of_the_enrolled_clips_does_not_move_when_one_is_recognised():
    trail = handlers.recognise(THREE, Trail(), recording("high", 4))
    assert map_points(THREE, trail)[:9] == pytest.approx(map_points(THREE, Trail()))


def test_a_corrected_clip_is_on_the_map_as_what_the_visitor_said():
    trail = handlers.recognise(THREE, Trail(), recording("high", 4))
    session, trail = handlers.correct(THREE, trail, "awe", models=models())
    assert map_points(session, trail)[-1].label == "awe"


@pytest.mark.parametrize("session", [Session(), enrolled({"low": 2})])
def test_too_few_clips_make_no_map(session):
    assert map_points(session, Trail()) == ()


def test_tones_that_differ_are_never_confused():
    result = confusion(THREE)
    assert result.labels == ("low", "high", "shrill")
    assert result.counts.tolist() == [[3, 0, 0], [0, 3, 0], [0, 0, 3]]
    assert [hint.code for hint in result.hints] == [Code.LOOKS_GOOD]


def test_leave_one_out_is_enrolling_all_other_clips():
    session = overlapping()
    expected = []
    for label, names in session.enrolment.clips.items():
        for name in names:
            rest = handlers.remove_clip(session, name).enrolment.classifier
            expected.append((label, rest.predict(session.enrolment.sounds[name].clip).label))
    assert list(leave_one_out(session.enrolment.classifier, session.labels)) == expected


def test_many_clips_are_held_out_one_of_each_label_at_a_time_and_every_one_once(monkeypatch):
    session = enrolled({"shrill": 1}, enrolled({"low": 4, "high": 2}))
    one_by_one = leave_one_out(session.enrolment.classifier, session.labels)
    monkeypatch.setattr(cross_validate, "_SINGLY", 3)
    together = leave_one_out(session.enrolment.classifier, session.labels)
    assert sorted(together) == sorted(one_by_one)
    assert len(together) == 6


def test_labels_of_the_same_tone_need_more_clips_and_overlap():
    result = confusion(overlapping())
    assert [hint.code for hint in result.hints] == [Code.NEEDS_MORE, Code.OVERLAP]
    assert {result.hints[1].values["first"], result.hints[1].values["second"]} == {"low", "shrill"}
    assert result.counts.sum() == 9


def test_labels_of_one_clip_cannot_be_held_out():
    assert hint_codes(enrolled({"low": 1, "high": 1})) == [Code.TOO_FEW_TO_TELL]
    assert confusion(enrolled({"shrill": 1}, enrolled({"low": 2, "high": 2}))).labels == ("low", "high")
    assert hint_codes(Session()) == [Code.TOO_FEW_TO_TELL]


def test_a_label_with_half_the_clips_of_another_is_named():
    hints = confusion(enrolled({"low": 4, "high": 2})).hints
    values = next(dict(hint.values) for hint in hints if hint.code is Code.UNBALANCED)
    assert values == {"label": "high", "count": 2, "most": 4, "most_label": "low"}


def test_the_share_of_confused_clips_is_of_the_two_labels_alone():
    answers = [("a", "b"), ("a", "a"), ("b", "c"), ("b", "b"), ("c", "a")]
    assert confused(answers, "a", "b") == 0.25
    assert confused([], "a", "b") == 0


def predicted(unknown=False, **probabilities):
    label = max(probabilities, key=probabilities.get)
    return Prediction(label, probabilities, NearestClip("x", label, 1.0), unknown=unknown)


@pytest.mark.parametrize(
    ("session", "prediction", "expected"),
    [
        (THREE, predicted(low=0.9, high=0.1, shrill=0.0), set()),
        (THREE, predicted(low=0.5, high=0.45, shrill=0.05), {Code.CLOSE_CALL}),
        (THREE, predicted(True, low=0.9, high=0.1, shrill=0.0), {Code.FAR_AWAY}),
        (enrolled({"low": 3, "high": 1}), predicted(low=0.9, high=0.1), {Code.FEW_CLIPS}),
        (overlapping(), predicted(low=0.9, high=0.0, shrill=0.1), {Code.OVERLAP}),
        (overlapping(), predicted(low=0.0, high=0.9, shrill=0.1), set()),
    ],
    ids=["sure", "close", "unknown", "few", "overlap", "overlap-of-others"],
)
def test_an_answer_comes_with_why_it_may_be_wrong(session, prediction, expected):
    assert {note.code for note in doubts_of(session.enrolment.classifier, prediction)} == expected


def test_learners_are_set_side_by_side_on_the_clips_that_are_enrolled():
    trail = handlers.recognise(THREE, Trail(), recording("high", 4))
    rows = compare(THREE, trail, models=models())
    assert [row.learner for row in rows] == list(LEARNERS)
    for row in rows:
        assert row.note is None
        assert row.shots == (1, 2)
        assert all(0 <= value <= 1 for value in row.uar)
        assert row.answer == "high"
        assert row.seconds > 0


def test_a_comparison_changes_neither_the_session_nor_the_shared_models():
    before = THREE.enrolment.classifier
    compare(THREE, Trail(), models=models())
    assert THREE.enrolment.classifier is before
    assert models().empty("emotion", learner="protonet").labels == ()


def test_learners_that_cannot_be_compared_say_why(tmp_path):
    (row,) = compare(THREE, Trail(), models=models(), learners=["relation"])
    assert (row.note.code, row.shots) == (Code.LEARNER_REFUSED, ())
    (row,) = compare(enrolled({"low": 1}), Trail(), models=models(), learners=["ridge"])
    assert row.note.code is Code.TOO_FEW_LABELS
    _, path = handlers.save(THREE, tmp_path)
    loaded = handlers.load(Session(), path, models=models())
    (row,) = compare(loaded, Trail(), models=models(), learners=["ridge"])
    assert row.note.code is Code.NO_SOUND


def test_the_packages_model_takes_every_learner_of_the_comparison():
    session = enrolled({"low": 2, "high": 2}, by=packaged())
    assert [row.note for row in compare(session, Trail(), models=packaged())] == [None] * len(LEARNERS)


@pytest.mark.parametrize(("learner", "most"), [("protonet", 60), ("finetune", 10), ("mtl", 10)])
def test_a_learner_that_takes_its_time_is_not_adapted_anew_for_every_clip(monkeypatch, learner, most):
    """All visitors wait in one queue, and files bring learners and clips of their own."""
    model = packaged().empty("emotion", learner=learner).model
    width = len(embedding_of_silence(model))
    noise = torch.randn(60, width, generator=torch.Generator().manual_seed(0))
    classifier = FewShotClassifier(
        model,
        {
            label: Enrolled(tuple(noise[place : place + 30]), tuple(f"{label} {n}" for n in range(30)))
            for label, place in (("low", 0), ("high", 30))
        },
    )
    adapted = []
    adapt = type(model.learner).adapt
    monkeypatch.setattr(type(model.learner), "adapt", lambda self, *given: adapted.append(1) or adapt(self, *given))
    answers = leave_one_out(classifier, ("low", "high"))
    assert [truth for truth, _ in answers].count("low") == 30
    assert (len(answers), len(adapted)) == (60, most)
