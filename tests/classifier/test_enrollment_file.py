"""Enrolment files: what was saved comes back, whatever was changed in it is refused by one line."""

from __future__ import annotations

import json
import math
import os
import pickle
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from synthetic import CALIBRATION, small_model
from torch import Tensor

from ser_fewshot.classifier import FewShotClassifier, enrollment, enrollment_file
from ser_fewshot.classifier.enrollment import Enrolled, Enrollment
from ser_fewshot.classifier.enrollment_file import load_enrollment, save_enrollment
from ser_fewshot.errors import CheckpointError, EnrollmentError
from ser_fewshot.evaluation.novelty import Conditions
from ser_fewshot.models import FORMAT, Model, save_model, silence
from ser_fewshot.storage.tensors import read_tensors

Change = Callable[[dict[str, Tensor], dict[str, Any], list[Any]], Any]


def enrolled(model: Model, *sizes: int) -> dict[str, Enrolled]:
    """As many classes as sizes, with that many made-up clips each."""
    like, generator = silence(model).x[0], torch.Generator().manual_seed(0)
    return {
        f"class {number}": Enrolled(
            tuple(torch.randn(like.shape, generator=generator) for _ in range(size)),
            tuple(f"clip {number}.{position}.wav" for position in range(size)),
            deviations=tuple(torch.randn(3, *like.shape, generator=generator) for _ in range(size * (like.ndim == 1))),
        )
        for number, size in enumerate(sizes)
    }


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path, model = tmp_path / "mine.enrollment", small_model()
    save_enrollment(path, model, enrolled(model, 2, 3))
    return path


def assert_refused(path: Path, *, match: str | None = None) -> None:
    with pytest.raises(CheckpointError, match=match) as caught:
        load_enrollment(path)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 1500


def rewrite(path: Path, change: Change, **more: str) -> None:
    tensors, metadata = read_tensors(path)
    config, classes = json.loads(metadata["config"]), json.loads(metadata["classes"])
    change(tensors, config, classes)
    written = {"config": json.dumps(config), "classes": json.dumps(classes), **more}
    path.write_bytes(safetensors.torch.save(tensors, written))


@pytest.mark.parametrize("learner", ["ridge", "maml"])  # one embeds clips, the other keeps their frames
def test_an_enrolment_comes_back_bit_for_bit(learner, tmp_path):
    model = small_model(learner)
    for sizes in ((), (1,), (2, 3), (1,) * 30):
        before = enrolled(model, *sizes)
        save_enrollment(tmp_path / "folder" / "file", model, before)
        loaded, after, _ = load_enrollment(tmp_path / "folder" / "file")
        assert loaded.config == model.config
        assert list(after) == list(before)
        for label, members in before.items():
            assert after[label].names == members.names
            for before_, after_ in ((members.clips, after[label].clips), (members.deviations, after[label].deviations)):
                assert all(torch.equal(a, b) for a, b in zip(before_, after_, strict=True))
        weights = loaded.learner.state_dict()
        assert all(torch.equal(weights[name], tensor) for name, tensor in model.learner.state_dict().items())
    labels = ["mépris", "гнев", "愤怒", "🙂", "[bold]awe[/bold]", "<b>awe</b>", "../../etc", "a/b", "0", "x" * 255]
    classes = dict(zip(labels, enrolled(model, *[1] * len(labels)).values(), strict=True))
    save_enrollment(tmp_path / "file", model, classes)
    assert list(load_enrollment(tmp_path / "file")[1]) == labels


def test_a_calibration_travels_with_the_enrolment(tmp_path):
    model = small_model(calibration=CALIBRATION)
    save_enrollment(tmp_path / "file", model, enrolled(model, 2, 3, 3))
    loaded, classes, _ = load_enrollment(tmp_path / "file")
    assert loaded.config.calibration == CALIBRATION
    assert Enrollment.of(loaded, classes).temperature == CALIBRATION.temperature_at(Conditions(n_way=3, k_shot=8 / 3))
    assert Enrollment.of(loaded, {}).temperature == 1


def without(name: str) -> Change:
    return lambda tensors, *_: tensors.pop(name)


def with_tensor(name: str, make: Callable[[Tensor], Tensor]) -> Change:
    return lambda tensors, *_: tensors.update({name: make(tensors.get(name, torch.zeros(2))).contiguous()})


def with_classes(change: Callable[[list[Any]], Any]) -> Change:
    return lambda _tensors, _config, classes: change(classes)


def filled(value: float) -> Callable[[Tensor], Tensor]:
    def fill(clip: Tensor) -> Tensor:
        clip[1] = value
        return clip

    return fill


CHANGES: dict[str, dict[str, Change]] = {
    "tensors": {
        "a clip is missing": without("clip/0/0"),
        "a weight is missing": without("learner/encoder.gate"),
        "a clip in no class": with_tensor("clip/0/7", lambda _: torch.zeros(2)),
        "a tensor that is neither clip nor weight": with_tensor("extra", lambda _: torch.zeros(2)),
        "a weight too many": with_tensor("learner/extra", lambda _: torch.zeros(2)),
        "a clip of another width": with_tensor("clip/0/0", lambda clip: clip[:-1]),
        "a clip of another shape": with_tensor("clip/0/0", lambda clip: clip[None]),
        "an empty clip": with_tensor("clip/0/0", lambda clip: clip[:0]),
        "a clip that is a number": with_tensor("clip/0/0", lambda clip: clip[0]),
        "a clip of another type": with_tensor("clip/0/0", lambda clip: clip.double()),
        "a complex clip": with_tensor("clip/0/0", lambda clip: clip.to(torch.complex64)),
        "deviations of no clip": with_tensor("deviations/0/7", lambda _: torch.zeros(3, 2)),
        "deviations of another width": with_tensor("deviations/0/0", lambda one: one[:, 1:]),
        "deviations of a thousand conditions": with_tensor("deviations/0/0", lambda one: one[:1].expand(1000, -1)),
        "deviations of one condition": with_tensor("deviations/0/0", lambda one: one[0]),
        "deviations with NaN": with_tensor("deviations/0/0", filled(math.nan)),
        "a clip with NaN": with_tensor("clip/1/2", filled(math.nan)),
        "an infinite clip": with_tensor("clip/1/2", filled(math.inf)),
        "a weight with NaN": with_tensor("learner/encoder.weight", filled(math.nan)),
    },
    "config": {
        "a newer format": lambda _t, config, _c: config.update(format=FORMAT + 1),
        "an unknown learner": lambda _t, config, _c: config.update(learner="nearest2"),
        "text for a number": lambda _t, config, _c: config["settings"].update(penalty="x"),
        "absurd sizes": lambda _t, config, _c: config["settings"]["encoder"].update(channels=10**9),
        "large sizes": lambda _t, config, _c: config["settings"]["encoder"].update(channels=4096),
        "an empty config": lambda _t, config, _c: config.clear(),
    },
    "classes": {
        "no classes for the clips": with_classes(lambda c: c.clear()),
        "a class too few": with_classes(lambda c: c.pop()),
        "a class without clips": with_classes(lambda c: c.append({"label": "new", "clips": []})),
        "a class of no clip": with_classes(lambda c: c.append({"label": "new", "clips": ["x"]})),
        "a label twice": with_classes(lambda c: c[0].update(label=c[1]["label"])),
        "a label twice, spaced": with_classes(lambda c: c[0].update(label=f" {c[1]['label']}\n")),
        "a label of spaces": with_classes(lambda c: c[0].update(label="  ")),
        "a number for a label": with_classes(lambda c: c[0].update(label=3)),
        "null for a label": with_classes(lambda c: c[0].update(label=None)),
        "a label that clears the screen": with_classes(lambda c: c[0].update(label="\x1b[2Jawe")),
        "a label of two lines": with_classes(lambda c: c[0].update(label="a\nb")),
        "half a character for a label": with_classes(lambda c: c[0].update(label="\ud800")),
        "a label of a million letters": with_classes(lambda c: c[0].update(label="x" * 10**6)),
        "no label": with_classes(lambda c: c[0].pop("label")),
        "no names": with_classes(lambda c: c[0].pop("clips")),
        "text for names": with_classes(lambda c: c[0].update(clips="ab")),
        "a number for names": with_classes(lambda c: c[0].update(clips=2)),
        "numbers for names": with_classes(lambda c: c[0].update(clips=[1, 2])),
        "an object for names": with_classes(lambda c: c[0].update(clips={"0": "a", "1": "b"})),
        "a million names": with_classes(lambda c: c[0].update(clips=["x"] * 10**6)),
        "many": with_classes(lambda c: c.extend({"label": f"{n}", "clips": ["x"]} for n in range(10**4))),
        "a class that is text": with_classes(lambda c: c.__setitem__(0, "anger")),
        "a class that is null": with_classes(lambda c: c.__setitem__(0, None)),
    },
}


@pytest.mark.parametrize("part", CHANGES)
def test_an_enrolment_that_was_changed_is_refused(part, saved, subtests):
    content = saved.read_bytes()
    for name, change in CHANGES[part].items():
        with subtests.test(name):
            saved.write_bytes(content)
            rewrite(saved, change)
            assert_refused(saved, match="the label 'class 1' twice" if name == "a label twice" else None)


@pytest.mark.parametrize("part", ["config", "classes"])
def test_an_enrolment_that_describes_itself_badly_is_refused(part, saved, subtests):
    tensors, metadata = read_tensors(saved)
    path = saved.with_name("changed")
    for text in (None, "", "{", "null", "3", '"text"', "[" * 100_000, "[[1]]", "9" * 5000):
        with subtests.test(f"{text!s:.9}"):
            changed = {name: old for name, old in metadata.items() if name != part} | ({part: text} if text else {})
            path.write_bytes(safetensors.torch.save(tensors, changed))
            assert_refused(path)
    path.write_bytes(safetensors.torch.save(tensors))
    assert_refused(path)


def test_a_file_that_is_no_whole_safetensors_is_refused(saved, subtests):
    content = saved.read_bytes()
    cut = {f"{share} of it": content[: int(share * len(content))] for share in (0.0, 0.01, 0.3, 0.999)}
    for name, other in {
        **cut,
        "pickle": pickle.dumps({"a": 1}),
        "zip": b"PK\x03\x04",
        "wav": b"RIFF" + bytes(99),
    }.items():
        with subtests.test(name):
            saved.write_bytes(other)
            assert_refused(saved, match="safetensors")


def test_paths_that_are_no_enrolment_are_refused(tmp_path):
    save_model(small_model(), tmp_path / "model", card="")
    assert_refused(tmp_path, match="found a folder")
    assert_refused(tmp_path / "none", match="no such file")
    assert_refused(tmp_path / "model" / "model.safetensors", match="nothing enrolled")
    assert_refused(tmp_path / "model" / "config.json")


def test_the_file_does_not_grow_by_audio(saved):
    model = small_model()
    numbers = sum(tensor.numel() for tensor in model.learner.state_dict().values()) + 20 * silence(model).x[0].numel()
    assert saved.stat().st_size < 4 * numbers + 10_000


def test_an_enrolment_too_large_to_adapt_to_is_refused(saved, monkeypatch):
    monkeypatch.setattr(enrollment_file, "MOST_CLIPS", 4)
    assert_refused(saved, match="4 are the most")
    monkeypatch.setattr(enrollment, "MOST_CLIPS", 19)
    model = small_model()
    with pytest.raises(
        EnrollmentError, match="5 clips, and 15 times one under a recording condition; expected at most 19"
    ):
        Enrollment.of(model, enrolled(model, 2, 3))


@pytest.mark.parametrize("chosen", [True, False])
def test_whether_clips_are_enrolled_clean_only_is_in_the_file_and_in_old_ones_as_their_clips_are(chosen, saved):
    model = small_model()
    clean = {label: replace(one, deviations=()) for label, one in enrolled(model, 2, 3).items()}
    for classes in (clean, enrolled(model, 2, 3)):
        save_enrollment(saved, model, classes, clean_only=chosen)
        assert load_enrollment(saved)[2] == FewShotClassifier.load(saved).clean_only == chosen
        rewrite(saved, lambda *_: None)  # without the setting, as in a file of version 0.1.0
        assert load_enrollment(saved)[2] == (classes is clean)


def test_a_setting_that_is_neither_true_nor_false_is_refused(saved):
    for text in ("1", "null", "no"):
        rewrite(saved, lambda *_: None, clean_only=text)
        assert_refused(saved)


def test_control_characters_in_names_of_clips_do_not_reach_a_terminal(saved):
    rewrite(saved, with_classes(lambda c: c[0].update(clips=["\x1b[2J", "a\nb"])))
    _, after, _ = load_enrollment(saved)
    assert after["class 0"].names == ("\N{REPLACEMENT CHARACTER}[2J", "a\N{REPLACEMENT CHARACTER}b")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes in its file system")
def test_a_pipe_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    assert_refused(tmp_path / "pipe")


def test_the_config_in_the_file_is_that_of_a_model(saved):
    _, metadata = read_tensors(saved)
    assert json.loads(metadata["config"]) == {
        "format": FORMAT,
        "model_type": "ser_fewshot",
        **asdict(small_model().config),
    }
