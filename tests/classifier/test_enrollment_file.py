"""Enrolments as files: what was saved comes back, whatever was changed in it is refused by one line; and labels."""

from __future__ import annotations

import json
import math
import os
import pickle
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from conftest import tone
from synthetic import CALIBRATION, small_model
from torch import Tensor

from ser_fewshot.audio import Clip
from ser_fewshot.classifier import enrollment, enrollment_file
from ser_fewshot.classifier.enrollment import Enrolled, Enrollment
from ser_fewshot.classifier.enrollment_file import embedding_of_silence, load_enrollment, save_enrollment
from ser_fewshot.classifier.inputs import checked_label, checked_sources, one_line
from ser_fewshot.errors import CheckpointError, EnrollmentError
from ser_fewshot.learners import names
from ser_fewshot.models import FORMAT, Model, save_model
from ser_fewshot.storage.tensors import read_tensors

Change = Callable[[dict[str, Tensor], dict[str, Any], list[Any]], Any]


def enrolled(model: Model, *sizes: int) -> dict[str, Enrolled]:
    """As many classes as sizes, with that many made-up clips each."""
    like, generator = embedding_of_silence(model), torch.Generator().manual_seed(0)
    return {
        f"class {number}": Enrolled(
            tuple(torch.randn(like.shape, generator=generator) for _ in range(size)),
            tuple(f"clip {number}.{position}.wav" for position in range(size)),
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


def rewrite(path: Path, change: Change) -> None:
    tensors, metadata = read_tensors(path)
    config, classes = json.loads(metadata["config"]), json.loads(metadata["classes"])
    change(tensors, config, classes)
    written = {"config": json.dumps(config), "classes": json.dumps(classes)}
    path.write_bytes(safetensors.torch.save(tensors, written))


@pytest.mark.parametrize("learner", names())
@pytest.mark.parametrize("sizes", [(), (1,), (2, 3), (1,) * 30], ids=str)
def test_an_enrolment_comes_back_bit_for_bit(learner, sizes, tmp_path):
    model = small_model(learner)
    before = enrolled(model, *sizes)
    save_enrollment(tmp_path / "folder" / "file", model, before)
    loaded, after = load_enrollment(tmp_path / "folder" / "file")
    assert loaded.config == model.config
    assert list(after) == list(before)
    for label, members in before.items():
        assert after[label].names == members.names
        assert all(torch.equal(a, b) for a, b in zip(after[label].clips, members.clips, strict=True))
    weights = loaded.learner.state_dict()
    assert all(torch.equal(weights[name], tensor) for name, tensor in model.learner.state_dict().items())


@pytest.mark.parametrize(
    "label", ["mépris", "гнев", "愤怒", "🙂", "[bold]awe[/bold]", "<b>awe</b>", "../../etc", "a/b", "0", "x" * 255]
)
def test_labels_of_every_script_come_back(label, tmp_path):
    model = small_model()
    classes = dict(zip([label, "neutral"], enrolled(model, 1, 1).values(), strict=True))
    save_enrollment(tmp_path / "file", model, classes)
    assert list(load_enrollment(tmp_path / "file")[1]) == [label, "neutral"]


def test_a_calibration_travels_with_the_enrolment(tmp_path):
    model = small_model(calibration=CALIBRATION)
    save_enrollment(tmp_path / "file", model, enrolled(model, 2, 3, 3))
    loaded, classes = load_enrollment(tmp_path / "file")
    assert loaded.config.calibration == CALIBRATION
    assert Enrollment.of(loaded, classes).temperature == CALIBRATION.temperature_at(3, 8 / 3)
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


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(without("clip/0/0"), id="a clip is missing"),
        pytest.param(without("learner/encoder.gate"), id="a weight is missing"),
        pytest.param(with_tensor("clip/0/7", lambda _: torch.zeros(2)), id="a clip in no class"),
        pytest.param(with_tensor("extra", lambda _: torch.zeros(2)), id="a tensor that is neither clip nor weight"),
        pytest.param(with_tensor("learner/extra", lambda _: torch.zeros(2)), id="a weight too many"),
        pytest.param(with_tensor("clip/0/0", lambda clip: clip[:-1]), id="a clip of another width"),
        pytest.param(with_tensor("clip/0/0", lambda clip: clip[None]), id="a clip of another shape"),
        pytest.param(with_tensor("clip/0/0", lambda clip: clip[:0]), id="an empty clip"),
        pytest.param(with_tensor("clip/0/0", lambda clip: clip[0]), id="a clip that is a number"),
        pytest.param(with_tensor("clip/0/0", lambda clip: clip.double()), id="a clip of another type"),
        pytest.param(with_tensor("clip/0/0", lambda clip: clip.to(torch.complex64)), id="a complex clip"),
        pytest.param(with_tensor("clip/1/2", filled(math.nan)), id="a clip with NaN"),
        pytest.param(with_tensor("clip/1/2", filled(math.inf)), id="an infinite clip"),
        pytest.param(with_tensor("learner/encoder.weight", filled(math.nan)), id="a weight with NaN"),
        pytest.param(lambda _t, config, _c: config.update(format=2), id="a newer format"),
        pytest.param(lambda _t, config, _c: config.update(learner="nearest2"), id="an unknown learner"),
        pytest.param(lambda _t, config, _c: config["settings"].update(penalty="x"), id="text for a number"),
        pytest.param(lambda _t, config, _c: config["settings"]["encoder"].update(channels=10**9), id="absurd sizes"),
        pytest.param(lambda _t, config, _c: config["settings"]["encoder"].update(channels=4096), id="large sizes"),
        pytest.param(lambda _t, config, _c: config.clear(), id="an empty config"),
        pytest.param(with_classes(lambda c: c.clear()), id="no classes for the clips"),
        pytest.param(with_classes(lambda c: c.pop()), id="a class too few"),
        pytest.param(with_classes(lambda c: c.append({"label": "new", "clips": []})), id="a class without clips"),
        pytest.param(with_classes(lambda c: c.append({"label": "new", "clips": ["x"]})), id="a class of no clip"),
        pytest.param(with_classes(lambda c: c[0].update(label=c[1]["label"])), id="a label twice"),
        pytest.param(with_classes(lambda c: c[0].update(label=f" {c[1]['label']}\n")), id="a label twice, spaced"),
        pytest.param(with_classes(lambda c: c[0].update(label="  ")), id="a label of spaces"),
        pytest.param(with_classes(lambda c: c[0].update(label=3)), id="a number for a label"),
        pytest.param(with_classes(lambda c: c[0].update(label=None)), id="null for a label"),
        pytest.param(with_classes(lambda c: c[0].update(label="\x1b[2Jawe")), id="a label that clears the screen"),
        pytest.param(with_classes(lambda c: c[0].update(label="a\nb")), id="a label of two lines"),
        pytest.param(with_classes(lambda c: c[0].update(label="\ud800")), id="half a character for a label"),
        pytest.param(with_classes(lambda c: c[0].update(label="x" * 10**6)), id="a label of a million letters"),
        pytest.param(with_classes(lambda c: c[0].pop("label")), id="no label"),
        pytest.param(with_classes(lambda c: c[0].pop("clips")), id="no names"),
        pytest.param(with_classes(lambda c: c[0].update(clips="ab")), id="text for names"),
        pytest.param(with_classes(lambda c: c[0].update(clips=2)), id="a number for names"),
        pytest.param(with_classes(lambda c: c[0].update(clips=[1, 2])), id="numbers for names"),
        pytest.param(with_classes(lambda c: c[0].update(clips={"0": "a", "1": "b"})), id="an object for names"),
        pytest.param(with_classes(lambda c: c[0].update(clips=["x"] * 10**6)), id="a million names"),
        pytest.param(
            with_classes(lambda c: c.extend({"label": f"{n}", "clips": ["x"]} for n in range(10**4))), id="many"
        ),
        pytest.param(with_classes(lambda c: c.__setitem__(0, "anger")), id="a class that is text"),
        pytest.param(with_classes(lambda c: c.__setitem__(0, None)), id="a class that is null"),
    ],
)
def test_an_enrolment_that_was_changed_is_refused(change, saved):
    rewrite(saved, change)
    assert_refused(saved)


def test_a_label_twice_is_named(saved):
    rewrite(saved, with_classes(lambda c: c[0].update(label=c[1]["label"])))
    assert_refused(saved, match="the label 'class 1' twice")


@pytest.mark.parametrize("part", ["config", "classes"])
@pytest.mark.parametrize(
    "text", [None, "", "{", "null", "3", '"text"', "[" * 100_000, "[[1]]", "9" * 5000], ids=lambda t: f"{t!s:.9}"
)
def test_an_enrolment_that_describes_itself_badly_is_refused(part, text, saved):
    tensors, metadata = read_tensors(saved)
    metadata[part] = text if text is not None else metadata.pop(part) and "nothing"
    path = saved.with_name("changed")
    path.write_bytes(safetensors.torch.save(tensors, metadata))
    assert_refused(path)
    path.write_bytes(safetensors.torch.save(tensors))
    assert_refused(path)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.999])
def test_a_truncated_enrolment_is_refused(share, saved):
    content = saved.read_bytes()
    saved.write_bytes(content[: int(share * len(content))])
    assert_refused(saved, match="safetensors")


@pytest.mark.parametrize("content", [pickle.dumps({"anger": 1}), b"", b"PK\x03\x04", b"RIFF" + bytes(99)])
def test_a_file_of_another_kind_is_refused(content, saved):
    saved.write_bytes(content)
    assert_refused(saved, match="safetensors")


def test_paths_that_are_no_enrolment_are_refused(tmp_path):
    save_model(small_model(), tmp_path / "model", card="")
    assert_refused(tmp_path, match="found a folder")
    assert_refused(tmp_path / "none", match="no such file")
    assert_refused(tmp_path / "model" / "model.safetensors", match="nothing enrolled")
    assert_refused(tmp_path / "model" / "config.json")


def test_the_file_does_not_grow_by_audio(saved):
    model = small_model()
    numbers = sum(tensor.numel() for tensor in model.learner.state_dict().values()) + 5 * embedding_of_silence(model).numel()
    assert saved.stat().st_size < 4 * numbers + 10_000


def test_an_enrolment_too_large_to_adapt_to_is_refused(saved, monkeypatch):
    monkeypatch.setattr(enrollment_file, "MOST_CLIPS", 4)
    assert_refused(saved, match="4 are the most")
    monkeypatch.setattr(enrollment, "MOST_CLIPS", 4)
    model = small_model()
    with pytest.raises(EnrollmentError, match="at most 4"):
        Enrollment.of(model, enrolled(model, 2, 3))


def test_control_characters_in_names_of_clips_do_not_reach_a_terminal(saved):
    rewrite(saved, with_classes(lambda c: c[0].update(clips=["\x1b[2J", "a\nb"])))
    _, after = load_enrollment(saved)
    assert after["class 0"].names == ("\N{REPLACEMENT CHARACTER}[2J", "a\N{REPLACEMENT CHARACTER}b")


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        ("awe", "awe"),
        (" \tawe\n", "awe"),
        ("\N{NO-BREAK SPACE}awe", "awe"),
        ("mild awe", "mild awe"),
        ("me\N{COMBINING ACUTE ACCENT}pris", "m\N{LATIN SMALL LETTER E WITH ACUTE}pris"),
        ("\N{ARABIC LETTER MEEM}\N{ZERO WIDTH NON-JOINER}\N{ARABIC LETTER MEEM}", None),
        ("[red]awe[/red]", None),
        ("../awe", None),
        ("a" * 255, None),
    ],
)
def test_a_label_is_stripped_and_composed(label, expected):
    assert checked_label(label) == (label if expected is None else expected)


@pytest.mark.parametrize(
    "label",
    [
        *("", " \n", "\N{ZERO WIDTH SPACE}", "\x00", "a\x00b", "a\nb", "a\N{LINE SEPARATOR}b", "\x1b[31m", "\ud800"),
        *("a" * 256, None, 3, b"awe", ["awe"], math.nan),
    ],
    ids=lambda label: f"{label!a:.30}",
)
def test_what_is_no_label_is_refused_by_one_line(label):
    with pytest.raises(EnrollmentError) as caught:
        checked_label(label)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "clips",
    [["a.wav"], ("a.wav", "b.wav"), (path for path in ["a.wav"]), {"a.wav"}, [Path("a.wav")], [(16_000, tone())]],
    ids=["list", "tuple", "generator", "set", "paths", "list of one array"],
)
def test_clips_may_come_in_any_collection(clips):
    assert len(checked_sources("awe", clips)) in (1, 2)


@pytest.mark.parametrize(
    "clips",
    ["a.wav", b"RIFF", Path("a.wav"), (16_000, tone()), Clip(tone(), "a"), tone(), {"a": "a.wav"}, 3, None],
    ids=lambda clips: type(clips).__name__,
)
def test_a_single_clip_is_not_taken_for_several(clips):
    with pytest.raises(EnrollmentError, match=f"a single {type(clips).__name__}"):
        checked_sources("awe", clips)


def test_an_open_file_is_not_taken_for_a_list_of_its_lines(tmp_path):
    (tmp_path / "a.wav").write_bytes(b"RIFF\n\n")
    with (tmp_path / "a.wav").open("rb") as file, pytest.raises(EnrollmentError, match="a single"):
        checked_sources("awe", file)


@pytest.mark.parametrize(
    "clips", [[], (), iter(()), np.zeros((0,)).tolist()], ids=["list", "tuple", "iterator", "of an array"]
)
def test_no_clips_are_refused(clips):
    with pytest.raises(EnrollmentError, match="none"):
        checked_sources("awe", clips)


def test_what_is_printed_is_one_line_of_readable_length():
    assert one_line("a\x1b\n\ud800b" + "c" * 999) == "a" + 3 * "\N{REPLACEMENT CHARACTER}" + "b" + 250 * "c"
    assert one_line("mépris 愤怒 🙂") == "mépris 愤怒 🙂"


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
