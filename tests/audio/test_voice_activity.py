"""What is taken for a voice, and how far it stands out from its background."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from conftest import tone

from ser_fewshot import audio
from ser_fewshot.audio import voice_activity
from ser_fewshot.audio.voice_activity import FRAME, is_voice, signal_to_background, speech_probability
from ser_fewshot.quickstart import DEMO_MANIFEST

SPEECH = [audio.load(path, trim=False).waveform for path in sorted(DEMO_MANIFEST.parent.glob("*.ogg"))[::8]]
RNG = np.random.default_rng(0)
NOISE = 0.1 * RNG.standard_normal(32_000).astype(np.float32)
CLICKS = np.where(np.arange(32_000) % 2_500 < 100, NOISE, 0.001 * NOISE).astype(np.float32)


@pytest.mark.parametrize("gain", [0.003, 1.0])
@pytest.mark.parametrize("noise", [0.0, 10 ** (-3 / 20)], ids=["quiet", "noisy"])
def test_a_voice_is_one_at_any_level_and_in_noise(gain, noise):
    for wave in SPEECH:
        loudness = float(np.sqrt((wave**2).mean()))
        sound = gain * (wave + noise * loudness * RNG.standard_normal(len(wave)).astype(np.float32))
        assert is_voice(sound)
        assert (signal_to_background(sound) < 15) == bool(noise)


@pytest.mark.parametrize(
    "sound",
    [NOISE, CLICKS, tone(2.0), np.zeros(16_000, dtype=np.float32), tone(0.01)],
    ids=["noise", "clicks", "hum", "digital-silence", "shorter-than-a-frame"],
)
def test_what_is_no_voice_is_not_taken_for_one(sound):
    assert not is_voice(sound)


def test_the_network_computes_on_one_thread_whatever_torch_may_use(monkeypatch):
    seen: list[int] = []

    class Network:
        def audio_forward(self, wave: torch.Tensor, _: int) -> torch.Tensor:
            seen.append(torch.get_num_threads())
            return torch.zeros(1, wave.shape[1] // FRAME)

    monkeypatch.setattr(voice_activity, "_network", Network)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        speech_probability(NOISE)
        assert (seen, torch.get_num_threads()) == ([1], 2)
    finally:
        torch.set_num_threads(before)


def test_probabilities_are_of_frames_and_the_same_from_several_threads_at_once():
    sounds = [SPEECH[0], NOISE] * 4
    alone = [speech_probability(sound) for sound in sounds[:2]]
    assert [len(one) for one in alone] == [-(-len(sound) // FRAME) for sound in sounds[:2]]
    assert alone[0].max() > 0.9
    assert alone[1].max() < 0.1
    with ThreadPoolExecutor(4) as pool:
        for n, found in enumerate(pool.map(speech_probability, sounds)):
            np.testing.assert_array_equal(found, alone[n % 2])


def test_it_changes_no_setting_of_torch_and_loads_nothing_that_reads_files():
    code = (
        "import sys, torch, numpy as np; torch.set_num_threads(3);"
        "from ser_fewshot.audio.voice_activity import speech_probability; print('silero_vad' in sys.modules);"
        "speech_probability(np.zeros(4_000, dtype=np.float32));"
        "print(torch.get_num_threads(), sorted({'torchaudio', 'torchcodec', 'onnxruntime'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["False", "3 []"]
