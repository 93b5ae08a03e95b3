"""An emotion head as enrolled clips: it says what the head says, and clips that are enrolled refine it."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path

import pytest
import torch
import transformers
from tolerance import assert_near
from torch import Tensor

from ser_fewshot import audio
from ser_fewshot.classifier import FewShotClassifier
from ser_fewshot.classifier.enrollment_file import save_enrollment
from ser_fewshot.encoders import EncoderSettings
from ser_fewshot.importers import Choice, Head, Imported, import_model
from ser_fewshot.importers._emotion_head import enrolled_classes, virtual_clips
from ser_fewshot.learners.ridge import Ridge, Settings
from ser_fewshot.quickstart import DEMO_MANIFEST

from .layouts import LARGE, encoder, write_huggingface

DEMO = DEMO_MANIFEST.parent
LABELS = ("neu", "hap", "ang", "sad")


@cache
def speech() -> list[audio.Clip]:
    return [audio.load(path) for path in sorted(DEMO.glob("*-m*_1.ogg"))]


def classifying(family: str = "Wav2Vec2", **changes):
    names = {"id2label": dict(enumerate(LABELS)), "label2id": {label: row for row, label in enumerate(LABELS)}}
    model = encoder(family, head="ForSequenceClassification", classifier_proj_size=8, **{**names, **changes})
    with torch.no_grad():
        if changes.get("use_weighted_layer_sum"):
            model.layer_weights.copy_(torch.randn(4))
        # As a trained head is: sure of some clips, and without a favourite among all of them.
        logits = torch.stack([model(torch.from_numpy(clip.waveform)[None]).logits[0] for clip in speech()])
        gain = 2 / logits.std(0).mean()
        model.classifier.weight.mul_(gain)
        model.classifier.bias.copy_(gain * (model.classifier.bias - logits.mean(0)))
    return model


def says(model, wave: Tensor, *, normalize: bool) -> Tensor:
    """Probabilities of the head, by transformers."""
    heard = (wave - wave.mean()) / wave.std(correction=0) if normalize else wave
    with torch.no_grad():
        return model(heard[None]).logits[0].softmax(0)


def classifier_of(imported: Imported, folder: Path) -> FewShotClassifier:
    """What the file of the prior becomes."""
    save_enrollment(folder / "prior.safetensors", *imported.prior, clean_only=True)
    return FewShotClassifier.load(folder / "prior.safetensors")


def test_ridge_on_virtual_clips_has_the_probabilities_of_any_affine_head():
    for n_classes in (2, 4, 7):
        generator = torch.Generator().manual_seed(n_classes)
        weight, bias = torch.randn(n_classes, 24, generator=generator), torch.randn(n_classes, generator=generator)
        speech = 5 + torch.randn(40, 24, generator=generator)
        prior = virtual_clips(weight, bias, speech)
        told = Settings(encoder=EncoderSettings(name="mean"), penalty=prior.penalty, sharpness=prior.sharpness)
        with torch.no_grad():
            logits = Ridge(24, told).fit_head(prior.embeddings, torch.arange(n_classes), n_classes)(speech)
        assert_near(logits.softmax(1), (speech @ weight.T + bias).softmax(1))


def test_the_middle_of_the_virtual_clips_is_where_the_head_is_undecided_and_nearest_to_speech():
    generator = torch.Generator().manual_seed(0)
    weight, bias = torch.randn(4, 24, generator=generator), torch.randn(4, generator=generator)
    speech = 100 + torch.randn(200, 24, generator=generator)
    middle = virtual_clips(weight, bias, speech).embeddings.mean(0)
    assert_near((middle @ weight.T + bias).softmax(0), torch.full((4,), 0.25), relative=0.001)
    centred = weight - weight.mean(0)
    way = middle - speech.mean(0)
    along = centred.T @ torch.linalg.pinv(centred.T) @ way
    assert_near(way, along, relative=0.001)  # no step that does not change what the head says


def test_a_head_that_says_the_same_of_every_clip_has_no_prior():
    assert virtual_clips(torch.ones(4, 8), torch.arange(4.0), torch.randn(9, 8)) is None


@pytest.mark.parametrize(
    ("family", "changes"),
    [
        ("Wav2Vec2", {}),
        ("Wav2Vec2", LARGE),
        ("Hubert", {"use_weighted_layer_sum": True}),
        ("WavLM", {}),
        ("Data2VecAudio", {}),
    ],
    ids=str,
)
def test_a_head_recognises_through_its_prior_what_it_recognises_itself(family, changes, tmp_path):
    model = classifying(family, **changes)
    imported = import_model(str(write_huggingface(model, tmp_path / "hf")), Choice())
    classifier = classifier_of(imported, tmp_path)
    assert classifier.labels == ("neutral", "happiness", "anger", "sadness")
    normalize = getattr(model.config, "feat_extract_norm", "layer") == "layer"
    wanted = [says(model, torch.from_numpy(clip.waveform), normalize=normalize) for clip in speech()]
    got = classifier.predict(speech())
    assert [p.label for p in got] == [classifier.labels[int(row.argmax())] for row in wanted]
    assert len({prediction.label for prediction in got}) > 1
    for prediction, row in zip(got, wanted, strict=True):
        assert list(prediction.probabilities.values()) == pytest.approx(row.tolist(), abs=2e-3)


def test_enrolling_into_a_prior_teaches_it_a_voice_and_a_new_emotion(tmp_path):
    imported = import_model(str(write_huggingface(classifying(), tmp_path / "hf")), Choice())
    classifier = classifier_of(imported, tmp_path)
    anger, fear = (DEMO / f"{emotion}_en-f1_1.ogg" for emotion in ("anger", "fear"))
    before = classifier.predict(anger).probabilities["anger"]
    for emotion in ("anger", "fear"):
        classifier.add(emotion, sorted(DEMO.glob(f"{emotion}_en-f1_*.ogg")))
    assert classifier.enrolled["anger"] == ("imported head", "anger_en-f1_1.ogg", "anger_en-f1_2.ogg")
    assert classifier.enrolled["fear"] == ("fear_en-f1_1.ogg", "fear_en-f1_2.ogg")
    assert classifier.predict(anger).probabilities["anger"] > before
    assert classifier.predict(fear).probabilities["fear"] > classifier.predict(anger).probabilities["fear"]
    assert classifier.predict(fear).nearest.name == fear.name


def test_a_first_clip_of_one_emotion_does_not_take_all_speech_with_it(tmp_path):
    imported = import_model(str(write_huggingface(classifying(), tmp_path / "hf")), Choice())
    shares = []
    for first in sorted(DEMO.glob("*-f*_1.ogg")):
        classifier = classifier_of(imported, tmp_path)
        before = [prediction.label for prediction in classifier.predict(speech())]
        classifier.add("anger", [first])
        after = [prediction.label for prediction in classifier.predict(speech())]
        assert set(after) - {"anger"}
        shares.append(sum(old == new for old, new in zip(before, after, strict=True)) / len(before))
    assert sum(shares) / len(shares) >= 0.5


@pytest.mark.parametrize("choice", [Choice(layer=1), Choice(pooling="mean_std"), Choice(learner="protonet")], ids=str)
def test_a_head_is_left_out_where_something_else_is_asked_for(choice, tmp_path):
    imported = import_model(str(write_huggingface(classifying(), tmp_path / "hf")), choice)
    assert imported.prior is None
    assert any("emotion head reads the mean of layer 3" in note for note in imported.notes)


def test_the_same_layer_asked_for_by_name_keeps_the_head(tmp_path):
    imported = import_model(str(write_huggingface(classifying(), tmp_path / "hf")), Choice(layer=3, pooling="mean"))
    assert imported.prior is not None


@pytest.mark.parametrize(
    ("name", "change", "match"),
    [
        ("classifier.weight", lambda x: x * torch.nan, "emotion head: found NaN or infinite values"),
        ("classifier.bias", lambda x: x * torch.inf, "emotion head: found NaN or infinite values"),
        ("classifier.weight", lambda x: x * 1e-40, "emotion head: found NaN or infinite values"),
        ("layer_weights", lambda x: x * torch.nan, "emotion head: found NaN or infinite values"),
        ("projector.weight", lambda x: x[:, :64], r"emotion head: found .* \(4, 64\); expected \(4, 128\)"),
        ("layer_weights", lambda x: x[:3], r"emotion head: found .* \(3, 128\); expected \(4, 128\)"),
        ("layer_weights", lambda x: x[None], r"emotion head: found .* \(1, 4, 128\); expected \(4, 128\)"),
    ],
    ids=range(7),
)
def test_a_head_that_makes_no_prior_is_refused_by_name_and_can_be_left_out(name, change, match, tmp_path, run):
    model = classifying(use_weighted_layer_sum=True)
    source = write_huggingface(model, tmp_path / "hf", bin_file=True)
    state = model.state_dict()
    torch.save({**state, name: change(state[name]).clone()}, source / "pytorch_model.bin")
    code, printed, complaint = run("import", source, "--out", tmp_path / "out")
    assert (code, printed) == (2, "")
    assert re.search(match, complaint)
    assert not (tmp_path / "out").exists()
    code, _, complaint = run("import", source, "--out", tmp_path / "out", "--pooling", "frames")
    assert code == 0, complaint


def test_a_head_that_is_one_number_is_left_out(tmp_path):
    for name in ("projector.weight", "projector.bias", "classifier.weight", "classifier.bias"):
        source = write_huggingface(classifying(), tmp_path / "hf", bin_file=True)
        torch.save({**classifying().state_dict(), name: torch.tensor(1.0)}, source / "pytorch_model.bin")
        assert import_model(str(source), Choice(layer=1)).checkpoint.head is None


def test_two_thin_matrices_do_not_become_a_head_of_many_gigabytes(tmp_path):
    source = write_huggingface(classifying(), tmp_path / "hf", bin_file=True)
    thin = {"projector.weight": torch.zeros(1, 30_000), "projector.bias": torch.zeros(1)}
    thin |= {"classifier.weight": torch.zeros(30_000, 1), "classifier.bias": torch.zeros(30_000)}
    torch.save({**classifying().state_dict(), **thin}, source / "pytorch_model.bin")
    config = json.loads((source / "config.json").read_text())
    names = {str(row): str(row) for row in range(30_000)}
    (source / "config.json").write_text(json.dumps({**config, "id2label": names, "label2id": {}}))
    assert import_model(str(source), Choice(layer=1)).checkpoint.head is None


def test_a_head_that_is_not_affine_is_dropped_and_said(tmp_path):
    model = classifying()
    model.classifier = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.Tanh(), torch.nn.Linear(8, 4))
    state = {name: x.contiguous() for name, x in model.state_dict().items()}
    source = write_huggingface(classifying(), tmp_path / "hf", bin_file=True)
    torch.save(state, source / "pytorch_model.bin")
    imported = import_model(str(source), Choice(layer=1))
    assert imported.prior is None
    assert "classifier.0.weight" in imported.report.reasons["head"]
    assert any("only its encoder is imported" in note for note in imported.notes)


def test_a_head_whose_classes_have_no_names_is_left_out(tmp_path):
    for names in ({"0": "a"}, {"0": "a", "1": 2, "2": "c", "3": "d"}, None, {str(n): "x" for n in "abcd"}):
        source = write_huggingface(classifying(), tmp_path / "hf")
        config = json.loads((source / "config.json").read_text())
        (source / "config.json").write_text(json.dumps({**config, "id2label": names}))
        assert import_model(str(source), Choice(layer=1)).checkpoint.head is None


def test_labels_become_the_nouns_of_the_field_where_that_keeps_them_apart():
    for given, kept in (
        (("Angry", "hap", "awe"), ("anger", "happiness", "awe")),
        (("joy", "happy", "awe"), ("joy", "happy", "awe")),
        (("a", "a ", "b"), ("class 0", "class 1", "class 2")),
        (("a\n", "\0", "b"), ("class 0", "class 1", "class 2")),
    ):
        head = Head(torch.ones(3, 2), torch.zeros(3), given)
        assert tuple(enrolled_classes(head, torch.ones(3, 2))) == kept


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"problem_type": "regression"}, "was trained for 'regression', not for one label out of several"),
        ({"problem_type": "multi_label_classification"}, "was trained for 'multi_label_classification'"),
        ({"id2label": {0: "Arousal", 1: "dominance", 2: "valence"}}, "gives values (arousal, dominance, valence)"),
        ({"id2label": {0: "pain"}}, "gives one value, not one label out of several"),
    ],
    ids=str,
)
def test_a_head_that_does_not_choose_a_label_is_left_out_and_said(changes, why, tmp_path):
    model = encoder("Wav2Vec2", head="ForSequenceClassification", classifier_proj_size=8, **changes)
    imported = import_model(str(write_huggingface(model, tmp_path / "hf")), Choice())
    assert imported.prior is None
    (note,) = imported.notes
    assert note.startswith(f"its head {why}")
    assert note.endswith(": only its encoder is imported")


def test_a_head_that_knows_speakers_is_left_out_though_it_has_the_shape_of_a_classifier(tmp_path):
    sizes = {"tdnn_dim": (8,), "tdnn_kernel": (1,), "tdnn_dilation": (1,), "xvector_output_dim": 8}
    names = {"id2label": {row: f"speaker {row}" for row in range(8)}}
    model = encoder("Wav2Vec2", head="ForXVector", **sizes, **names)
    imported = import_model(str(write_huggingface(model, tmp_path / "hf")), Choice())
    assert (imported.prior, imported.notes) == (
        None,
        ("its head makes embeddings of speakers: only its encoder is imported",),
    )


def test_a_whisper_head_which_hears_padding_is_left_out(tmp_path):
    torch.manual_seed(0)
    sizes = dict.fromkeys(("d_model", "encoder_ffn_dim", "classifier_proj_size"), 16)
    few = dict.fromkeys(("encoder_layers", "decoder_layers", "encoder_attention_heads", "decoder_attention_heads"), 2)
    config = transformers.WhisperConfig(**sizes, **few, num_labels=3, vocab_size=9, pad_token_id=0)
    transformers.WhisperForAudioClassification(config).save_pretrained(tmp_path / "whisper")
    imported = import_model(str(tmp_path / "whisper"), Choice(layer=1))
    assert imported.prior is None
    assert any("only its encoder is imported" in note for note in imported.notes)
