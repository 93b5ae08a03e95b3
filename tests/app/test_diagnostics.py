"""Map, leave-one-out confusion, hints and doubts of an enrolment."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from visitors import enrolled, models, packaged, recording

from app import diagnostics, handlers
from app.diagnostics import confusion, confusion_rate, doubts_of, leave_one_out, map_points
from app.notes import Code
from app.session import History, Session
from ser_fewshot.classifier import FewShotClassifier, NearestClip, Prediction
from ser_fewshot.classifier.enrollment import Enrolled
from ser_fewshot.frontends import stack
from ser_fewshot.models import silence

THREE = enrolled({"low": 3, "high": 3, "shrill": 3})


def overlapping():
    """A session in which one tone is enrolled as two labels, and another as a third."""
    session = enrolled({"high": 3})
    for label, numbers in (("low", (0, 2, 4)), ("shrill", (1, 3, 5))):
        clips = [recording("shrill", number) for number in numbers]
        session = handlers.add_clips(session, label, clips, models=models())
    return session


OVERLAPPING = overlapping()


def predicted(novelty=None, **probabilities):
    label = max(probabilities, key=probabilities.get)
    return Prediction(label, probabilities, NearestClip("x", label, 1.0), novelty=novelty)


def test_the_map_shows_every_clip_once_and_like_beside_like():
    history = handlers.recognise(THREE, History(), recording("high", 4))
    points = map_points(THREE, history)
    assert sorted(point.name for point in points if point.kind == "enrolled") == sorted(THREE.enrolment.sounds)
    (recognised,) = (point for point in points if point.kind == "recognised")
    places = {label: np.mean([(p.x, p.y) for p in points if p.label == label], axis=0) for label in THREE.labels}
    distances = {label: np.hypot(*(place - (recognised.x, recognised.y))) for label, place in places.items()}
    assert min(distances, key=distances.get) == recognised.label == "high"
    assert points[:9] == pytest.approx(map_points(THREE, History()))  # a recognised clip moves none
    corrected, history = handlers.correct(THREE, history, "awe", models=models())
    assert map_points(corrected, history)[-1].label == "awe"
    assert map_points(Session(), History()) == map_points(enrolled({"low": 2}), History()) == ()


def test_leave_one_out_is_enrolling_all_other_clips_and_folds_hold_every_clip_once(monkeypatch):
    expected = []
    for label, names in OVERLAPPING.enrolment.clips.items():
        for name in names:
            rest = handlers.remove_clip(OVERLAPPING, name).enrolment.classifier
            expected.append((label, rest.predict(OVERLAPPING.enrolment.sounds[name].clip).label))
    assert list(leave_one_out(OVERLAPPING.enrolment.classifier, OVERLAPPING.labels)) == expected
    session = enrolled({"shrill": 1}, enrolled({"low": 4, "high": 2}))
    one_by_one = leave_one_out(session.enrolment.classifier, session.labels)
    monkeypatch.setattr(diagnostics, "_SINGLY", 3)
    monkeypatch.setattr(diagnostics, "_cache", {})
    together = leave_one_out(session.enrolment.classifier, session.labels)
    assert sorted(together) == sorted(one_by_one)
    assert len(together) == 6


def test_the_confusion_matrix_and_its_hints():
    clear = confusion(THREE)
    assert (clear.labels, clear.counts.tolist()) == (THREE.labels, [[3, 0, 0], [0, 3, 0], [0, 0, 3]])
    assert [hint.code for hint in clear.hints] == [Code.LOOKS_GOOD]
    mixed = confusion(OVERLAPPING)
    assert [hint.code for hint in mixed.hints] == [Code.NEEDS_MORE, Code.OVERLAP]
    assert {mixed.hints[1].values["first"], mixed.hints[1].values["second"]} == {"low", "shrill"}
    assert mixed.counts.sum() == 9
    hints = confusion(enrolled({"low": 4, "high": 2})).hints
    values = next(dict(hint.values) for hint in hints if hint.code is Code.UNBALANCED)
    assert values == {"label": "high", "count": 2, "most": 4, "most_label": "low"}


def test_labels_of_one_clip_cannot_be_held_out():
    for few in (Session(), enrolled({"low": 1, "high": 1})):
        assert [hint.code for hint in confusion(few).hints] == [Code.TOO_FEW_TO_TELL]
    assert confusion(enrolled({"shrill": 1}, enrolled({"low": 2, "high": 2}))).labels == ("low", "high")


def test_the_confusion_rate_is_of_the_two_labels_alone():
    pairs = [("a", "b"), ("a", "a"), ("b", "c"), ("b", "b"), ("c", "a")]
    assert confusion_rate(pairs, "a", "b") == 0.25
    assert confusion_rate([], "a", "b") == 0


@pytest.mark.parametrize(
    ("session", "prediction", "expected"),
    [
        (THREE, predicted(low=0.9, high=0.1, shrill=0.0), set()),
        (THREE, predicted(low=0.5, high=0.45, shrill=0.05), {Code.CLOSE_CALL}),
        (THREE, predicted(0.6, low=0.9, high=0.1, shrill=0.0), {Code.FAR_AWAY}),
        (enrolled({"low": 3, "high": 1}), predicted(low=0.9, high=0.1), {Code.FEW_CLIPS}),
        (OVERLAPPING, predicted(low=0.9, high=0.0, shrill=0.1), {Code.OVERLAP}),
        (OVERLAPPING, predicted(low=0.0, high=0.9, shrill=0.1), set()),
    ],
    ids=["sure", "close", "unknown", "few", "overlap", "overlap-of-others"],
)
def test_a_prediction_comes_with_why_it_may_be_wrong(session, prediction, expected):
    assert {note.code for note in doubts_of(session.enrolment.classifier, prediction)} == expected


def test_leave_one_out_adapts_to_clips_under_recording_conditions_as_the_classifier_does():
    model = models().empty("emotion").model
    generator, width = torch.Generator().manual_seed(0), silence(model).x.shape[1]
    columns = {}
    for label in ("low", "high"):
        clips = tuple(torch.randn(8, width, generator=generator))
        deviations = tuple(3 * torch.randn(8, 3, width, generator=generator))
        columns[label] = Enrolled(clips, tuple(f"{label} {number}" for number in range(8)), deviations=deviations)
    expected = []
    for label, members in columns.items():
        for row, clip in enumerate(members.clips):
            rest = members.select([other for other in range(8) if other != row])
            state = FewShotClassifier(model, {**columns, label: rest})._state
            expected.append((label, list(columns)[int(state.classifier(stack([clip])).argmax())]))
    assert list(leave_one_out(FewShotClassifier(model, columns), columns)) == expected
    clean = {label: replace(members, deviations=()) for label, members in columns.items()}
    assert list(leave_one_out(FewShotClassifier(model, clean), clean)) != expected


@pytest.mark.parametrize(("learner", "most"), [("protonet", 60), ("finetune", 10)])
def test_a_learner_that_takes_gradient_steps_is_not_adapted_anew_for_every_clip(monkeypatch, learner, most):
    """All visitors wait in one queue, and files bring learners and clips of their own."""
    model = packaged().empty("emotion", learner=learner).model
    noise = torch.randn(60, silence(model).x.shape[1], generator=torch.Generator().manual_seed(0))
    classes = {
        label: Enrolled(tuple(noise[place : place + 30]), tuple(f"{label} {n}" for n in range(30)))
        for label, place in (("low", 0), ("high", 30))
    }
    classifier, adapted, adapt = FewShotClassifier(model, classes), [], type(model.learner).adapt
    monkeypatch.setattr(type(model.learner), "adapt", lambda self, *given: adapted.append(1) or adapt(self, *given))
    pairs = leave_one_out(classifier, ("low", "high"))
    assert [true for true, _ in pairs].count("low") == 30
    assert (len(pairs), len(adapted)) == (60, most)
