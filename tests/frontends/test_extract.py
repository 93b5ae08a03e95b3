"""From utterances to features: each clip by itself, once, by its content, and normalised exactly as asked."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import torch
from conftest import tone
from tolerance import assert_near

from ser_fewshot import audio
from ser_fewshot.audio.conditions import simulate
from ser_fewshot.corpora import Utterance, scan
from ser_fewshot.errors import SettingsError
from ser_fewshot.frontends import FeatureCache, _extract, analyse, extract, normalize, size, stack
from ser_fewshot.frontends.logmel import LogMel, Settings

SECONDS = (0.5, 1.5, 0.3, 0.9, 2.0)


@pytest.fixture(scope="module")
def frontend() -> LogMel:
    return LogMel(Settings(n_mels=40))


@pytest.fixture
def clips(tmp_path: Path) -> list[Utterance]:
    """Five clips by two speakers."""
    found = []
    for number, seconds in enumerate(SECONDS):
        path = tmp_path / f"{number}.wav"
        sf.write(path, tone(seconds, hertz=150 + 40 * number), 16_000)
        found.append(
            Utterance(
                id=f"c/{number}", path=path, corpus="c", emotion="anger", speaker="ab"[number % 2], text=f"t{number}"
            )
        )
    return found


def same(one: object, other: object) -> bool:
    return [clip.numpy().tobytes() for clip in one.clips] == [clip.numpy().tobytes() for clip in other.clips]


def counted(frontend: LogMel, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of clips of each call that the front-end is asked for from now on."""
    calls: list[int] = []
    analyse_clips = frontend.analyse

    def count(waveforms: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        calls.append(len(waveforms))
        return analyse_clips(waveforms)

    monkeypatch.setattr(frontend, "analyse", count)
    return calls


def test_utterances_come_back_in_their_order_with_their_own_features(frontend, clips):
    found = extract(frontend, clips)
    assert found.utterances == tuple(clips)
    assert found.skipped == ()
    assert len(found) == len(clips)
    for utterance, got in zip(clips, found.clips, strict=True):
        waveform = torch.from_numpy(audio.load(utterance.path).waveform)
        [alone] = analyse(frontend, [waveform])
        assert got.shape == (1 + len(waveform) // 160, 40)
        assert_near(got, alone)


def test_cached_features_are_the_fresh_ones_bit_for_bit(frontend, clips, tmp_path, monkeypatch):
    cache = FeatureCache(tmp_path / "cache", frontend.identity)
    without = extract(frontend, clips)
    fresh = extract(frontend, clips, cache=cache)
    batches = counted(frontend, monkeypatch)
    cached = extract(frontend, clips, cache=cache)
    assert batches == []
    assert same(without, fresh)
    assert same(fresh, cached)
    assert size(tmp_path / "cache")[0] == len(clips)


def test_a_cache_that_knows_some_clips_changes_no_value(frontend, clips, tmp_path):
    cache = FeatureCache(tmp_path / "cache", frontend.identity)
    extract(frontend, clips[1::2], cache=cache)
    mixed = extract(frontend, clips, cache=cache)
    assert mixed.utterances == tuple(clips)
    for one, other in zip(mixed.clips, extract(frontend, clips).clips, strict=True):
        assert_near(one, other)


def test_the_same_content_under_two_names_is_one_entry(frontend, clips, tmp_path):
    copy = tmp_path / "other folder" / "größe.wav"
    copy.parent.mkdir()
    shutil.copy(clips[0].path, copy)
    cache = FeatureCache(tmp_path / "cache", frontend.identity)
    found = extract(frontend, [clips[0], replace(clips[0], id="copy", path=copy)], cache=cache)
    assert size(tmp_path / "cache")[0] == 1
    assert torch.equal(*found.clips)


def test_other_content_under_the_same_name_is_analysed_anew(frontend, clips, tmp_path):
    cache = FeatureCache(tmp_path / "cache", frontend.identity)
    before = extract(frontend, clips[:1], cache=cache)
    shutil.copy(clips[4].path, clips[0].path)
    after = extract(frontend, clips[:1], cache=cache)
    assert not same(before, after)
    assert same(after, extract(frontend, clips[4:], cache=cache))


def test_a_damaged_entry_is_computed_again_and_replaced(frontend, clips, tmp_path):
    for damage in (b"", b"rubbish", None):
        cache = FeatureCache(tmp_path / "cache", frontend.identity)
        fresh = extract(frontend, clips, cache=cache)
        entries = sorted((tmp_path / "cache").rglob("*.npy"))
        whole = [path.read_bytes() for path in entries]
        for path, content in zip(entries, whole, strict=True):
            path.write_bytes(content[: len(content) // 2] if damage is None else damage)
        assert same(extract(frontend, clips, cache=cache), fresh)
        assert [path.read_bytes() for path in entries] == whole


def test_clips_that_cannot_be_used_are_skipped_counted_and_listed(frontend, clips, tmp_path):
    (tmp_path / "broken.wav").write_bytes(b"RIFF")
    (tmp_path / "text.wav").write_text("not sound at all, but a text")
    sf.write(tmp_path / "silent.wav", np.zeros(16_000), 16_000)
    names = ["missing.wav", "broken.wav", "text.wav", "silent.wav"]
    bad = [replace(clips[0], id=name, path=tmp_path / name) for name in names]
    asked = [bad[0], clips[0], bad[1], bad[2], clips[1], bad[3]]
    for cache in (None, FeatureCache(tmp_path / "cache", frontend.identity)):
        found = extract(frontend, asked, cache=cache)
        assert found.utterances == (clips[0], clips[1])
        assert [item.path.name for item in found.skipped] == names
        assert {item.kind for item in found.skipped} == {"unusable"}
        assert all("expected" in item.reason for item in found.skipped)


def test_clips_under_a_condition_have_entries_of_their_own(frontend, clips, tmp_path):
    cache = FeatureCache(tmp_path / "cache", frontend.identity)
    clean, noisy, again = (extract(frontend, clips, cache=cache, condition=one) for one in (None, "noise", "noise"))
    assert size(tmp_path / "cache")[0] == 2 * len(clips)
    assert same(noisy, again)
    wave = audio.load(clips[0].path).waveform
    (fresh,) = analyse(frontend, [torch.from_numpy(simulate("noise", wave))])
    assert_near(noisy.clips[0], fresh, relative=1e-3)
    assert len(noisy.clips[0]) > len(clean.clips[0])


def test_nothing_to_read_gives_an_empty_set(frontend):
    found = extract(frontend, [], normalization="speaker")
    assert (len(found), found.utterances, found.skipped) == (0, (), ())


def segments(clips: list[Utterance], tmp_path: Path) -> list[Utterance]:
    """Two clips in one recording, with silence between."""
    first, second = (sf.read(clips[row].path, dtype="float32")[0] for row in (0, 3))
    gap = np.zeros(16_000, dtype=np.float32)
    path = tmp_path / "long.wav"
    sf.write(path, np.concatenate([gap, first, gap, second, gap]), 16_000)
    return [
        replace(clips[0], id="long/1", path=path, start=1.0, end=1.5),
        replace(clips[3], id="long/2", path=path, start=2.5, end=3.4),
    ]


def test_a_segment_is_the_clip_that_it_cuts_out(frontend, clips, tmp_path):
    parts = segments(clips, tmp_path)
    cut = extract(frontend, parts, cache=FeatureCache(tmp_path / "cache", frontend.identity))
    whole = extract(frontend, [clips[0], clips[3]])
    for one, other in zip(cut.clips, whole.clips, strict=True):
        assert one.shape == other.shape
        assert_near(one, other, relative=0.001)


def test_segments_of_one_recording_have_entries_of_their_own_and_it_is_hashed_once(
    frontend, clips, tmp_path, monkeypatch
):
    first, second = segments(clips, tmp_path)
    asked = [
        first,
        second,
        replace(first, id="later", start=1.1),
        replace(first, id="open", end=None),
        replace(first, id="whole", start=None, end=None),
    ]
    cache = FeatureCache(tmp_path / "cache", frontend.identity)
    hashed = []
    content_key = audio.content_key
    monkeypatch.setattr(audio, "content_key", lambda source: hashed.append(source) or content_key(source))
    fresh = extract(frontend, asked, cache=cache)
    assert len(hashed) == 2  # once for the segments, once for the whole file
    assert size(tmp_path / "cache")[0] == 5
    assert same(extract(frontend, asked, cache=cache), fresh)
    assert size(tmp_path / "cache")[0] == 5


def test_an_impossible_segment_is_skipped_under_the_name_of_its_clip(frontend, clips, tmp_path):
    for start, end in ((-1.0, 1.0), (2.0, 1.0), (1.0, 99.0), (float("nan"), 1.0), (50.0, None)):
        cache = FeatureCache(tmp_path / "cache", frontend.identity)
        found = extract(frontend, [replace(clips[1], start=start, end=end), clips[0]], cache=cache)
        assert found.utterances == (clips[0],)
        assert "(c/1)" in found.skipped[0].reason


def test_progress_is_told_of_every_utterance(frontend, clips):
    seen = []
    extract(frontend, clips, track=lambda items: (seen.append(item) or item for item in items))
    assert seen == clips


def test_a_cache_of_other_settings_is_refused(frontend, clips, tmp_path):
    with pytest.raises(SettingsError, match=r"feature cache: found .*'n_mels': 80"):
        extract(frontend, clips, cache=FeatureCache(tmp_path, LogMel().identity))


def test_a_cache_that_cannot_be_written_is_an_error(frontend, clips, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match="SER_FEWSHOT_CACHE"):
        extract(frontend, clips, cache=FeatureCache(tmp_path / "file", frontend.identity))


def test_a_small_store_of_waiting_clips_changes_nothing(frontend, clips, monkeypatch):
    usual = extract(frontend, clips)
    monkeypatch.setattr(_extract, "_WAITING_SAMPLES", 10_000)
    batches = counted(frontend, monkeypatch)
    for one, other in zip(extract(frontend, clips).clips, usual.clips, strict=True):
        assert_near(one, other)
    assert len(batches) > 1
    assert sum(batches) == len(clips)


def test_a_front_end_of_another_rate_is_refused(frontend, monkeypatch):
    monkeypatch.setattr(frontend, "sample_rate", 8_000, raising=False)
    with pytest.raises(SettingsError, match="8000 Hz"):
        analyse(frontend, [torch.zeros(8_000)])


@pytest.mark.corpus
def test_real_clips_come_out_of_the_cache_as_they_went_in(frontend, corpora_root, tmp_path):
    clips = scan("emodb", corpora_root / "emodb", check_audio=False).utterances[::100][:4]
    cache = FeatureCache(tmp_path, frontend.identity)
    fresh = extract(frontend, clips, cache=cache)
    assert fresh.utterances == clips
    assert same(extract(frontend, clips, cache=cache), fresh)
    assert same(extract(frontend, clips), fresh)


# Normalisation


def frames(n: int, seed: int = 0) -> torch.Tensor:
    return 3 + 2 * torch.randn(n, 5, generator=torch.Generator().manual_seed(seed))


def test_normalising_a_clip_is_exact():
    for clip, got in zip([frames(50), frames(7, 1)], normalize([frames(50), frames(7, 1)], "clip"), strict=True):
        values = clip.double().numpy()
        expected = (values - values.mean(0)) / values.std(0)
        assert_near(got.numpy(), expected)
        assert got.dtype == torch.float32


def test_normalising_a_speaker_takes_all_frames_of_all_their_clips_and_of_nobody_else():
    clips = [frames(50), frames(7, 1), frames(20, 2), 100 * frames(9, 3)]
    speakers = ["c/a", "c/b", "c/a", "d/a"]
    got = normalize(clips, "speaker", speakers=speakers)
    for clip, speaker, result in zip(clips, speakers, got, strict=True):
        own = [other.double().numpy() for other, name in zip(clips, speakers, strict=True) if name == speaker]
        everything = np.concatenate(own)
        assert_near(result.numpy(), (clip.double().numpy() - everything.mean(0)) / everything.std(0))


def test_no_normalisation_hands_the_clips_on():
    clips = [frames(5), frames(6)]
    assert all(one is other for one, other in zip(normalize(clips, "none"), clips, strict=True))


def test_a_band_that_never_moves_becomes_zero_and_not_rounding_noise():
    for value in (-18.420680743952367, 0.0, 1e6):
        clip = frames(1001)
        clip[:, 2] = value
        for [got] in (normalize([clip], "clip"), normalize([clip], "speaker", speakers=["a"])):
            assert (got[:, 2] == 0).all()
            assert got.isfinite().all()


def test_a_clip_of_one_frame_becomes_zero():
    [got] = normalize([frames(1)], "clip")
    assert (got == 0).all()


def test_speaker_normalisation_without_every_speaker_is_refused():
    for speakers in (None, ["a", None], [None, None]):
        known = 0 if speakers is None else sum(name is not None for name in speakers)
        with pytest.raises(SettingsError, match=f"found {known} of 2 clips with a known speaker"):
            normalize([frames(5), frames(5)], "speaker", speakers=speakers)


def test_an_unknown_normalisation_is_refused():
    for how in ("Clip", "", "speakers", None, 1):
        with pytest.raises(SettingsError, match=r"none \| clip \| speaker"):
            normalize([frames(5)], how, speakers=["a"])


def test_extract_refuses_a_normalisation_before_it_reads_anything(frontend, clips, monkeypatch):
    monkeypatch.setattr(audio, "load", None)
    for how in ("speaker", "Speaker"):
        with pytest.raises(SettingsError, match="normalisation"):
            extract(frontend, [replace(clips[0], speaker=None), *clips[1:]], normalization=how)


def test_extract_normalises_what_it_read(frontend, clips, tmp_path):
    raw = extract(frontend, clips)
    speakers = [utterance.speaker_key for utterance in clips]
    for how in ("none", "clip", "speaker"):
        cache = FeatureCache(tmp_path / "cache", frontend.identity)  # holds what is not normalised
        for _ in range(2):
            found = extract(frontend, clips, normalization=how, cache=cache)
            for one, other in zip(found.clips, normalize(raw.clips, how, speakers=speakers), strict=True):
                assert_near(one, other)


# Batches of features


def test_a_batch_is_padded_with_zeros_and_knows_its_lengths():
    features = stack([frames(3), frames(5, 1), frames(1, 2)])
    assert features.x.shape == (3, 5, 5)
    assert features.lengths.tolist() == [3, 5, 1]
    assert features.mask.sum(1).tolist() == [3, 5, 1]
    assert (features.x[~features.mask] == 0).all()
    assert not features.pooled
    assert len(features) == 3


def test_selected_clips_lose_the_padding_that_only_the_others_needed():
    features = stack([frames(3), frames(5, 1), frames(1, 2)])
    chosen = features.select(torch.tensor([2, 0]))
    assert chosen.x.shape == (2, 3, 5)
    assert chosen.lengths.tolist() == [1, 3]
    assert torch.equal(chosen.x[1], frames(3))


def test_embeddings_stack_to_pooled_features():
    features = stack([torch.ones(4), torch.zeros(4)])
    assert features.pooled
    assert features.x.shape == (2, 4)
    assert torch.equal(features.select(torch.tensor([1])).x, torch.zeros(1, 4))


def test_nothing_cannot_be_stacked():
    with pytest.raises(ValueError, match="no clips"):
        stack([])
