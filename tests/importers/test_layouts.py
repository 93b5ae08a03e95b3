"""One random encoder in every layout gives the same features, and torchaudio's own converter agrees."""

from __future__ import annotations

import json
import sys
import types
from functools import cache
from pathlib import Path

import pytest
import torch
from tolerance import assert_near
from torchaudio import models, pipelines
from torchaudio.models.wav2vec2.utils import import_huggingface_model
from transformers import Wav2Vec2FeatureExtractor, WavLMConfig

from ser_fewshot.errors import CheckpointError
from ser_fewshot.importers import torchaudio
from ser_fewshot.importers._names import translate
from ser_fewshot.importers._waveform import deduce

from .conftest import built, features
from .layouts import (
    LARGE,
    clip,
    encoder,
    write_fairseq,
    write_huggingface,
    write_speechbrain,
    write_torchaudio,
)

KINDS = [(family, size) for family in ("Wav2Vec2", "Hubert", "WavLM") for size in ("base", "large")]
BEYOND = "blocks and norms beyond the chosen layer"


@cache
def small(family: str, size: str = "base"):
    return encoder(family, **(LARGE if size == "large" else {}))


def written(layout: str, model, folder: Path) -> Path:
    writers = {
        "huggingface": lambda: write_huggingface(model, folder / "hf"),
        "huggingface .bin": lambda: write_huggingface(model, folder / "bin", bin_file=True),
        "torchaudio": lambda: write_torchaudio(model, folder / "ta.pth"),
        "fairseq": lambda: write_fairseq(model, folder / "new.pt"),
        "fairseq finetuned": lambda: write_fairseq(
            model, folder / "old.pt", options="args", old_weight_norm=False, finetuned=True
        ),
        "speechbrain": lambda: write_speechbrain(model, folder / "sb"),
        "speechbrain with config": lambda: write_speechbrain(model, folder / "sbc", config=True),
    }
    return writers[layout]()


@pytest.mark.parametrize(("family", "size"), KINDS)
def test_one_encoder_gives_equal_features_through_every_layout_and_through_torchaudio(family, size, tmp_path):
    model, wave = small(family, size), clip()
    heard = (wave - wave.mean()) / wave.std(correction=0) if size == "large" else wave
    with torch.no_grad():
        referee = import_huggingface_model(model).eval().extract_features(heard[None])[0][1][0]
    results = {}
    for layout in ("huggingface", "torchaudio", "fairseq", "speechbrain"):
        checkpoint, ours, report = built(written(layout, model, tmp_path))
        assert checkpoint.layout == layout
        assert not report.missing
        assert not report.unexpected
        results[layout] = features(ours, wave)
        assert_near(results[layout], referee, message=layout)
        assert_near(results[layout], results["huggingface"], message=layout)


@pytest.mark.parametrize("variant", ["huggingface .bin", "fairseq finetuned", "speechbrain with config"])
def test_other_ways_to_write_a_layout_give_the_same(variant, tmp_path):
    checkpoint, ours, _ = built(written(variant, small("Wav2Vec2"), tmp_path))
    _, reference, _ = built(written("huggingface", small("Wav2Vec2"), tmp_path))
    assert checkpoint.layout == variant.split()[0]
    assert torch.equal(features(ours, clip()), features(reference, clip()))


def test_what_is_left_behind_is_named_with_its_reason(tmp_path):
    _, _, report = built(written("fairseq finetuned", small("Wav2Vec2"), tmp_path))
    assert set(report.reasons) == {
        BEYOND,
        "head for text",
        "mask embedding, used only in the pretraining",
        "projection head of the pretraining",
        "quantizer",
    }
    assert report.reasons["head for text"] == ("w2v_encoder.proj.weight",)
    assert all(".layers.2." in name for name in report.reasons[BEYOND])
    assert len(report.matched) + sum(map(len, report.reasons.values())) == 50 + 16 + 5


def test_with_all_layers_no_block_is_left_behind(tmp_path):
    _, model, report = built(write_huggingface(small("Hubert"), tmp_path / "hf"), layer="weighted")
    assert BEYOND not in report.reasons
    assert features(model, clip()).shape[1] == 4 * 128


def test_a_head_for_text_around_the_encoder_changes_nothing(tmp_path):
    model = encoder("Wav2Vec2", head="ForCTC", vocab_size=7)
    _, bare, _ = built(write_huggingface(model.wav2vec2, tmp_path / "bare"))
    _, ours, report = built(write_huggingface(model, tmp_path / "ctc"))
    assert report.reasons["head for text"] == ("lm_head.bias", "lm_head.weight")
    assert torch.equal(features(ours, clip()), features(bare, clip()))


def test_a_decoder_is_dropped(tmp_path):
    sizes = dict.fromkeys(("d_model", "encoder_ffn_dim", "decoder_ffn_dim"), 32)
    heads = dict.fromkeys(("encoder_attention_heads", "decoder_attention_heads", "encoder_layers", "decoder_layers"), 2)
    model = encoder("Whisper", head="ForConditionalGeneration", vocab_size=9, pad_token_id=0, **sizes, **heads)
    model.save_pretrained(tmp_path / "whisper")
    checkpoint, ours, report = built(tmp_path / "whisper")
    assert all("decoder." in name for name in report.reasons["decoder"])
    assert checkpoint.notes == ("it has no preprocessor_config.json: clips are prepared as is usual for its family",)
    assert features(ours, clip()).shape[1] == model.config.d_model


@pytest.mark.parametrize(
    ("inner", "outer", "taken", "n_notes"),
    [
        ({"feature_extractor": {"do_normalize": False}}, None, False, 0),
        ({"audio_processor": {"do_normalize": False}}, None, False, 0),
        ({"feature_extractor": {"do_normalize": False}, "audio_tokenizer": None}, {"do_normalize": True}, False, 1),
        ({"feature_extractor": None, "processor_class": "x"}, {"do_normalize": False}, False, 0),
        ({"do_normalize": False, "processor_class": "x"}, {"do_normalize": True}, True, 0),
    ],
)
def test_the_feature_extractor_inside_a_processor_counts_first_as_in_transformers(
    tmp_path, inner, outer, taken, n_notes
):
    source = write_huggingface(small("Wav2Vec2"), tmp_path / "hf")
    (source / "preprocessor_config.json").unlink()
    for name, settings in (("processor_config", inner), ("preprocessor_config", outer)):
        if settings is not None:
            (source / f"{name}.json").write_text(json.dumps(settings))
    checkpoint, model, _ = built(source)
    assert model.frontend.settings.preprocessor["do_normalize"] is taken
    assert len(checkpoint.notes) == n_notes
    assert Wav2Vec2FeatureExtractor.from_pretrained(source).do_normalize is taken


def test_weights_in_several_files_are_joined(tmp_path):
    model = small("Wav2Vec2")
    source = write_huggingface(model, tmp_path / "hf")
    _, whole, _ = built(source)
    (source / "model.safetensors").unlink()
    model.save_pretrained(source, max_shard_size="100KB")
    assert len(list(source.glob("model-*.safetensors"))) > 1
    _, ours, _ = built(source)
    assert torch.equal(features(ours, clip()), features(whole, clip()))


def test_half_precision_becomes_single(tmp_path):
    model = encoder("Wav2Vec2").half()
    _, ours, _ = built(write_huggingface(model, tmp_path / "hf"))
    assert {x.dtype for x in ours.frontend.network.state_dict().values()} == {torch.float32}


def test_a_link_into_the_blobs_of_the_hub_cache_is_followed(tmp_path):
    snapshot = tmp_path / "models--a--b" / "snapshots" / "abc"
    write_huggingface(small("Wav2Vec2"), snapshot)
    (tmp_path / "models--a--b" / "blobs").mkdir()
    blob = tmp_path / "models--a--b" / "blobs" / "1234"
    (snapshot / "model.safetensors").rename(blob)
    (snapshot / "model.safetensors").symlink_to("../../blobs/1234")
    assert built(snapshot)[0].layout == "huggingface"


def test_what_no_shape_shows_is_assumed_and_said(tmp_path):
    checkpoint, _, _ = built(write_torchaudio(small("Wav2Vec2"), tmp_path / "ta.pt"))
    assert checkpoint.architecture["num_attention_heads"] == 2
    assert any("num_attention_heads is taken to be 2" in note for note in checkpoint.notes)
    checkpoint, _, _ = built(write_torchaudio(small("WavLM"), tmp_path / "wavlm.pt"))
    assert not any("num_attention_heads" in note for note in checkpoint.notes)


def test_the_options_of_fairseq_count_more_than_what_is_usual(tmp_path):
    model = encoder("Wav2Vec2", num_attention_heads=8, do_stable_layer_norm=True)
    checkpoint, ours, _ = built(write_fairseq(model, tmp_path / "fs.pt"))
    assert checkpoint.notes == ()
    _, reference, _ = built(write_huggingface(model, tmp_path / "hf"))
    assert torch.equal(features(ours, clip()), features(reference, clip()))


def test_a_width_without_usual_heads_needs_a_configuration(tmp_path):
    model = encoder("Wav2Vec2", hidden_size=48, num_attention_heads=4)
    source = write_speechbrain(model, tmp_path / "sb")
    with pytest.raises(CheckpointError, match=r"width 48, which no published model has.*config\.json.*num_attention"):
        built(source)
    (source / "config.json").write_text(model.config.to_json_string())
    assert features(built(source)[1], clip()).shape[1] == 48


def test_the_shapes_of_every_bundle_of_torchaudio_tell_its_architecture(subtests):
    for name, bundle in vars(pipelines).items():
        if not isinstance(bundle, pipelines.Wav2Vec2Bundle):
            continue
        stated = bundle._params
        with subtests.test(name), torch.device("meta"):
            weights = getattr(models, f"{bundle._model_type}_model".lower())(**stated).state_dict()
            tensors = torchaudio._split_projections(translate(weights, torchaudio._RULES, origin=name)[0])
            found, _ = deduce(tensors, stated={}, origin=name)
            assert found["num_attention_heads"] == stated["encoder_num_heads"]
            assert found["do_stable_layer_norm"] == stated["encoder_layer_norm_first"]
            assert found["conv_stride"] == [stride for _, _, stride in stated["extractor_conv_layer_config"]]
            assert stated.get("encoder_max_distance", 800) == WavLMConfig().max_bucket_distance


def test_a_bundle_that_normalises_wraps_its_weights(tmp_path):
    inner = import_huggingface_model(small("Hubert", "large")).state_dict()
    torch.save({f"model.{name}": x for name, x in inner.items()}, tmp_path / "wrapped.pt")
    _, ours, _ = built(tmp_path / "wrapped.pt")
    _, reference, _ = built(write_huggingface(small("Hubert", "large"), tmp_path / "hf"))
    assert torch.equal(features(ours, clip()), features(reference, clip()))


def test_the_letters_of_a_fairseq_hubert_are_passed_over(tmp_path, monkeypatch):
    module = types.ModuleType("fairseq.data.dictionary")
    for name in ("fairseq", "fairseq.data", "fairseq.data.dictionary"):
        monkeypatch.setitem(sys.modules, name, module if name.endswith("dictionary") else types.ModuleType(name))
    module.Dictionary = type("Dictionary", (), {"__module__": module.__name__, "__qualname__": "Dictionary"})
    letters = module.Dictionary()
    letters.symbols = ["a", "b"]
    source = write_fairseq(small("Hubert"), tmp_path / "hubert.pt")
    content = torch.load(source, weights_only=True)
    torch.save({**content, "task_state": {"dictionaries": [letters]}}, source)
    assert built(source)[0].architecture["model_type"] == "hubert"


def test_a_partial_match_is_refused_unless_it_is_asked_for(tmp_path):
    source = write_huggingface(small("Wav2Vec2"), tmp_path / "hf", bin_file=True)
    weights = torch.load(source / "pytorch_model.bin", weights_only=True)
    del weights["encoder.layer_norm.bias"]
    torch.save({**weights, "odd.weight": torch.ones(3)}, source / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match=r"missing: encoder\.layer_norm\.bias; unexpected: odd\.weight.*partial"):
        built(source)
    _, model, report = built(source, allow_partial=True)
    assert report.missing == ("encoder.layer_norm.bias",)
    assert report.unexpected == ("odd.weight",)
    assert torch.isfinite(features(model, clip())).all()


def test_not_even_a_partial_match_may_have_no_match(tmp_path):
    source = write_huggingface(small("Wav2Vec2"), tmp_path / "hf", bin_file=True)
    torch.save({"odd.weight": torch.ones(3)}, source / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="found 0 matching weights"):
        built(source, allow_partial=True)


def test_two_spellings_of_one_weight_are_refused(tmp_path):
    source = write_fairseq(small("Wav2Vec2"), tmp_path / "fs.pt")
    content = torch.load(source, weights_only=True)
    content["model"]["encoder.pos_conv.0.parametrizations.weight.original0"] = torch.ones(1, 1, 16)
    torch.save(content, source)
    with pytest.raises(CheckpointError, match=r"two weights for encoder\.pos_conv_embed"):
        built(source)


def test_an_unknown_family_is_refused_by_name(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(CheckpointError, match=r"model_type 'bert'.*wav2vec2 \| hubert"):
        built(tmp_path)


def test_options_that_hold_themselves_are_read_once(tmp_path):
    for key in ("args", "cfg"):
        source = write_fairseq(small("Wav2Vec2"), tmp_path / "loop.pt")
        content = torch.load(source, weights_only=True)
        loop: dict[str, object] = {"layer_norm_first": False}
        loop["model"] = loop["cfg"] = loop
        torch.save({"model": content["model"], key: loop}, source)
        assert built(source)[0].architecture["model_type"] == "wav2vec2"
