"""Voice activity: which parts of a sound are a voice, by the network of silero-vad, whose weights are in its wheel.

Import it where it is used: recognising a clip does without it. What it gets right and wrong is measured by
recipes/voice_activity.py. Silero Team, "Silero VAD", https://github.com/snakers4/silero-vad.
"""

from __future__ import annotations

import threading
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ser_fewshot.audio.checks import SAMPLE_RATE
from ser_fewshot.compute.threads import small_work

FRAME = 512
"""Samples at SAMPLE_RATE to which one probability belongs: 32 ms."""

_THRESHOLD = 0.2  # the network's own is 0.5, which misses laughter and shouts
_PEAK = 0.25  # the level does not matter, then, and the strokes of a keyboard are told from a voice
_PAUSE = SAMPLE_RATE // 2  # samples of silence before a clip: a short voice that begins at once is missed
_STEADY = 3.0  # dB: hum and noise; speech changes more, even in as much noise as speech
_FLOOR = 1e-10  # of power, -100 dBFS
_LOCK = threading.Lock()  # the network keeps its state between frames


@small_work()  # frame after frame: two threads wait for each other, on a busy machine for seconds
def speech_probability(waveform: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return how probable speech is in each frame: (samples,) at SAMPLE_RATE -> (n_frames,) in [0, 1]."""
    with _LOCK:
        frames = _network().audio_forward(torch.from_numpy(waveform)[None], SAMPLE_RATE)
    return np.asarray(frames[0].numpy())


def is_voice(waveform: NDArray[np.float32]) -> bool:
    """Return whether a clip of (samples,) at SAMPLE_RATE holds a voice, be it for one frame."""
    if signal_to_background(waveform) < _STEADY:
        return False
    levelled = waveform * (_PEAK / np.abs(waveform).max())
    return bool(speech_probability(np.pad(levelled, (_PAUSE, 0))).max() >= _THRESHOLD)


def signal_to_background(waveform: NDArray[np.float32]) -> float:
    """Return the dB from the background to the loud parts: from the 10th to the 95th percentile of the level of frames.

    Args:
        waveform: (samples,) at SAMPLE_RATE, with the silence around it: that is its background.
    """
    frames = np.pad(waveform, (0, -len(waveform) % FRAME)).reshape(-1, FRAME)
    quiet, loud = np.percentile(10 * np.log10(frames.var(1) + _FLOOR), [10, 95])
    return float(loud - quiet)


@cache
def _network() -> Any:
    threads = torch.get_num_threads()
    import silero_vad  # noqa: PLC0415 - it sets one thread for all of torch, and is slow to import

    torch.set_num_threads(threads)
    return silero_vad.load_silero_vad()
