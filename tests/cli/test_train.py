"""The command train, and what a trained model is good for."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from cli.rooms import CLIPS, EPISODE, TINY
from ser_fewshot.cli import _data
from ser_fewshot.cli import main as cli
from ser_fewshot.compute.versions import processor
from ser_fewshot.corpora import read_manifest, write_manifest
from ser_fewshot.episodes.splits import split_by_speaker_name
from ser_fewshot.errors import SerFewshotError
from ser_fewshot.quickstart import DEMO_MANIFEST


@pytest.fixture(scope="module")
def trained(room, tmp_path_factory) -> Path:
    """The folder of a run that trained for one epoch of two steps."""
    run = tmp_path_factory.mktemp("trained") / "run [1]"
    options = ["--manifest", str(DEMO_MANIFEST), "--out", str(run), "--config", str(room / "tiny.toml")]
    assert cli.main(["train", *options, "--cache", str(run.parent / "cache")]) == 0
    return run


def test_train_writes_a_model_that_the_other_commands_take(ok, room, trained):
    model = ("--model", trained / "model")
    assert json.loads((trained / "model/config.json").read_text())["learner"] == "protonet"
    assert "train --manifest" in (trained / "model/README.md").read_text()
    report = json.loads(ok("evaluate", "--manifest", DEMO_MANIFEST, *model, *EPISODE, "--json", "-"))
    assert list(report["learners"]) == ["protonet"]
    assert sum(report["training_set"]["clips_found"].values()) == 80
    assert (report["versions"]["processor"], report["threads"], report["device"]) == (
        processor(),
        torch.get_num_threads(),
        "cpu",
    )
    out = ok("evaluate", "--manifest", DEMO_MANIFEST, *model, *EPISODE)
    assert "| protonet ‡ |" in out
    assert "‡ Trained on demo: 80 of these 80 clips were in the training set" in out
    ok("enroll", room / "mine", *model, "--out", "e.ser")
    assert (
        json.loads(ok("predict", "e.ser", room / "clip.ogg", "--json"))[0]["label"]
        in report["learners"]["protonet"]["labels"]
    )
    ok("enroll", room / "mine", *model, "--learner", "ridge", "--out", "e.ser", "--force")


def test_train_says_what_it_kept(ok, room):
    options = ("--manifest", DEMO_MANIFEST, "--config", room / "tiny.toml", "--learner", "ridge", "--seed", 3)
    out = ok("train", *options, "--out", "run", "--hold-out-emotion", "Angry")
    assert "kept epoch 1" in out
    assert "chance 50.0 %" in out
    result = json.loads(ok("train", *options, "--out", "other", "--epochs", 2, "--json"))
    assert (result["model"], result["clips"]) == ("other/model", 80)
    assert result["kept"]["epoch"] in (1, 2)
    assert len(Path("other/log.jsonl").read_text().splitlines()) == 2
    assert "Seed 3" in Path("other/model/README.md").read_text()


def test_a_run_is_resumed_only_by_the_same_options_and_never_overwritten(run, ok, room, trained, tmp_path):
    shutil.copytree(trained, "run")
    before = {path: path.read_bytes() for path in Path("run").rglob("*") if path.is_file()}
    same = ("train", "--manifest", DEMO_MANIFEST, "--out", "run", "--config", room / "tiny.toml")
    for options in (
        same,
        (*same, "--resume", "--seed", 1),
        (*same, "--resume", "--learner", "ridge"),
        (*same, "--resume", "--hold-out-emotion", "fear"),
    ):
        code, out, err = run(*options)
        assert (code, out, err.count("\n")) == (2, "", 1)
    ok(*same, "--resume")
    after = {path: path.read_bytes() for path in before if path.name != "README.md"}
    assert after == {path: content for path, content in before.items() if path.name != "README.md"}


def test_speakers_that_are_held_out_are_in_no_part_of_training_and_named(run, tmp_path, monkeypatch):
    Path("any.toml").write_text(TINY.replace(" }]", ', query_speaker = "any" }]'))
    parts = []
    features = _data.features_of
    monkeypatch.setattr(
        _data,
        "features_of",
        lambda model, part, *told, **more: parts.append(part) or features(model, part, *told, **more),
    )
    names = sorted({clip.speaker for clip in CLIPS})[:2]
    train = ("train", "--manifest", DEMO_MANIFEST, "--config", "any.toml", "--out", "run", "--hold-out-speakers")
    code, out, err = run(*train, names[0], f"demo/{names[1]}", "--json")
    assert code == 0, err
    assert len(parts) == 2, "meta-training and meta-validation"
    assert not {clip.speaker for part in parts for clip in part} & {*names}
    held_out = read_manifest("run/held_out.csv").utterances
    assert json.loads(out)["held_out"] == "run/held_out.csv"
    assert {clip.speaker for clip in held_out} == {*names}
    assert len(held_out) + sum(map(len, parts)) == len(CLIPS)
    assert f"- speakers: demo/{names[0]}, demo/{names[1]}" in Path("run/model/README.md").read_text()
    told = ("--n-way", 3, "--k-shot", 1, "--n-query", 1, "--episodes", 2)
    assert run("evaluate", "--manifest", "run/held_out.csv", "--model", "run/model", *told)[0] == 0
    twice = [replace(clip, id=f"{clip.id}/{corpus}", corpus=corpus) for corpus in "ab" for clip in CLIPS]
    with pytest.raises(SerFewshotError, match=re.escape(f"Name the corpus too: a/{names[0]} or b/{names[0]}.")):
        split_by_speaker_name(twice, names[:1])


def test_what_cannot_be_trained_or_replayed_is_known_before_features_are_computed(run, monkeypatch, tmp_path):
    def never(*_: object, **__: object) -> None:
        raise AssertionError("features were computed")

    monkeypatch.setattr(_data, "features_of", never)
    Path("tiny.toml").write_text(TINY)
    names = sorted({clip.speaker for clip in CLIPS})
    few = [clip for clip in CLIPS if clip.speaker in names[:4]]
    write_manifest("few.csv", few)
    code, _, err = run("train", "--manifest", "few.csv", "--config", "tiny.toml", "--out", "run")
    assert (code, err.count("\n")) == (2, 1)
    assert "meta-validation, 2-way" in err
    assert "1 speaker in it" in err
    (tmp_path / "old").mkdir()
    (tmp_path / "old/checkpoint.safetensors").touch()
    code, _, err = run("train", "--manifest", DEMO_MANIFEST, "--config", "tiny.toml", "--out", "old")
    assert code == 2
    assert "a run that stands there already" in err
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    told = ("--n-way", 3, "--k-shot", 1, "--n-query", 1, "--episodes", 2)
    assert run("evaluate", "--manifest", DEMO_MANIFEST, *told, "--save-episodes", "f.jsonl")[0] == 0
    monkeypatch.setattr(_data, "features_of", never)
    code, _, err = run("evaluate", "--manifest", "few.csv", "--replay", "f.jsonl")
    assert code == 2
    assert "which has no features" in err
