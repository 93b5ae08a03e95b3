"""Files that nobody should trust: the page refuses them, says so, and stays as it was."""

import json
import pickle
import zipfile

import numpy as np
import pytest
import safetensors.numpy
import safetensors.torch
import torch
from visitors import codes, enrolled, models, packaged

from app import contents, handlers, limits
from app import enrolled as enrolled_module
from app.models import Models
from app.session import Code, Session
from ser_fewshot.classifier import FewShotClassifier
from ser_fewshot.learners.ridge import Ridge

TWO = enrolled({"low": 2, "high": 2})


class Bomb:
    """A pickle that leaves a trace when it is opened."""

    def __reduce__(self):
        return eval, ("open('exploded', 'w')",)


@pytest.fixture
def good(tmp_path):
    """An enrolment as the page saves it: its path, tensors and metadata."""
    _, path = handlers.save(TWO, tmp_path / "good")
    with safetensors.safe_open(path, "pt") as file:
        return path, {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118


def refused(path, code=Code.BAD_FILE):
    after = handlers.load(TWO, path, models=models())
    assert after.enrolment is TWO.enrolment
    assert [(note.code, note.level) for note in after.notes] == [(code, "error")]
    return after.notes[0].values.get("detail", "")


def test_a_pickle_is_refused_without_being_opened(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.safetensors").write_bytes(pickle.dumps(Bomb()))
    torch.save(Bomb(), tmp_path / "b.safetensors")
    refused(tmp_path / "a.safetensors")
    refused(tmp_path / "b.safetensors")
    assert not (tmp_path / "exploded").exists()


def test_a_zip_bomb_is_refused_unopened(tmp_path):
    with zipfile.ZipFile(tmp_path / "bomb.safetensors", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("zeros", bytes(50_000_000))
    refused(tmp_path / "bomb.safetensors")


def test_a_file_beyond_the_limit_is_not_read(good, monkeypatch):
    monkeypatch.setattr(limits, "ENROLLMENT_BYTES", 1_000)
    monkeypatch.setattr(contents, "read_header", lambda *_: pytest.fail("it was read"))
    refused(good[0])


def test_a_file_with_a_header_beyond_the_limit_is_not_read(good, tmp_path, monkeypatch):
    _, tensors, metadata = good
    padded = {**metadata, "padding": "x" * limits.HEADER_BYTES}
    safetensors.torch.save_file(tensors, tmp_path / "padded", padded)
    monkeypatch.setattr(contents, "read_header", lambda *_: pytest.fail("it was read"))
    assert "header" in refused(tmp_path / "padded")


@pytest.mark.parametrize("size", [0, 3, 8, 100])
def test_a_truncated_file_is_refused(good, tmp_path, size):
    (tmp_path / "cut").write_bytes(good[0].read_bytes()[:size])
    refused(tmp_path / "cut")


def test_a_header_that_promises_more_than_there_is_is_refused(tmp_path):
    header = json.dumps({"clip/0/0": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}}).encode()
    (tmp_path / "huge").write_bytes(len(header).to_bytes(8, "little") + header)
    refused(tmp_path / "huge")


@pytest.mark.parametrize(
    "clip",
    [
        torch.zeros(1),
        torch.zeros(2, 2, 2),
        torch.full((5,), torch.nan),
        torch.zeros(0),
        torch.zeros(3, dtype=torch.int64),
    ],
    ids=["narrow", "deep", "nan", "empty", "integers"],
)
def test_absurd_shapes_and_values_are_refused(good, tmp_path, clip):
    _, tensors, metadata = good
    safetensors.torch.save_file({**tensors, "clip/0/0": clip}, tmp_path / "odd", metadata)
    refused(tmp_path / "odd")


@pytest.mark.parametrize("label", ["../../etc/passwd", "<script>alert(1)</script>"])
def test_a_label_is_text_whatever_it_spells(good, tmp_path, label):
    _, tensors, metadata = good
    classes = json.loads(metadata["classes"])
    classes[0] |= {"label": label, "clips": ["../../x.wav", "<img src=x>"]}
    safetensors.torch.save_file(tensors, tmp_path / "named", {**metadata, "classes": json.dumps(classes)})
    after = handlers.load(TWO, tmp_path / "named", models=models())
    assert after.labels == (label, "high")
    assert {path.name for path in tmp_path.iterdir()} == {"good", "named"}


def test_clips_of_one_name_are_told_apart_after_loading(good, tmp_path):
    _, tensors, metadata = good
    classes = [{**entry, "clips": ["a.wav", "a.wav"]} for entry in json.loads(metadata["classes"])]
    safetensors.torch.save_file(tensors, tmp_path / "alike", {**metadata, "classes": json.dumps(classes)})
    after = handlers.load(TWO, tmp_path / "alike", models=models())
    assert after.enrolment.clips == {"low": ("a.wav", "a.wav (2)"), "high": ("a.wav (3)", "a.wav (4)")}


@pytest.mark.parametrize(
    "change",
    [
        {"frontend_settings": {"hop": 1}},
        {"frontend_settings": {"n_fft": 8192}},
        {"frontend": "pretrained"},
        {"learner": "mtl"},
        {"learner": "relation"},
        {"learner": ["ridge"]},
        {"settings": {}},
    ],
    ids=str,
)
def test_a_model_that_is_not_the_pages_own_is_refused_unbuilt(good, tmp_path, monkeypatch, change):
    _, tensors, metadata = good
    config = json.loads(metadata["config"])
    monkeypatch.setattr(enrolled_module, "load_enrollment", lambda *_: pytest.fail("it was built"))
    for name, value in change.items():
        config[name] = {**config[name], **value} if isinstance(value, dict) and value else value
    safetensors.torch.save_file(tensors, tmp_path / "other", {**metadata, "config": json.dumps(config)})
    refused(tmp_path / "other")


def test_other_weights_are_refused(good, tmp_path):
    _, tensors, metadata = good
    name = next(name for name, tensor in tensors.items() if name.startswith("learner/") and tensor.is_floating_point())
    changed = {**tensors, name: tensors[name] + 1}
    safetensors.torch.save_file(changed, tmp_path / "other", metadata)
    assert "not made with the model of this page" in refused(tmp_path / "other")


def test_a_file_of_the_package_s_model_with_another_learner_opens(tmp_path):
    other = FewShotClassifier.from_pretrained(learner="protonet", classes="speaker")
    sounds = {
        label: [TWO.enrolment.sounds[name].clip for name in names] for label, names in TWO.enrolment.clips.items()
    }
    other.enroll(sounds)
    other.save(tmp_path / "mine")
    after = handlers.load(Session(), tmp_path / "mine", models=packaged())
    assert (after.labels, after.enrolment.mode) == (("low", "high"), "speaker")
    assert after.enrolment.classifier.model.config.learner == "protonet"


@pytest.mark.parametrize("config", ["", "[]", "{", "[" * 100_000, "3", '{"learner": "ridge"}'])
def test_a_config_that_describes_no_model_is_refused(good, tmp_path, config):
    _, tensors, metadata = good
    safetensors.torch.save_file(tensors, tmp_path / "vague", {**metadata, "config": config})
    refused(tmp_path / "vague")


@pytest.mark.parametrize(("limit", "code"), [("LABELS", Code.TOO_MANY_LABELS), ("CLIPS", Code.TOO_MANY_CLIPS)])
def test_an_enrolment_beyond_the_limits_of_a_session_is_refused(good, monkeypatch, limit, code):
    monkeypatch.setattr(limits, limit, 1)
    monkeypatch.setattr(enrolled_module, "load_enrollment", lambda *_: pytest.fail("it was built"))
    refused(good[0], code)


@pytest.mark.parametrize("label", ["x" * 41, "joy\u202egrief", "joy\u200b", " joy", "a\u0000b", 3, None])
def test_a_label_that_could_not_be_forgotten_again_is_refused_unbuilt(good, tmp_path, monkeypatch, label):
    _, tensors, metadata = good
    classes = json.loads(metadata["classes"])
    classes[1]["label"] = label
    safetensors.torch.save_file(tensors, tmp_path / "named", {**metadata, "classes": json.dumps(classes)})
    monkeypatch.setattr(enrolled_module, "load_enrollment", lambda *_: pytest.fail("it was built"))
    refused(tmp_path / "named", Code.BAD_LABEL_IN_FILE)


@pytest.mark.parametrize(
    "classes", ["", "3", "[3]", '[{"label": "low"}]', '[{"label": "low", "clips": 5}]', "[" * 9999]
)
def test_classes_that_are_not_described_are_refused_unbuilt(good, tmp_path, monkeypatch, classes):
    _, tensors, metadata = good
    safetensors.torch.save_file(tensors, tmp_path / "vague", {**metadata, "classes": classes})
    monkeypatch.setattr(enrolled_module, "load_enrollment", lambda *_: pytest.fail("it was built"))
    refused(tmp_path / "vague")


def test_a_clip_of_minutes_is_refused_unbuilt(good, tmp_path, monkeypatch):
    _, tensors, metadata = good
    frames = torch.zeros(round(100 * limits.CLIP_SECONDS) + 2, 1)
    safetensors.torch.save_file({**tensors, "clip/0/0": frames}, tmp_path / "long", metadata)
    monkeypatch.setattr(enrolled_module, "load_enrollment", lambda *_: pytest.fail("it was built"))
    refused(tmp_path / "long", Code.CLIP_TOO_LONG_IN_FILE)


def test_a_file_is_adapted_once_and_on_the_model_of_the_page(good, monkeypatch):
    adapted = []
    adapt = Ridge.adapt
    monkeypatch.setattr(Ridge, "adapt", lambda self, *given: adapted.append(self) or adapt(self, *given))
    handlers.load(TWO, good[0], models=models())
    assert adapted == [models().empty("emotion").model.learner]


@pytest.mark.parametrize("path", ["/dev/zero", "/no/such/file", "/"])
def test_what_is_no_file_is_refused(path):
    refused(path)


def test_nothing_chosen_is_said():
    assert codes(handlers.load(TWO, None, models=models())) == [Code.NO_FILE]


def test_an_error_does_not_tell_where_the_server_keeps_its_files(tmp_path):
    (tmp_path / "mine.safetensors").write_bytes(b"nothing")
    detail = refused(tmp_path / "mine.safetensors")
    assert str(tmp_path) not in detail
    assert "mine.safetensors" in detail


def test_a_folder_without_a_model_is_an_error_for_who_starts_the_page(tmp_path):
    from ser_fewshot.errors import CheckpointError

    with pytest.raises(CheckpointError):
        Models(tmp_path).warm_up()


def test_an_array_file_is_refused(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros(3))
    safetensors.numpy.save_file({"x": np.zeros(3)}, tmp_path / "b")
    refused(tmp_path / "a.npy")
    refused(tmp_path / "b")
