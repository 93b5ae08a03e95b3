"""The log-mel front-end is librosa's, and what it says of a clip depends on nothing but that clip and its settings."""

from __future__ import annotations

import dataclasses
import json

import librosa
import numpy as np
import pytest
import torch
from conftest import tone
from tolerance import assert_near

from ser_fewshot.errors import SettingsError
from ser_fewshot.frontends import analyse, logmel
from ser_fewshot.frontends.logmel import FRONTEND, LogMel, Settings, mel_filters

OTHERS = [
    Settings(),
    Settings(n_mels=40, window=512, hop=128, n_fft=1024, f_min=0.0, f_max=4000.0),
    Settings(n_mels=64, window=320, hop=320, n_fft=512, f_min=50, f_max=7600.5, floor=1e-5),
    Settings(n_mels=1, window=2, hop=1, n_fft=4),
]


def speech(seconds: float, seed: int = 0) -> torch.Tensor:
    """Noise with a tone in it that comes and goes: (samples,)."""
    wave = tone(seconds) * np.linspace(0.05, 1, round(seconds * 16_000))
    noise = np.random.default_rng(seed).normal(scale=0.01, size=len(wave))
    return torch.from_numpy((wave + noise).astype(np.float32))


def analysed(frontend: LogMel, *clips: torch.Tensor) -> list[torch.Tensor]:
    padded = torch.nn.utils.rnn.pad_sequence(list(clips), batch_first=True)
    features = frontend(padded, torch.tensor([len(clip) for clip in clips]))
    return [x[:length] for x, length in zip(features.x, features.lengths, strict=True)]


def test_the_filters_are_those_of_librosa():
    for settings in (*OTHERS[:3], Settings(n_mels=128, n_fft=1024, f_min=1500.0), Settings(n_mels=8, f_max=900.0)):
        limits = {"n_mels": settings.n_mels, "fmin": settings.f_min, "fmax": settings.f_max}
        theirs = librosa.filters.mel(sr=16_000, n_fft=settings.n_fft, **limits).T
        np.testing.assert_allclose(mel_filters(settings), theirs, rtol=np.finfo(np.float32).eps, atol=0)


def test_the_power_is_that_of_librosa():
    for settings in OTHERS[:3]:
        for seconds in (0.3, 1.0, 2.345):
            clip = speech(seconds)
            [ours] = analysed(LogMel(settings), clip)
            reference = librosa.feature.melspectrogram(
                y=clip.numpy(),
                sr=16_000,
                n_fft=settings.n_fft,
                win_length=settings.window,
                hop_length=settings.hop,
                n_mels=settings.n_mels,
                fmin=settings.f_min,
                fmax=settings.f_max,
                center=True,
                pad_mode="constant",
                power=2.0,
                htk=False,
                norm="slaney",
            ).T
            assert ours.shape == reference.shape
            heard = reference > settings.floor
            assert heard.mean() > 0.5
            assert_near(ours.exp().numpy()[heard], reference[heard])
            assert ours.min() >= np.log(settings.floor) - 1e-6


def test_there_is_a_frame_at_every_hop_and_each_is_finite():
    for settings in OTHERS:
        for samples in (1, 159, 160, 161, 4800, 16_001):
            frontend = LogMel(settings)
            [frames] = analysed(frontend, speech(2.0)[:samples])
            assert frames.shape == (1 + samples // settings.hop, frontend.dim)
            assert frames.isfinite().all()


def test_a_click_shows_in_the_frame_that_is_centred_on_it():
    clip = torch.zeros(16_000)
    clip[8_000] = 1.0
    [frames] = analysed(LogMel(), clip)
    assert int(frames.sum(1).argmax()) == 8_000 // 160


def test_digital_silence_is_the_floor_everywhere():
    [frames] = analysed(LogMel(), torch.zeros(8_000))
    assert_near(frames, torch.full_like(frames, np.log(1e-8)))


def test_twice_the_amplitude_is_four_times_the_power():
    clip = speech(1.0)
    quiet, loud = analysed(LogMel(Settings(floor=1e-20)), clip, 2 * clip)
    assert_near(loud - quiet, torch.full_like(quiet, np.log(4)), scale=loud)


def test_a_clip_is_analysed_alike_alone_and_in_any_batch():
    clips = [speech(seconds, seed) for seed, seconds in enumerate((0.3, 1.0, 0.7, 2.0, 0.31))]
    frontend = LogMel()
    together = analysed(frontend, *clips)
    backwards = analysed(frontend, *clips[::-1])[::-1]
    for clip, one, other in zip(clips, together, backwards, strict=True):
        [alone] = analysed(frontend, clip)
        assert_near(one, alone)
        assert_near(other, alone)


def test_the_buffer_that_frames_pass_through_changes_nothing(monkeypatch):
    for frames in (1, 7, 64, 100_000):
        clips = [speech(seconds, seed) for seed, seconds in enumerate((0.3, 1.0, 0.31, 2.345))]
        frontend = LogMel()
        alone = [frontend.analyse([clip])[0] for clip in clips]
        monkeypatch.setattr(logmel, "_BUFFER_FRAMES", frames)
        for one, other in zip(frontend.analyse(clips), alone, strict=True):
            assert_near(one, other)
        assert analyse(frontend, []) == []


def test_what_stands_in_the_padding_is_ignored_and_comes_out_as_zero():
    for rubbish in (0.0, 1.0, -1e30, float("inf"), float("nan")):
        clip = speech(0.5)
        frontend = LogMel()
        [alone] = analysed(frontend, clip)
        padded = torch.cat([clip, torch.full((5_000,), rubbish)])
        features = frontend(torch.stack([padded, torch.zeros(len(padded))]), torch.tensor([len(clip), len(padded)]))
        assert_near(features.x[0, : len(alone)], alone)
        assert features.lengths.tolist() == [len(alone), 1 + len(padded) // 160]
        assert (features.x[0, len(alone) :] == 0).all()


def test_the_same_clip_gives_the_same_bits_and_no_gradient():
    clip = speech(1.0).requires_grad_()
    frontend = LogMel()
    [first], [second] = analysed(frontend, clip), analysed(frontend, clip)
    assert torch.equal(first, second)
    assert not first.requires_grad


def test_an_illegal_setting_is_refused_at_construction():
    for wrong in (
        {"hop": 0},
        {"hop": -160},
        {"hop": 401},
        {"window": 513},
        {"window": 0},
        {"n_fft": 399},
        {"n_fft": 16_001, "window": 400},
        {"n_fft": 10**12},
        {"hop": 160.0},
        {"n_fft": "512"},
        {"n_mels": 0},
        {"n_mels": True},
        {"n_mels": 257},
        {"n_mels": 10**12},
        {"f_min": -1.0},
        {"f_min": 8000.0},
        {"f_min": float("nan")},
        {"f_max": 8000.1},
        {"f_max": float("nan")},
        {"f_max": float("inf")},
        {"floor": 0.0},
        {"floor": -1e-8},
        {"floor": 1.0},
        {"floor": 1e-40},
        {"floor": float("nan")},
        {"floor": float("inf")},
    ):
        with pytest.raises(SettingsError, match="log-mel"):
            Settings(**wrong)


@pytest.mark.filterwarnings("ignore:At least one mel filterbank")
def test_bands_that_would_be_empty_are_refused():
    with pytest.raises(SettingsError, match=r"\d+ of 200 bands without a frequency"):
        LogMel(Settings(n_mels=200))


CHANGES = {"n_mels": 64, "window": 320, "hop": 80, "n_fft": 1024, "f_min": 50.0, "f_max": 7000.0, "floor": 1e-6}


def test_every_setting_changes_both_the_values_and_the_identity():
    assert set(CHANGES) == {field.name for field in dataclasses.fields(Settings)}
    clip = torch.cat([speech(0.5), torch.zeros(8_000)])
    usual = LogMel()
    [expected] = analysed(usual, clip)
    for name, value in CHANGES.items():
        other = LogMel(Settings(**{name: value}))
        [got] = analysed(other, clip)
        assert other.identity != usual.identity, name
        assert got.shape != expected.shape or not torch.allclose(got, expected), name


def test_nothing_else_changes_the_identity():
    spelled_out = {**dataclasses.asdict(Settings()), "f_min": 20, "f_max": 8_000}
    for again in (LogMel(), LogMel(Settings()), LogMel(Settings(**spelled_out)).train(), LogMel().eval()):
        assert json.dumps(again.identity, sort_keys=True) == json.dumps(LogMel().identity, sort_keys=True)


def test_the_plug_in_describes_itself():
    frontend = FRONTEND(Settings(n_mels=40))
    assert frontend.dim == 40
    assert frontend.sample_rate == 16_000
    assert frontend.identity["frontend"] == "logmel"
