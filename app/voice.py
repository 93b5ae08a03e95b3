"""Whether a sound is a voice, and how far it stands out from its background, from a few lines of acoustics.

It tells speech from noise, hum and beeps, not from singing or music, and it only ever warns: a whisper has no pitch.
Of 60 clips each of EmoDB, RAVDESS, ASED and Urdu, and 80 synthetic ones, none is called no speech, and six, recorded
from television, noisy. With white or pink noise 5 dB below the voice, 89 % are called noisy and 4 % no speech.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ser_fewshot.audio import SAMPLE_RATE

NOISY_BELOW = 15.0  # dB

_FRAME, _HOP = 640, 160  # samples: 40 ms hold three periods of the lowest voice; a frame every 10 ms
_LONG = 2048  # of the Fourier transform: no lag of a frame wraps around
_LAGS = slice(SAMPLE_RATE // 500, SAMPLE_RATE // 70)  # of a voice between 500 and 70 Hz
_PERIODIC = 0.6  # of the autocorrelation at the pitch
_LEAST_VOICED = 0.15  # of the loud frames
_LOUD = 25.0  # dB below the loudest frame
_LEAST_SWING = 5.0  # dB: syllables rise and fall
_PURE = 0.98  # share of the power within one band of _BAND bins: a beep
_BAND = 17  # bins of 7.8 Hz: the width that the window gives a pure tone
_FLOOR = 1e-10  # of power, -100 dBFS

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Voice:
    """What a sound is like.

    Attributes:
        swing: dB from its background to its loudest parts: the 10th and 95th percentile of the level.
        voiced: share of the loud frames with a pitch of a voice, in [0, 1].
        purity: share of the power in the strongest band of a typical loud frame, in [0, 1].
    """

    swing: float
    voiced: float
    purity: float

    @property
    def is_speech(self) -> bool:
        """Whether it is likely to be speech."""
        return self.voiced >= _LEAST_VOICED and self.swing >= _LEAST_SWING and self.purity < _PURE

    @property
    def is_noisy(self) -> bool:
        """Whether the background is loud."""
        return self.swing < NOISY_BELOW


def voice_of(waveform: NDArray[np.float32]) -> Voice:
    """Measure a sound of (samples,) at SAMPLE_RATE, with the silence around it: that is its background."""
    padded = np.pad(waveform, (0, max(0, _FRAME - len(waveform))))
    frames = np.lib.stride_tricks.sliding_window_view(padded, _FRAME)[::_HOP].astype(np.float64)
    frames = frames - frames.mean(1, keepdims=True)  # (n, _FRAME)
    level = 10 * np.log10((frames**2).mean(1) + _FLOOR)
    loud = level > level.max() - _LOUD
    low, high = np.percentile(level, [10, 95])
    power = np.abs(np.fft.rfft(frames[loud] * np.hanning(_FRAME), _LONG)) ** 2  # (n_loud, bins)
    return Voice(
        swing=float(high - low),
        voiced=float((_periodicity(power) > _PERIODIC).mean()),
        purity=float(np.median(_purity(power))),
    )


def _periodicity(power: Array) -> Array:
    """(n, bins) power -> (n,) the largest autocorrelation at the period of a voice, 1 for what repeats exactly.

    The window's own autocorrelation is divided out: Boersma, "Accurate short-term analysis of the fundamental
    frequency", 1993, https://www.fon.hum.uva.nl/paul/papers/Proceedings_1993.pdf.
    """
    window = np.fft.irfft(np.abs(np.fft.rfft(np.hanning(_FRAME), _LONG)) ** 2)[_LAGS]
    zero = (np.hanning(_FRAME) ** 2).sum()
    lags = np.fft.irfft(power, _LONG)
    return np.asarray((lags[:, _LAGS] / (window / zero)).max(1) / np.maximum(lags[:, 0], _FLOOR))


def _purity(power: Array) -> Array:
    """(n, bins) power -> (n,) share of the strongest band."""
    sums = np.pad(power.cumsum(1), ((0, 0), (1, 0)))
    return np.asarray((sums[:, _BAND:] - sums[:, :-_BAND]).max(1) / np.maximum(sums[:, -1], _FLOOR))
