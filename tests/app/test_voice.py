"""What the page takes for speech."""

import numpy as np
import pytest
from conftest import tone

from app.voice import voice_of
from ser_fewshot import audio
from ser_fewshot.quickstart import DEMO_MANIFEST

SPEECH = sorted(DEMO_MANIFEST.parent.glob("*.ogg"))
RNG = np.random.default_rng(0)
NOISE = 0.1 * RNG.standard_normal(32_000).astype(np.float32)
CLICKS = np.where(np.arange(32_000) % 2_500 < 100, NOISE, 0.001 * NOISE).astype(np.float32)
BEEP = np.sin(2 * np.pi * 1000 * np.arange(32_000) / 16_000) * (np.arange(32_000) % 8_000 < 2_000)


@pytest.mark.parametrize("path", SPEECH[::8], ids=lambda path: path.stem)
def test_speech_is_speech_and_not_noisy(path):
    voice = voice_of(audio.load(path, trim=False).waveform)
    assert voice.is_speech
    assert not voice.is_noisy


@pytest.mark.parametrize(
    "sound", [NOISE, CLICKS, tone(2.0), BEEP.astype(np.float32)], ids=["noise", "clicks", "hum", "beeps"]
)
def test_what_is_no_speech_is_not_taken_for_it(sound):
    assert not voice_of(sound).is_speech


@pytest.mark.parametrize("path", SPEECH[::16], ids=lambda path: path.stem)
def test_a_loud_background_is_noisy_but_still_speech(path):
    wave = audio.load(path, trim=False).waveform
    noise = RNG.standard_normal(len(wave)).astype(np.float32)
    voice = voice_of(wave + noise * float(np.sqrt((wave**2).mean())) * 10 ** (-3 / 20))
    assert voice.is_noisy
    assert voice.is_speech


@pytest.mark.parametrize("gain", [0.01, 3.0])
def test_the_level_of_a_clip_does_not_matter(gain):
    wave = audio.load(SPEECH[0], trim=False).waveform
    quiet, loud = voice_of(wave), voice_of(gain * wave)
    assert loud.voiced == pytest.approx(quiet.voiced, abs=0.02)
    assert loud.purity == pytest.approx(quiet.purity, abs=0.02)


def test_a_sound_shorter_than_a_frame_and_digital_silence_are_measured():
    assert voice_of(tone(0.01)).swing == 0
    assert not voice_of(np.zeros(16_000, dtype=np.float32)).is_speech
