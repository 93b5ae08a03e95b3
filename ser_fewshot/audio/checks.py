"""Checks of samples: values, length, level and clipping."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ser_fewshot.audio.decode import AGAIN, Seconds
from ser_fewshot.audio.source import Hertz
from ser_fewshot.errors import AudioError, SilentError, TooShortError

SAMPLE_RATE: Hertz = 16_000
MIN_SECONDS: Seconds = 0.1
"""As short as single words and vocal bursts of published corpora."""
SHORT_SECONDS: Seconds = 0.3
"""Less is used with a warning."""
_SILENCE = 10 ** (-60 / 20)  # -60 dBFS, of half the distance from the lowest to the highest sample
_FLOAT_PEAK = 10.0  # floats may be 20 dB too loud; beyond that they are integers that were not divided
_CLIP_LEVEL = 0.99  # below 127/128, the highest code of 8-bit sound


def check_values(name: str, block: NDArray[Any]) -> None:
    """Refuse NaN, infinite and far too large samples, in a block of (frames, channels)."""
    bad = np.count_nonzero(~np.isfinite(block))
    if bad:
        raise AudioError(name, found=f"{bad} NaN or infinite samples", expected="finite samples", remedy=AGAIN)
    peak = float(np.abs(block).max(initial=0))
    if peak > _FLOAT_PEAK:
        raise AudioError(
            name,
            found=f"floating-point samples up to {peak:g}",
            expected="samples between -1 and 1",
            remedy="Divide them by their full scale, which is 32768 for 16-bit sound.",
        )


def is_clipped(block: NDArray[Any]) -> bool:
    """Whether a block of (frames, channels) exceeds full scale, or stands still there for four samples."""
    still = (block[1:] == block[:-1]) & (np.abs(block[1:]) >= _CLIP_LEVEL)
    return bool((still[2:] & still[1:-1] & still[:-2]).any() or np.abs(block).max(initial=0) > 1)


def check_duration(name: str, seconds: Seconds, what: str) -> None:
    """Refuse a sound of fewer seconds than MIN_SECONDS."""
    if round(seconds * SAMPLE_RATE) < round(MIN_SECONDS * SAMPLE_RATE):
        raise TooShortError(
            name,
            found=f"{seconds:.{2 if seconds < MIN_SECONDS - 0.005 else 4}f} s {what}",
            expected=f"at least {MIN_SECONDS:g} s",
            remedy="Record again, and speak a little longer.",
        )


def check_sound(name: str, waveform: NDArray[np.float32], swing: float) -> None:
    """Refuse silence; `swing` is that of the loudest of several channels before they were mixed."""
    level, expected = float(np.ptp(waveform)) / 2, f"sound above {_SILENCE:g} of full scale"
    if level < _SILENCE <= swing:
        found = "channels that cancel each other out"
        raise AudioError(name, found=found, expected=expected, remedy="Pass one channel alone.")
    if level < _SILENCE:
        remedy = "Check the microphone, and record again closer to it."
        raise SilentError(name, found=f"silence (a level of {level:.1g})", expected=expected, remedy=remedy)
