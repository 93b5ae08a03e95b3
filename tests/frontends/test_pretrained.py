"""Pretrained encoders: what a clip gives is what the plain library gives for it, in whatever company it comes."""

from __future__ import annotations

import copy
import json
import pickle
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import soundfile as sf
import torch
import transformers
from conftest import tone
from hypothesis import given
from hypothesis import strategies as st
from tiny_encoders import CONFIGS, WAVEFORM, noise, tiny
from tolerance import assert_near
from torch import Tensor, nn

from ser_fewshot.audio import MIN_SECONDS, SAMPLE_RATE
from ser_fewshot.corpora import Utterance
from ser_fewshot.errors import SettingsError
from ser_fewshot.frontends import FeatureCache, extract, size
from ser_fewshot.frontends.pretrained import frontend as module
from ser_fewshot.frontends.pretrained.architectures import KNOWN
from ser_fewshot.frontends.pretrained.chunks import Piece, batches, cut
from ser_fewshot.frontends.pretrained.frontend import Pretrained, Settings
from ser_fewshot.settings import fill

LENGTHS = (16_000, 7_001, 23_456, 9_000, 8_999, 1_500)
BLOCKS = 2
FAMILIES = ("wav2vec2, group norm", "wav2vec2, layer norm", "wavlm", "sew", "wav2vec2-bert", "whisper")
"""One encoder of each way of computing: see `frontends.pretrained.frontend`."""


def plain(name: str, encoder: Any, clip: Tensor) -> list[Tensor]:
    """All hidden states of a clip (frames, width), from a call of transformers on it alone."""
    told = {"sampling_rate": 16_000, "return_tensors": "pt"}
    with torch.no_grad():
        if name in WAVEFORM:
            values = transformers.Wav2Vec2FeatureExtractor()(clip.numpy(), **told).input_values
            found, real = encoder(values, output_hidden_states=True), slice(None)
        else:
            inputs = transformers.SeamlessM4TFeatureExtractor()(clip.numpy(), **told)
            found, real = encoder(**inputs, output_hidden_states=True), inputs["attention_mask"][0].bool()
    states = list(found.hidden_states)
    if name != "sew":  # whose last output is at another rate than its hidden states
        states[-1] = found.last_hidden_state
    return [state[0][real] for state in states]


def plain_whisper(clip: Tensor) -> list[Tensor]:
    """The same of Whisper, by an encoder that is built for exactly the length of the clip."""
    extractor = transformers.WhisperFeatureExtractor()
    mel = extractor(clip.numpy(), sampling_rate=16_000, return_tensors="pt", padding=False, truncation=False)
    mel = mel.input_features
    weights = tiny("whisper").encoder.state_dict()
    n_frames = mel.shape[-1] // 2
    encoder = tiny("whisper", max_source_positions=n_frames).encoder
    weights["embed_positions.weight"] = weights["embed_positions.weight"][:n_frames]
    encoder.load_state_dict(weights)
    with torch.no_grad():
        return [state[0] for state in encoder(mel, output_hidden_states=True).hidden_states]


# The same features in any company


@pytest.mark.parametrize("name", CONFIGS)
def test_a_clip_gives_the_same_alone_and_in_a_batch_of_unequal_clips(name, monkeypatch):
    monkeypatch.setattr("ser_fewshot.frontends.pretrained.chunks._LEAST_FILLED", 0.0)  # all clips in one batch
    frontend = tiny(name).frontend(pooling="frames")
    clips = noise(*LENGTHS)
    together = frontend.analyse(clips)
    for clip, got in zip(clips, together, strict=True):
        [alone] = frontend.analyse([clip])
        assert got.shape == alone.shape
        assert got.shape[1] == frontend.dim == 3 * 32
        assert_near(got, alone)
    assert len({len(got) for got in together}) > 3


@pytest.mark.parametrize("name", ["wavlm", "wav2vec2-bert, rotary"])  # these keep state between blocks
def test_batches_side_by_side_give_what_one_after_the_other_gives(name, monkeypatch):
    monkeypatch.setattr(module, "_CPU_BATCH", 1)
    frontend = tiny(name).frontend(pooling="frames")
    clips = noise(*range(1_500, 9_000, 250))
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(4)
        together = frontend.analyse(clips)
    finally:
        torch.set_num_threads(before)
    for clip, got in zip(clips, together, strict=True):
        assert_near(got, frontend.analyse([clip])[0])


def test_a_padded_batch_warns_of_nothing_and_no_filter_of_the_process_is_needed_for_that():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tiny("wavlm").frontend(pooling="frames").analyse(noise(1_500, 2_500))


@pytest.mark.parametrize("name", [name for name in CONFIGS if name != "whisper"])
def test_a_clip_gives_what_the_plain_call_of_transformers_gives(name):
    for length in (8_171,):
        made = tiny(name)
        [clip] = noise(length)
        [got] = made.frontend(pooling="frames").analyse([clip])
        assert_near(got, torch.cat(plain(name, made.encoder, clip), 1))


def test_whisper_gives_what_its_encoder_gives_at_the_length_of_the_clip():
    for length in (8_000, 16_000):
        [clip] = noise(length)
        [got] = tiny("whisper").frontend(pooling="frames").analyse([clip])
        assert_near(got, torch.cat(plain_whisper(clip), 1))


@pytest.mark.parametrize("name", FAMILIES)
def test_a_layer_alone_is_that_layer_of_all_and_needs_no_later_weights(name):
    made = tiny(name)
    clips = noise(8_000, 5_000)
    every = [clip.unflatten(1, (BLOCKS + 1, 32)) for clip in made.frontend(pooling="frames").analyse(clips)]
    counts = []
    for layer in range(BLOCKS + 1):
        frontend = made.frontend(pooling="frames", layer=layer)
        for got, expected in zip(frontend.analyse(clips), every, strict=True):
            assert_near(got, expected[:, layer])
        counts.append(sum(parameter.numel() for parameter in frontend.network.parameters()))
    assert counts == sorted(set(counts))
    names = made.frontend(layer=1).network.state_dict()
    assert any("layers.0." in key for key in names)
    assert not any("encoder.layers.1." in key or key.startswith("layers.1.") for key in names)
    assert not any("masked_spec_embed" in key or "upsample" in key for key in names)


@pytest.mark.parametrize("name", ["wavlm", "whisper"])
def test_pooled_clips_are_mean_and_standard_deviation_of_their_frames(name):
    made = tiny(name)
    clips = noise(*LENGTHS)
    frames = made.frontend(pooling="frames").analyse(clips)
    means = made.frontend(pooling="mean").analyse(clips)
    both = made.frontend(pooling="mean_std").analyse(clips)
    for own, mean, pair in zip(frames, means, both, strict=True):
        layers = own.unflatten(1, (BLOCKS + 1, 32)).double()
        assert mean.shape == (1, 3 * 32)
        assert pair.shape == (1, 3 * 64)
        assert_near(mean[0], layers.mean(0).flatten().float())
        expected = torch.cat([layers.mean(0), layers.std(0, correction=0)], 1)  # layers lie side by side
        assert_near(pair[0], expected.flatten().float())


def test_a_front_end_says_what_it_hands_over():
    made = tiny("hubert")
    told = [
        (made.frontend(layer=layer, pooling=pooling)) for layer in (1, "weighted") for pooling in ("mean", "frames")
    ]
    assert [(item.layers, item.pooled, item.dim) for item in told] == [
        (1, True, 32),
        (1, False, 32),
        (3, True, 96),
        (3, False, 96),
    ]


@pytest.mark.parametrize("name", FAMILIES)
def test_a_clip_shorter_than_one_frame_gives_one_frame(name):
    for length in (1, 399, round(MIN_SECONDS * SAMPLE_RATE)):
        frontend = tiny(name).frontend(pooling="frames")
        short, longer = noise(length, 8_000)
        alone = frontend.analyse([short])[0]
        assert alone.isfinite().all()
        assert_near(frontend.analyse([longer, short])[1], alone)
        assert len(alone) == 1 or frontend.family.shortest <= length  # these small ones see few samples


def test_a_clip_of_digital_silence_gives_finite_frames():
    for name in ("wav2vec2, group norm", "wav2vec2-bert", "whisper"):
        [got] = tiny(name).frontend(pooling="mean_std").analyse([torch.zeros(4_000)])
        assert got.isfinite().all()


@pytest.mark.parametrize("name", FAMILIES)
def test_repeated_runs_agree_bit_for_bit_even_when_told_to_train(name):
    made = tiny(name, apply_spec_augment=True, mask_time_prob=0.5, **_dropout(CONFIGS[name]))
    frontend = made.frontend(pooling="frames")
    clips = noise(8_000, 7_000)
    first = frontend.analyse(clips)
    frontend.train()
    second = frontend.analyse(clips)
    assert all(torch.equal(one, other) for one, other in zip(first, second, strict=True))
    assert not any(parameter.requires_grad for parameter in frontend.network.parameters())


def _dropout(config: Any) -> dict[str, float]:
    names = ("dropout", "hidden_dropout", "attention_dropout", "activation_dropout", "layerdrop", "encoder_layerdrop")
    return {name: 0.5 for name in names if hasattr(config, name)}


def test_a_padded_batch_of_waveforms_gives_padded_features():
    frontend = tiny("wavlm").frontend(pooling="frames", layer=1)
    clips = noise(8_000, 5_000)
    padded = nn.utils.rnn.pad_sequence(clips, batch_first=True, padding_value=9.0)
    features = frontend(padded, torch.tensor([8_000, 5_000]))
    for row, (got, length) in enumerate(zip(frontend.analyse(clips), features.lengths.tolist(), strict=True)):
        assert torch.equal(features.x[row, :length], got)


def test_a_copy_of_a_front_end_is_the_same_and_has_weights_of_its_own():
    for copied in (copy.deepcopy, lambda frontend: pickle.loads(pickle.dumps(frontend))):
        frontend = tiny("wav2vec2, group norm").frontend(pooling="frames")
        clips = noise(8_000, 5_000)
        before = frontend.analyse(clips)
        generator = torch.get_rng_state()
        other = copied(frontend)
        assert torch.equal(torch.get_rng_state(), generator)
        assert other.identity == frontend.identity
        for parameter in frontend.network.parameters():
            parameter.data.zero_()
        assert all(torch.equal(one, again) for one, again in zip(before, other.analyse(clips), strict=True))


# Long clips


def test_a_clip_no_longer_than_a_chunk_is_not_touched_by_chunking():
    made = tiny("wav2vec2, layer norm")
    clips = noise(16_000, 15_000)
    once = made.frontend(pooling="frames", chunk=30.0).analyse(clips)
    exact = made.frontend(pooling="frames", chunk=1.0, overlap=0.5).analyse(clips)
    assert all(torch.equal(one, other) for one, other in zip(once, exact, strict=True))


@pytest.mark.parametrize(
    "name", ["wav2vec2, layer norm", "sew", "data2vec-audio", "wav2vec2-bert", "wavlm, layer norm"]
)
def test_pieces_of_a_long_clip_join_without_a_seam(name):
    for length in (49_777, 16_321):
        # What enters the first block sees a limited part of the clip, less than the overlap.
        changes = {"sew": {"feat_extract_norm": "layer"}, "data2vec-audio": {"num_conv_pos_embeddings": 3}}.get(
            name, {}
        )
        made = tiny(name, **changes)
        clips = noise(length, 9_000)
        whole = made.frontend(pooling="frames", layer=0, chunk=30.0).analyse(clips)
        pieces = made.frontend(pooling="frames", layer=0, chunk=1.0, overlap=0.5).analyse(clips)
        for one, other in zip(whole, pieces, strict=True):
            assert_near(one, other)


@pytest.mark.parametrize("name", FAMILIES)
def test_pieces_of_a_long_clip_go_through_the_blocks_and_keep_every_frame(name):
    made = tiny(name)
    clips = noise(40_000, 9_000)
    whole = made.frontend(pooling="frames", chunk=30.0).analyse(clips)
    frontend = made.frontend(pooling="frames", chunk=1.0, overlap=0.4)
    pieces = frontend.analyse(clips)
    assert [clip.shape for clip in pieces] == [clip.shape for clip in whole]
    assert not torch.equal(pieces[0], whole[0])
    assert_near(pieces[1], whole[1])
    [alone] = frontend.analyse(clips[:1])
    assert_near(pieces[0], alone)
    pooled = made.frontend(pooling="mean", chunk=1.0, overlap=0.4).analyse(clips[:1])[0]
    assert_near(pooled, pieces[0].mean(0, keepdim=True))


@given(n_frames=st.integers(1, 400), longest=st.integers(2, 60), share=st.floats(0, 0.5), clip=st.integers(0, 3))
def test_pieces_keep_every_frame_once_and_give_it_context(n_frames, longest, share, clip):
    overlap = int(share * longest)
    pieces = list(cut(clip, n_frames, longest=longest, overlap=overlap))
    kept = [frame for piece in pieces for frame in range(piece.first, piece.last)]
    assert kept == list(range(n_frames))
    for piece in pieces:
        assert piece.clip == clip
        assert len(piece) == min(longest, n_frames)
        assert piece.whole == (piece.stop == n_frames)
        assert piece.start == 0 or piece.first - piece.start >= overlap // 2
        assert piece.whole or piece.stop - piece.last >= overlap // 2


@given(lengths=st.lists(st.integers(1, 300), max_size=40), most=st.integers(1, 1_000))
def test_batches_hold_every_piece_once_like_by_like_and_no_more_than_they_may(lengths, most):
    pieces = [Piece(number, 0, length, 0, length, whole=True) for number, length in enumerate(lengths)]
    made = list(batches(pieces, most_frames=most))
    assert sorted(piece.clip for batch in made for piece in batch) == list(range(len(lengths)))
    for batch in made:
        longest, shortest = max(map(len, batch)), min(map(len, batch))
        assert len(batch) == 1 or (len(batch) * longest <= most and shortest >= 0.75 * longest)


# What a checkpoint says of its input


def test_a_waveform_is_normalised_over_its_own_samples_where_the_checkpoint_says_so():
    made = tiny("wav2vec2, layer norm")
    [clip] = noise(8_000)
    both = {
        told: made.frontend(preprocessor={"do_normalize": told}, pooling="frames").analyse([clip, 5 * clip + 0.01])
        for told in (True, False)
    }
    assert_near(*both[True])
    assert (both[False][0] - both[False][1]).abs().max() > 0.01
    normal = (clip - clip.mean()) / (clip.var(correction=0) + 1e-7).sqrt()
    [expected] = made.frontend(preprocessor={"do_normalize": False}, pooling="frames").analyse([normal])
    assert_near(both[True][0], expected)


def test_a_preprocessor_that_does_not_fit_is_refused():
    for name, told, match in (
        ("hubert", {"sampling_rate": 8_000}, "sampling_rate: found 8000; expected 16000 Hz"),
        ("hubert", {"sampling_rate": "16000"}, "sampling_rate"),
        ("hubert", {"feature_size": 2}, "feature_size"),
        ("hubert", {"do_normalize": "yes"}, "do_normalize"),
        ("hubert", {"do_normalize": None}, "do_normalize"),
        ("whisper", {"sampling_rate": 44_100}, "sampling_rate"),
        ("whisper", {"feature_size": 128}, "feature_size 128; expected 80"),
        ("whisper", {"hop_length": 0}, "hop_length"),
        ("whisper", {"hop_length": 800}, "hop_length"),
        ("whisper", {"n_fft": 10**9}, "n_fft"),
        ("wav2vec2-bert", {"num_mel_bins": 40}, "product of 160"),
        ("wav2vec2-bert", {"stride": -2}, "stride"),
    ):
        with pytest.raises(SettingsError, match=match):
            tiny(name).frontend(preprocessor=told)


# Configurations


def architecture(**changes: Any) -> dict[str, Any]:
    return {**CONFIGS["wav2vec2, layer norm"].to_dict(), **changes}


def test_an_absurd_configuration_is_refused_before_memory_is_touched(monkeypatch):
    real: list[bool] = []
    init = nn.Linear.__init__

    def watched(self: nn.Linear, *sizes: Any, **told: Any) -> None:
        init(self, *sizes, **told)
        real.append(not self.weight.is_meta)

    monkeypatch.setattr(nn.Linear, "__init__", watched)
    for changes in (
        {"hidden_size": 10**6},
        {"hidden_size": 10**300},
        {"hidden_size": 16_384, "num_hidden_layers": 100, "num_attention_heads": 1},
        {"intermediate_size": 10**9},
        {"num_hidden_layers": 10**4},
        {"num_hidden_layers": 0},
        {"num_hidden_layers": -1},
        {"num_hidden_layers": 2.0},
        {"num_hidden_layers": True},
        {"num_hidden_layers": "2"},
        {"conv_dim": [10**6] * 3},
        {"conv_dim": [16] * 100_000},
        {"conv_dim": [16, 16]},
        {"conv_dim": 16},
        {"conv_kernel": [10**6] * 3},
        {"conv_kernel": [1_000] * 3, "conv_stride": [1_000] * 3},
        {"conv_stride": [1, 1, 1]},
        {"conv_stride": [0, 1, 1]},
        {"num_conv_pos_embeddings": 10**9},
        {"num_conv_pos_embedding_groups": 5},
        {"num_attention_heads": 5},
        {"feat_extract_norm": "batch"},
        {"hidden_act": "os.system"},
        {"layer_norm_eps": "1e-5"},
        {"do_stable_layer_norm": 1},
    ):
        with pytest.raises(SettingsError) as caught:
            Pretrained(Settings(architecture=architecture(**changes)))
        assert len(str(caught.value)) < 600
        assert not any(real)


def test_an_unknown_family_is_refused_naming_those_that_are_known():
    for model_type in ("bert", "", None, 3, ["wav2vec2"], "x" * 1_000, "../wav2vec2"):
        with pytest.raises(SettingsError, match=r"expected wav2vec2 \| hubert \| wavlm") as caught:
            Settings(architecture=architecture(model_type=model_type))
        assert all(name in str(caught.value) for name in KNOWN)


def test_only_what_shapes_an_encoder_is_kept_of_a_configuration():
    told = architecture(auto_map={"AutoModel": "evil.py"}, architectures=["X"], quantization_config={}, id2label={})
    settings = Settings(architecture=told, layer=1)
    assert settings.architecture["hidden_size"] == 32
    assert not {"auto_map", "architectures", "quantization_config", "id2label", "layerdrop"} & set(
        settings.architecture
    )
    again = fill(Settings, json.loads(json.dumps(asdict(settings))), where="it")
    assert again == settings


def test_what_a_configuration_leaves_out_is_the_default_of_the_library():
    settings = Settings(architecture={"model_type": "hubert"})
    assert settings.architecture["hidden_size"] == 768
    assert settings.architecture["conv_stride"] == [5, 2, 2, 2, 2, 2, 2]
    assert settings.preprocessor == {"feature_size": 1, "sampling_rate": 16_000, "do_normalize": True}


def test_settings_that_are_not_legal_are_refused():
    for told, match in (
        ({"layer": 3}, "0 to 2, or 'weighted'"),
        ({"layer": -1}, "0 to 2"),
        ({"layer": "last"}, "layer"),
        ({"layer": True}, "layer"),
        ({"layer": 1.0}, "layer"),
        ({"layer": None}, "layer"),
        ({"pooling": "max"}, "mean | mean_std | frames"),
        ({"overlap": 16.0}, "overlap <= chunk / 2"),
        ({"overlap": -1.0}, "0 <= overlap"),
        ({"chunk": 0.0}, "chunk"),
        ({"chunk": float("inf")}, "chunk"),
        ({"chunk": 1e6}, "frames"),
        ({"chunk": 0.001, "overlap": 0.0}, "1 to 10000 frames"),
        ({"architecture": []}, "architecture"),
        ({"preprocessor": None}, "preprocessor"),
    ):
        with pytest.raises(SettingsError, match=match):
            Pretrained(fill(Settings, {"architecture": architecture(), **told}, where="pretrained"))


def test_a_chunk_has_no_more_frames_than_the_encoder_has_positions():
    made = tiny("whisper", max_source_positions=100)
    assert made.frontend(chunk=2.0, overlap=0.5).analyse(noise(60_000))[0].isfinite().all()
    with pytest.raises(SettingsError, match="at most 2 s"):
        made.frontend(chunk=2.1, overlap=0.5)


# Identity and cache


def test_weights_and_settings_are_part_of_the_identity(monkeypatch):
    made = tiny("hubert")
    frontend = made.frontend(layer=1)
    identity = frontend.identity
    assert identity == made.frontend(layer=1).identity
    assert identity != made.frontend(layer=1, pooling="mean").identity
    assert json.loads(json.dumps(identity)) == identity
    with monkeypatch.context() as patched:
        patched.setattr(module, "digest", None)
        assert frontend.identity == identity  # without going over the weights again
    weights = frontend.network.state_dict()
    name = "encoder.layers.0.attention.k_proj.weight"
    frontend.network.load_state_dict({**weights, name: weights[name] + 1e-6})
    assert frontend.identity != identity


@pytest.fixture
def clips(tmp_path: Path) -> list[Utterance]:
    """Three clips of unlike length."""
    found = []
    for number, seconds in enumerate((0.5, 1.1, 0.7)):
        path = tmp_path / f"{number}.wav"
        sf.write(path, tone(seconds, hertz=150 + 40 * number), 16_000)
        found.append(Utterance(id=f"c/{number}", path=path, corpus="c", emotion="anger", speaker="a"))
    return found


def test_values_are_the_same_on_the_first_run_and_the_second_and_take_half_the_space(clips, tmp_path):
    for pooling in ("frames", "mean_std"):
        frontend = tiny("wav2vec2, group norm").frontend(pooling=pooling)
        cache = FeatureCache(tmp_path / pooling, frontend.identity)
        without, first, second = (extract(frontend, clips, cache=told) for told in (None, cache, cache))
        for one, other, again in zip(without.clips, first.clips, second.clips, strict=True):
            assert one.dtype == other.dtype == again.dtype == torch.float32
            assert torch.equal(one, other)
            assert torch.equal(other, again)
        assert size(tmp_path / pooling)[1] < 3 * 200 + sum(2 * clip.numel() for clip in first.clips)


def test_values_beyond_half_precision_are_kept_in_single(clips, tmp_path):
    frontend = tiny("hubert").frontend(pooling="frames", layer=2)
    weights = frontend.network.state_dict()
    name = "encoder.layers.1.final_layer_norm.weight"
    frontend.network.load_state_dict({**weights, name: torch.full_like(weights[name], 1e5)})
    cache = FeatureCache(tmp_path / "cache", frontend.identity)
    first, second = (extract(frontend, clips, cache=cache) for _ in range(2))
    for one, other in zip(first.clips, second.clips, strict=True):
        assert one.isfinite().all()
        assert one.abs().max() > 65_504
        assert torch.equal(one, other)
