"""Enrolment files that nobody should trust: refused with the reason, and the session stays as it was."""

import json
import pickle
import zipfile

import numpy as np
import pytest
import safetensors.numpy
import safetensors.torch
import torch
from visitors import codes, enrolled, models, packaged

from app import enrolment_file, handlers, launch, limits
from app.models import Models
from app.notes import Code
from app.session import Session
from ser_fewshot.classifier import FewShotClassifier
from ser_fewshot.errors import CheckpointError
from ser_fewshot.learners.ridge import Ridge

TWO = enrolled({"low": 2, "high": 2})


class Bomb:
    """A pickle that leaves a trace when it is opened."""

    def __reduce__(self):
        return eval, ("open('exploded', 'w')",)


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """An enrolment as the page saves it: its path, tensors and metadata."""
    _, path = handlers.save(TWO, tmp_path_factory.mktemp("good"))
    with safetensors.safe_open(path, "pt") as file:
        return path, {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118


@pytest.fixture
def write(good, tmp_path):
    """Write the good file with other tensors and metadata; `classes` and `config` may be values of JSON."""

    def written(tensors=None, **metadata):
        texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in metadata.items()}
        path = tmp_path / "changed.safetensors"
        safetensors.torch.save_file({**good[1], **(tensors or {})}, path, {**good[2], **texts})
        return path

    return written


@pytest.fixture
def unbuilt(monkeypatch):
    """Fail if more than the header of a file is read."""
    monkeypatch.setattr(enrolment_file, "load_enrollment", lambda *_: pytest.fail("it was built"))


def refused(path, code=Code.BAD_FILE):
    after = handlers.load(TWO, path, models=models())
    assert after.enrolment is TWO.enrolment
    assert [(note.code, note.level) for note in after.notes] == [(code, "error")]
    return after.notes[0].values.get("detail", "")


def test_what_is_no_enrolment_is_refused_without_being_unpickled_or_unpacked(good, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pickle.safetensors").write_bytes(pickle.dumps(Bomb()))
    torch.save(Bomb(), tmp_path / "torch.safetensors")
    with zipfile.ZipFile(tmp_path / "zip.safetensors", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("zeros", bytes(50_000_000))
    np.save(tmp_path / "array.npy", np.zeros(3))
    safetensors.numpy.save_file({"x": np.zeros(3)}, tmp_path / "tensors.safetensors")
    for size in (0, 3, 8, 100):
        (tmp_path / f"cut at {size}").write_bytes(good[0].read_bytes()[:size])
    header = json.dumps({"clip/0/0": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}}).encode()
    (tmp_path / "huge").write_bytes(len(header).to_bytes(8, "little") + header)
    paths = sorted(tmp_path.iterdir())
    for path in (*paths, "/dev/zero", "/no/such/file", "/"):
        detail = refused(path)
        assert str(tmp_path) not in detail  # nobody's business
    assert sorted(tmp_path.iterdir()) == paths
    assert codes(handlers.load(TWO, None, models=models())) == [Code.NO_FILE]


def test_a_file_or_a_header_beyond_the_limit_is_not_read(good, write, monkeypatch):
    padded = write(padding="x" * limits.HEADER_BYTES)
    monkeypatch.setattr(enrolment_file, "read_header", lambda *_: pytest.fail("it was read"))
    assert "header" in refused(padded)
    monkeypatch.setattr(limits, "ENROLLMENT_BYTES", 1_000)
    refused(good[0])


def test_absurd_shapes_and_values_are_refused(good, write):
    names = [name for name in good[1] if name.startswith("clip/")]
    for clip in (torch.zeros(1), torch.zeros(2, 2, 2), torch.zeros(0), torch.zeros(3, dtype=torch.int64)):
        refused(write({"clip/0/0": clip}))
    for scale in (torch.nan, 1e19):
        refused(write({name: good[1][name] * scale for name in names}))


def test_labels_and_names_are_text_and_names_are_unique_after_loading(good, write, tmp_path):
    classes = json.loads(good[2]["classes"])
    for label in ("../../etc/passwd", "<script>alert(1)</script>"):
        changed = [{**classes[0], "label": label}, *classes[1:]]
        after = handlers.load(
            TWO, write(classes=[{**one, "clips": ["../a.wav"] * 2} for one in changed]), models=models()
        )
        assert after.labels == (label, "high")
    assert after.enrolment.clips["high"] == ("../a.wav (3)", "../a.wav (4)")
    assert [path.name for path in tmp_path.iterdir()] == ["changed.safetensors"]


@pytest.mark.usefixtures("unbuilt")
def test_a_model_that_is_not_the_pages_own_is_refused_unbuilt(good, write):
    own = json.loads(good[2]["config"])
    settings = own["frontend_settings"]
    for change in (
        {"frontend_settings": {**settings, "hop": 1}},
        {"frontend": "pretrained"},
        {"learner": "mtl"},
        {"learner": "relation"},
        {"learner": ["ridge"]},
        {"settings": {}},
    ):
        refused(write(config={**own, **change}))
    for config in ("", "[]", "{", "[" * 100_000, "3", '{"learner": "ridge"}'):
        refused(write(config=config))


@pytest.mark.usefixtures("unbuilt")
def test_classes_beyond_the_limits_of_a_visitor_are_refused_unbuilt(good, write, monkeypatch):
    classes = json.loads(good[2]["classes"])
    for label in ("x" * 41, "joy\u202egrief", "joy\u200b", " joy", "a\u0000b", 3, None):
        refused(write(classes=[classes[0], {**classes[1], "label": label}]), Code.BAD_LABEL_IN_FILE)
    for vague in ("", "3", "[3]", '[{"label": "low"}]', '[{"label": "low", "clips": 5}]', "[" * 9999):
        refused(write(classes=vague))
    frames = torch.zeros(round(limits.FRAMES_A_SECOND * limits.CLIP_SECONDS) + 2, 1)
    refused(write({"clip/0/0": frames}), Code.CLIP_TOO_LONG_IN_FILE)
    for limit, code in (("CLIPS", Code.TOO_MANY_CLIPS), ("LABELS", Code.TOO_MANY_LABELS)):
        monkeypatch.setattr(limits, limit, 1)
        refused(good[0], code)


def test_other_weights_are_refused_and_another_learner_is_not(good, write, tmp_path):
    name = next(name for name, x in good[1].items() if name.startswith("learner/") and x.is_floating_point())
    assert "not made with the model of this page" in refused(write({name: good[1][name] + 1}))
    other = FewShotClassifier.from_pretrained(learner="protonet", classes="speaker")
    clips, sounds = TWO.enrolment.clips, TWO.enrolment.sounds
    other.enroll({label: [sounds[name].clip for name in names] for label, names in clips.items()})
    other.save(tmp_path / "mine")
    after = handlers.load(Session(), tmp_path / "mine", models=packaged())
    assert (after.labels, after.enrolment.mode) == (("low", "high"), "speaker")
    assert after.enrolment.classifier.model.config.learner == "protonet"


def test_a_file_is_adapted_once_and_on_the_model_of_the_page(good, monkeypatch):
    adapted = []
    adapt = Ridge.adapt
    monkeypatch.setattr(Ridge, "adapt", lambda self, *given: adapted.append(self) or adapt(self, *given))
    handlers.load(TWO, good[0], models=models())
    assert adapted == [models().empty("emotion").model.learner]


def test_a_folder_without_a_model_is_an_error_for_who_starts_the_page(tmp_path):
    with pytest.raises(CheckpointError):
        launch.warm_up(Models(tmp_path))
