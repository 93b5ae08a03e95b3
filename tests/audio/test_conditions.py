"""Simulated recording conditions: the ratio, the decay and the band that each promises, the same for the same clip."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import tone
from numpy.typing import NDArray

from ser_fewshot.audio import SAMPLE_RATE
from ser_fewshot.audio.conditions import CONDITIONS, simulate

Wave = NDArray[np.float32]


def power(wave: Wave, low: float = 0, high: float = SAMPLE_RATE) -> float:
    """The energy of a wave between two frequencies."""
    hertz = np.fft.rfftfreq(len(wave), 1 / SAMPLE_RATE)
    return float((np.abs(np.fft.rfft(wave)) ** 2)[(hertz >= low) & (hertz < high)].sum() / len(wave))


def click(seconds: float = 0.1) -> Wave:
    wave = np.zeros(round(seconds * SAMPLE_RATE), dtype=np.float32)
    wave[0] = 0.5
    return wave


@pytest.mark.parametrize("condition", CONDITIONS)
def test_a_clip_always_comes_out_the_same_and_others_differ(condition):
    wave, other = tone(0.6, hertz=400), tone(0.6, hertz=410)
    before = wave.copy()
    found = simulate(condition, wave)
    assert np.array_equal(found, simulate(condition, wave))
    assert np.array_equal(wave, before)
    assert not np.array_equal(found, simulate(condition, other))
    assert found.dtype == np.float32
    assert np.isfinite(simulate(condition, np.zeros(1_600, dtype=np.float32))).all()


@pytest.mark.parametrize("condition", CONDITIONS)
def test_rounding_a_clip_draws_no_other_noise_or_room_and_another_duration_does(condition):
    wave = tone(0.6, hertz=400)
    steps = np.random.default_rng(0).integers(-1, 2, len(wave)).astype(np.float32)
    found, rounded = simulate(condition, wave), simulate(condition, wave + steps / 2**15)
    assert len(found) == len(rounded)
    assert np.abs(found - rounded).max() < 1e-3
    assert len(simulate("noise", tone(0.7))) - 0.7 * SAMPLE_RATE != len(simulate("noise", wave)) - 0.6 * SAMPLE_RATE


def test_noise_goes_on_before_and_after_the_speech_at_5_to_15_db():
    for number in range(20):
        wave = tone(1.0 + 0.01 * number, hertz=300 + number)
        found = simulate("noise", wave)
        longer = (len(found) - len(wave)) / SAMPLE_RATE
        assert 0.6 <= longer <= 2.0
        start = int(np.argmax(np.correlate(found, wave, "valid")))
        assert start >= 0.3 * SAMPLE_RATE - 200  # a period off, at most
        noise = found[: round(0.25 * SAMPLE_RATE)]
        ratio = 10 * np.log10(np.mean(wave**2) / np.mean(noise**2))
        assert 3 < ratio < 17  # of a quarter of a second of the noise


def test_a_room_adds_a_tail_that_decays_as_loud_as_the_clip():
    found = simulate("room", click())
    level = [power(part) for part in np.array_split(found[100:], 4)]
    assert level == sorted(level, reverse=True)
    assert 0.1 + 0.13 < len(found) / SAMPLE_RATE < 0.1 + 0.41  # 40 of the 60 dB of 0.2 to 0.6 s
    assert np.sum(found**2) == pytest.approx(0.25, rel=1e-3)


def test_a_telephone_passes_300_to_3400_hz():
    rng = np.random.default_rng(0)
    wave = (0.1 * rng.standard_normal(2 * SAMPLE_RATE)).astype(np.float32)
    found = simulate("telephone", wave)
    assert len(found) == len(wave)
    for low, high, least, most in ((0, 100, 0, 0.02), (600, 2_500, 0.9, 1.1), (3_900, 8_000, 0, 0.02)):
        assert least <= power(found, low, high) / power(wave, low, high) <= most
