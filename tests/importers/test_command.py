"""`ser-fewshot import`: what it prints, what it writes, what it downloads, and that it can be enrolled in."""

from __future__ import annotations

import json
import re
import sys
from functools import cache
from pathlib import Path

import huggingface_hub
import pytest
import torch
from huggingface_hub.errors import LocalEntryNotFoundError
from tolerance import assert_near

from ser_fewshot.classifier import FewShotClassifier
from ser_fewshot.importers import Choice, import_model
from ser_fewshot.models import load_model
from ser_fewshot.quickstart import DEMO_MANIFEST

from .conftest import built, features
from .layouts import clip, encoder, write_fairseq, write_huggingface, write_speechbrain, write_torchaudio

DEMO = DEMO_MANIFEST.parent
NAMES = ("neu", "hap", "ang")


@cache
def small():
    return encoder("Wav2Vec2")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_huggingface(small(), tmp_path / "hf")


def with_head(tmp_path: Path) -> Path:
    names = {"id2label": dict(enumerate(NAMES)), "label2id": {name: row for row, name in enumerate(NAMES)}}
    return write_huggingface(encoder(head="ForSequenceClassification", **names), tmp_path / "head")


def test_an_imported_model_can_be_enrolled_in_and_recognises(source, tmp_path, run):
    code, printed, complaint = run("import", source, "--out", tmp_path / "out")
    assert (code, complaint) == (0, "")
    assert "layout huggingface, wav2vec2, layer weighted, pooling mean_std: 1024 values a frame" in printed
    assert "matched: 66\n" in printed
    assert (
        "dropped on purpose: 1 (mask embedding, used only in the pretraining 1)\nmissing: 0\nunexpected: 0" in printed
    )
    options = [
        part for emotion in ("anger", "fear") for part in ("--emotion", emotion, DEMO / f"{emotion}_en-f1_1.ogg")
    ]
    code, _, complaint = run("enroll", "--model", tmp_path / "out", *options, "--out", tmp_path / "mine.ser")
    assert code == 0, complaint
    code, printed, complaint = run("predict", tmp_path / "mine.ser", DEMO / "fear_en-f1_1.ogg", "--json")
    assert code == 0, complaint
    assert json.loads(printed)[0]["label"] == "fear"


def test_the_model_needs_nothing_of_its_source_and_its_card_names_it(source, tmp_path, run):
    run("import", source, "--out", tmp_path / "out", "--layer", 2, "--pooling", "mean", "--learner", "protonet")
    wanted = features(built(source, pooling="mean")[1], clip())
    for path in source.iterdir():
        path.unlink()
    model = load_model(tmp_path / "out")
    assert model.config.learner == "protonet"
    assert torch.equal(features(model, clip()), wanted)
    card = (tmp_path / "out" / "README.md").read_text()
    assert str(source).replace("_", r"_") in card
    assert "Licence of these weights: not known here; that of their source holds." in card
    assert not (tmp_path / "out" / "prior.safetensors").exists()


def test_the_scale_of_the_features_is_measured(source):
    learner = import_model(str(source), Choice(layer=1)).model.learner
    assert learner.encoder.mean.abs().max() > 0
    assert not torch.equal(learner.encoder.scale, torch.ones_like(learner.encoder.scale))


def test_json_lists_every_key(tmp_path, run):
    path = write_fairseq(small(), tmp_path / "fs.pt")
    code, printed, _ = run("import", path, "--out", tmp_path / "out", "--layer", 0, "--json")
    result = json.loads(printed)
    assert code == 0
    assert result["layout"] == "fairseq"
    assert result["layer"] == 0
    assert "feature_projection.projection.weight" in result["matched"]
    assert result["dropped"]["quantizer"] == ["quantizer.vars"]
    assert all(
        name.startswith("encoder.layers.") for name in result["dropped"]["blocks and norms beyond the chosen layer"]
    )
    assert (result["missing"], result["unexpected"], result["prior"], result["labels"]) == ([], [], None, [])


def test_a_partial_match_is_said_aloud_and_in_the_card(source, tmp_path, run):
    weights = {name: x for name, x in small().state_dict().items() if "encoder.layers.1." not in name}
    (source / "model.safetensors").unlink()
    torch.save(weights, source / "pytorch_model.bin")
    code, _, complaint = run("import", source, "--out", tmp_path / "out")
    assert code == 2
    assert "--allow-partial" in complaint
    assert not (tmp_path / "out").exists()
    code, printed, complaint = run("import", source, "--out", tmp_path / "out", "--allow-partial")
    assert code == 0
    assert "missing: 16 (encoder.layers.1." in printed
    assert "and 8 more; --json lists them all" in printed
    assert re.fullmatch(r"warning: \d+ tensors of the encoder were missing .* are random: do not trust it\n", complaint)
    assert "16 of its weights were missing" in (tmp_path / "out" / "README.md").read_text()


def test_an_emotion_head_is_written_beside_the_model_and_refined(tmp_path, run):
    code, printed, complaint = run("import", with_head(tmp_path), "--out", tmp_path / "out")
    assert code == 0, complaint
    prior = tmp_path / "out" / "prior.safetensors"
    assert f"its emotion head: {prior}, which knows neutral, happiness, anger; refine it with" in printed
    assert "an enrolment that says what the emotion head" in (tmp_path / "out" / "README.md").read_text()
    code, printed, complaint = run("predict", prior, DEMO / "fear_en-f1_1.ogg", "--json")
    assert code == 0, complaint
    assert list(json.loads(printed)[0]["probabilities"]) == ["neutral", "happiness", "anger"]
    refined = tmp_path / "refined.ser"
    code, _, complaint = run(
        "enroll", "--to", prior, "--emotion", "anger", DEMO / "anger_en-f1_1.ogg", "--out", refined
    )
    assert code == 0, complaint
    assert FewShotClassifier.load(refined).enrolled["anger"] == ("imported head", "anger_en-f1_1.ogg")


def test_our_own_model_has_nothing_to_import(tmp_path, run):
    code, _, complaint = run("import", DEMO.parent / "default", "--out", tmp_path / "out")
    assert code == 2
    assert "found the model_type 'ser_fewshot'; expected wav2vec2 |" in complaint
    assert "use it as it is, with 'enroll --model'" in complaint


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (("--layer", "9"), "found 9; expected 0 to 3"),
        (("--layer", "last"), "found 'last'; expected a whole number"),
        (("--learner", "magic"), "unknown name 'magic'"),
        (("--pooling", "max"), "invalid choice: 'max'"),
    ],
)
def test_an_option_that_cannot_be_is_refused(options, complaint, source, tmp_path, run):
    code, printed, said = run("import", source, "--out", tmp_path / "out", *options)
    assert code == 2
    assert printed == ""
    assert complaint in said
    assert said.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_torchaudio_is_not_needed_for_its_checkpoints(tmp_path, run, monkeypatch):
    source = write_torchaudio(small(), tmp_path / "ta.pt")
    monkeypatch.setitem(sys.modules, "torchaudio", None)
    assert run("import", source, "--out", tmp_path / "out")[0] == 0


def test_a_source_is_never_written_over(source, run):
    before = {path.name: path.read_bytes() for path in source.iterdir()}
    code, _, complaint = run("import", source, "--out", source)
    assert code == 2
    assert "the folder that is imported" in complaint
    assert {path.name: path.read_bytes() for path in source.iterdir()} == before


def test_a_source_that_is_a_file_keeps_what_stands_beside_it(tmp_path, run):
    folder = tmp_path / "sb"
    source = write_speechbrain(small(), folder, config=True) / "wav2vec2.ckpt"
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    code, _, complaint = run("import", source, "--out", folder)
    assert code == 2
    assert "the folder of the file that is imported" in complaint
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_model_of_another_program_is_never_written_over(source, tmp_path, run):
    for config in ('{"model_type": "wav2vec2"}', "{}", "no JSON", "[" * 99_999):
        out = tmp_path / "out"
        out.mkdir(exist_ok=True)
        (out / "config.json").write_text(config)
        code, _, complaint = run("import", source, "--out", out)
        assert code == 2
        assert "which holds the config.json of another program" in complaint
        assert complaint.count("\n") == 1
        assert [path.name for path in out.iterdir()] == ["config.json"]
        assert (out / "config.json").read_text() == config


def test_a_second_import_replaces_the_first_by_force_alone_and_leaves_no_emotion_head_of_it(source, tmp_path, run):
    out = tmp_path / "out"
    assert run("import", with_head(tmp_path), "--out", out)[0] == 0
    assert (out / "prior.safetensors").exists()
    options = ("import", source, "--out", out, "--layer", 1, "--pooling", "mean", "--json")
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    code, printed, complaint = run(*options)
    assert (code, printed) == (2, "")
    assert "replace what is there with --force" in complaint
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    code, printed, complaint = run(*options, "--force")
    assert code == 0, complaint
    assert json.loads(printed)["prior"] is None
    assert sorted(path.name for path in out.iterdir()) == ["README.md", "config.json", "model.safetensors"]
    assert_near(features(load_model(out), clip()), features(built(source, layer=1, pooling="mean")[1], clip()))


def test_where_no_model_can_be_written_no_emotion_head_is(tmp_path, run):
    out = tmp_path / "out"
    (out / "model.safetensors").mkdir(parents=True)
    code, _, complaint = run("import", with_head(tmp_path), "--out", out, "--force")
    assert code == 2
    assert "model.safetensors: found a folder" in complaint
    assert not (out / "prior.safetensors").exists()


def test_an_earlier_emotion_head_that_cannot_be_removed_is_said(source, tmp_path, run):
    (tmp_path / "out" / "prior.safetensors").mkdir(parents=True)
    code, _, complaint = run("import", source, "--out", tmp_path / "out", "--layer", 1, "--force")
    assert code == 2
    assert "prior.safetensors: found " in complaint
    assert complaint.count("\n") == 1


def test_without_a_network_a_hub_id_says_so(tmp_path, run, monkeypatch):
    def offline(*_: object, **__: object) -> None:
        raise LocalEntryNotFoundError("cannot reach the hub")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", offline)
    code, printed, complaint = run("import", "someone/model", "--out", tmp_path / "out")
    assert code == 2
    assert printed == ""
    first, second = complaint.splitlines()
    assert first == "someone/model is no path here: asking the Hugging Face hub for the model of that name"
    assert "no answer from the Hugging Face hub: LocalEntryNotFoundError" in second
    assert "Check the name and the network" in second
    assert not (tmp_path / "out").exists()


def test_a_hub_id_is_downloaded_without_code_and_without_the_same_weights_twice(source, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(
        huggingface_hub, "snapshot_download", lambda repo, **told: asked.append((repo, told)) or str(source)
    )
    said: list[str] = []
    imported = import_model("someone/model", Choice(layer=1), say=said.append)
    assert imported.checkpoint.layout == "huggingface"
    assert asked == [("someone/model", {"revision": None, "allow_patterns": ["*.json", "*.safetensors"]})]
    assert len(said) == 1


def test_a_hub_model_without_safetensors_is_downloaded_as_it_is(tmp_path, monkeypatch):
    asked = []
    source = write_speechbrain(small(), tmp_path / "sb")
    monkeypatch.setattr(
        huggingface_hub,
        "snapshot_download",
        lambda _, allow_patterns, **__: asked.append(allow_patterns) or str(source),
    )
    assert import_model("someone/model", Choice(layer=1)).checkpoint.layout == "speechbrain"
    assert asked[1] == ["*.json", "pytorch_model*.bin", "wav2vec2.ckpt", "hubert.ckpt", "wavlm.ckpt"]


def test_what_is_no_hub_id_is_never_looked_up(run, tmp_path, monkeypatch):
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *_, **__: pytest.fail("it was looked up"))
    monkeypatch.chdir(tmp_path)
    for name in ("gone", "gone/", "../gone", "a/b/c", "", "/gone/model", "http://a/b"):
        code, _, complaint = run("import", name, "--out", tmp_path / "out")
        assert code == 2
        assert complaint.count("\n") == 1


def test_labelled_clips_give_statistics_of_speakers_and_too_few_are_refused(source, tmp_path, run):
    table = DEMO / "clips.csv"
    assert run("import", source, "--out", tmp_path / "out", "--layer", 1, "--manifest", table)[0] == 0
    assert load_model(tmp_path / "out").speakers is not None
    one, other = (DEMO / f"{emotion}_en-f1_1.ogg" for emotion in ("anger", "fear"))
    (tmp_path / "few.csv").write_text(f"file,emotion,speaker\n{one},anger,a\n{other},fear,b\n")
    code, _, complaint = run("import", source, "--out", tmp_path / "none", "--manifest", tmp_path / "few.csv")
    assert code == 2
    assert "at least three speakers" in complaint
    assert not (tmp_path / "none").exists()
