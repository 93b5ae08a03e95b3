"""What programs get from the endpoints: plain JSON values, or one sentence of what is wrong."""

import json

import numpy as np
import pytest
from visitors import enrolled, models, recording

from app import api
from app.session import Session
from ser_fewshot.classifier import FewShotClassifier

TWO = enrolled({"low": 2, "high": 2})


def say(note):
    return f"{note.code} {dict(note.values)}"


def test_enroll_answers_with_what_is_enrolled():
    session, answer = api.enroll(Session(), "low", [recording("low"), None], models=models(), say=say)
    assert answer["classes"] == {"low": ["recording"]} == {k: list(v) for k, v in session.enrolment.clips.items()}
    assert any("no_clip" in sentence for sentence in answer["notes"])
    assert json.loads(json.dumps(answer)) == answer


def test_predict_answers_with_all_that_a_prediction_holds():
    answer = api.predict(TWO, recording("low", 1), say=say)
    assert answer["label"] == "low"
    assert sum(answer["probabilities"].values()) == pytest.approx(1, rel=1e-4)
    assert set(answer["nearest"]) == {"name", "label", "distance"}
    assert {"unknown", "novelty", "warnings", "doubts", "seconds"} < set(answer)
    assert "no_speech" in answer["warnings"][0]
    assert json.loads(json.dumps(answer)) == answer


def test_forget_takes_a_label_or_everything():
    session, answer = api.forget(TWO, "low", say=say)
    assert list(answer["classes"]) == ["high"]
    session, answer = api.forget(session, "", say=say)
    assert answer["classes"] == {}
    assert session.past == ()


def test_save_gives_a_file_that_python_opens(tmp_path):
    path = api.save(TWO, tmp_path, say=say)
    assert FewShotClassifier.load(path).enrolled == TWO.enrolment.clips


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda _: api.enroll(TWO, "", [recording("low")], models=models(), say=say), "bad_label"),
        (lambda _: api.enroll(TWO, "low", [None], models=models(), say=say), "no_clip"),
        (lambda _: api.predict(Session(), recording("low"), say=say), "too_few_labels"),
        (lambda _: api.predict(TWO, (16_000, np.zeros(16_000)), say=say), "silent"),
        (lambda _: api.forget(TWO, "joy", say=say), "unknown_label"),
        (lambda folder: api.save(Session(), folder, say=say), "nothing_to_save"),
    ],
)
def test_what_cannot_be_done_is_an_error_with_the_reason(tmp_path, call, sentence):
    with pytest.raises(api.ApiError, match=sentence):
        call(tmp_path)


def test_nothing_but_an_empty_label_forgets_everything():
    with pytest.raises(api.ApiError, match="unknown_label"):
        api.forget(TWO, None, say=say)
    assert api.forget(TWO, "", say=say)[1]["classes"] == {}
