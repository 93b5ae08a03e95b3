"""What each condition does to a clip is what it says, the same every time, and passes the audio door."""

from __future__ import annotations

from pathlib import Path

import _microphones
import numpy as np
import pyroomacoustics
import pytest
import soundfile
from _microphones import CONDITIONS
from conftest import tone
from each import each
from tolerance import assert_near

from ser_fewshot import audio
from ser_fewshot.corpora import Utterance

VOICES = [tone(0.6 + 0.1 * number, hertz=150 + 20 * number) for number in range(8)]
SPOKEN = np.concatenate([np.zeros(8_000), tone(1.0, peak=0.4), np.zeros(8_000)]).astype(np.float32)
RNG = np.random.default_rng


@pytest.fixture
def clip(tmp_path: Path) -> Utterance:
    path = tmp_path / "clip.wav"
    soundfile.write(path, SPOKEN, 16_000)
    return Utterance("c/1", path, "c", "anger")


def level(wave) -> float:
    """dB."""
    return float(10 * np.log10(np.mean(np.square(wave, dtype=np.float64))))


@each("condition", CONDITIONS)
def test_a_condition_depends_on_the_clip_and_the_seed_alone(clip, condition):
    first, again = (_microphones.record(clip, condition, voices=VOICES, seed=3, trim=True) for _ in range(2))
    assert np.array_equal(first.waveform, again.waveform)
    assert first.name == f"clip.wav, {condition}"
    plain = audio.load(clip.path).waveform
    assert not np.array_equal(first.waveform[: len(plain)], plain[: len(first.waveform)])


@each("condition", ["noise, 10 dB", "small room"])
def test_another_seed_or_another_clip_is_heard_otherwise(clip, condition):
    other = Utterance("c/2", clip.path, "c", "anger")
    waves = [
        _microphones.record(item, condition, voices=VOICES, seed=seed, trim=False).waveform
        for item, seed in ((clip, 3), (clip, 4), (other, 3))
    ]
    assert not np.array_equal(waves[0], waves[1])
    assert not np.array_equal(waves[0], waves[2])


@each("seed", range(6))  # of which some draw babble and some pink noise
def test_noise_lies_10_db_below_the_speech_between_the_silences(seed):
    rate, recorded = _microphones.noisy(SPOKEN, RNG(seed), VOICES)
    assert (rate, recorded.dtype, recorded.shape) == (16_000, np.int16, SPOKEN.shape)
    assert level(SPOKEN[8_000:24_000]) - level(recorded / 2**15 - SPOKEN) == pytest.approx(10, abs=0.2)


def test_half_of_the_clips_meet_babble_and_half_pink_noise(monkeypatch):
    met = []
    for name in ("babble", "pink"):
        monkeypatch.setattr(_microphones, name, lambda n, *_, name=name: met.append(name) or np.ones(n, np.float32))
    for seed in range(400):
        _microphones.noisy(SPOKEN, RNG(seed), VOICES)
    assert 160 < met.count("babble") < 240
    assert len(met) == 400


def test_pink_noise_loses_3_db_an_octave():
    wave = _microphones.pink(2**17, RNG(0))
    power = np.abs(np.fft.rfft(wave)) ** 2
    hertz = np.fft.rfftfreq(len(wave), 1 / 16_000)
    means = [power[(hertz >= low) & (hertz < 2 * low)].mean() for low in (125, 250, 500, 1_000, 2_000)]
    assert np.diff(10 * np.log10(means)) == pytest.approx([-3.01] * 4, abs=0.5)


def test_babble_is_several_voices_equally_loud():
    loud = [voice * (10.0 if number == 0 else 1.0) for number, voice in enumerate(VOICES[:6])]
    both = [_microphones.babble(16_000, RNG(1), voices) for voices in (loud, VOICES[:6])]
    assert_near(*both)
    # Six voices of unit power that have nothing in common add up to the power of six.
    assert level(both[0]) == pytest.approx(10 * np.log10(6), abs=1.5)


def test_the_room_is_small_and_its_echoes_fade_in_about_400_ms():
    times = [
        pyroomacoustics.experimental.measure_rt60(response, fs=16_000, decay_db=30)
        for response in _microphones._responses()
    ]
    assert len(times) == 16
    assert 0.35 < min(times) < max(times) < 0.45


def test_a_room_keeps_the_loudness_and_outlasts_the_clip():
    rate, recorded = _microphones.in_a_room(SPOKEN[8_000:24_000], RNG(0), VOICES)
    assert rate == 16_000
    assert level(recorded[:16_000] / 2**15) == pytest.approx(level(SPOKEN[8_000:24_000]), abs=0.1)
    assert level(recorded[16_000:17_600] / 2**15) > -40  # the first 100 ms after the last word


@each(("hertz", "least", "most"), [(100, -90, -30), (1_000, -1, 1), (3_800, -90, -12)])
def test_the_telephone_lets_300_to_3400_hz_through(hertz, least, most):
    wave = (0.5 * np.sin(2 * np.pi * hertz * np.arange(16_000) / 16_000)).astype(np.float32)
    rate, recorded = _microphones.by_telephone(wave, RNG(0), VOICES)
    assert (rate, len(recorded)) == (8_000, 8_000)
    assert least < level(recorded[2_000:6_000] / 2**15) - level(wave) < most


def test_the_telephone_knows_256_values():
    wave = 0.9 * RNG(0).uniform(-1, 1, 32_000).astype(np.float32)
    _, recorded = _microphones.by_telephone(wave, RNG(0), VOICES)
    assert 150 < len(np.unique(recorded)) <= 256


def test_gains_are_12_db_down_and_6_db_up_and_clip_at_full_scale_alone():
    wave = np.array([0.0, 0.1, -0.25, 0.4, 0.6, -0.9], dtype=np.float32)
    _, quiet = _microphones.quieter(wave, RNG(0), VOICES)
    _, loud = _microphones.louder(wave, RNG(0), VOICES)
    # A factor of 0.251189 and of 1.995262, in steps of 1 / 32768.
    assert quiet.tolist() == [0, 823, -2058, 3292, 4939, -7408]
    assert loud.tolist() == [0, 6538, -16345, 26152, 32767, -32768]


def test_a_recording_is_turned_down_rather_than_clipped():
    wave = tone(0.5, peak=1.0)
    for recording in (_microphones.noisy(wave, RNG(2), VOICES), _microphones.in_a_room(wave, RNG(2), VOICES)):
        assert np.abs(recording[1].astype(int)).max() > 32_000
        assert not audio.load(recording).warnings
    assert audio.load(_microphones.louder(wave, RNG(2), VOICES)).warnings
