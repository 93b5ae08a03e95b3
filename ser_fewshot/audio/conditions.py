"""Recording conditions, simulated on waveforms to augment a support: background noise, a small room, the telephone.

What is random is drawn from the duration of a clip: the same clip always gives the same result, one whose samples were
rounded or scaled has the same noise and room, and clips differ from each other, for one noise in all clips of a support
helps less against the noise of a query. Import it where it is used: it loads torchaudio, which recognising a clip does
without.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchaudio import functional

from ser_fewshot.audio.checks import SAMPLE_RATE
from ser_fewshot.audio.clip import TRIM_DB

Condition = Literal["noise", "room", "telephone"]

CONDITIONS_VERSION = 2
"""To be raised when the same clip comes out differently: caches are keyed by it."""

_SNR_DB = (5.0, 15.0)
_PAUSE = (0.3, 1.0)  # s of noise before and after the speech, as trimming keeps them: what costs most in noise
_COLOUR = (0.0, 0.98)  # of the one-pole low-pass: from white noise to red
_SOFT = 0.01  # of full scale, at which torchaudio's filters would clip
_RT60 = (0.2, 0.6)  # s
_DIRECT_DB = (-6.0, 6.0)  # by which the direct sound is stronger than all of its echoes
_TELEPHONE = 8_000  # Hz
_BAND = (300.0, 3_400.0)  # Hz
_STEPS = 100  # a second: durations that differ by less draw the same
_FAST = 2_048  # samples: Fourier transforms of other lengths than its multiples may take ten times as long


def simulate(condition: Condition, waveform: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return a clip without silence at its ends, (samples,), as recorded under a condition, (other samples,)."""
    drawn = hashlib.sha256(f"{condition} {_STEPS * len(waveform) // SAMPLE_RATE}".encode()).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(drawn[:7]))
    found: NDArray[np.float32] = CONDITIONS[condition](torch.from_numpy(waveform), generator).numpy()
    return found


def _noisy(wave: Tensor, generator: torch.Generator) -> Tensor:
    """Add stationary noise, which goes on before and after the speech."""
    snr = _uniform(_SNR_DB, generator)
    before, after = (round(_uniform(_PAUSE, generator) * SAMPLE_RATE) for _ in range(2))
    white = _SOFT * torch.randn(before + len(wave) + after, generator=generator)
    noise = functional.deemphasis(white, _uniform(_COLOUR, generator))
    padded = torch.nn.functional.pad(wave, (0, before + after))
    # The ratio is that within the first samples; then the speech is moved to its place, which stationary noise permits.
    loud: Tensor = functional.add_noise(padded, noise, torch.tensor(snr), torch.tensor(len(wave)))
    return loud.roll(before)


def _in_a_room(wave: Tensor, generator: torch.Generator) -> Tensor:
    """Add echoes that decay exponentially, up to the level at which silence is trimmed."""
    rt60, direct = _uniform(_RT60, generator), _uniform(_DIRECT_DB, generator)
    seconds = torch.arange(1, round(rt60 * TRIM_DB / 60 * SAMPLE_RATE)) / SAMPLE_RATE
    echoes = torch.randn(len(seconds), generator=generator) * 10 ** (-3 * seconds / rt60)
    response = torch.cat([torch.ones(1), echoes / echoes.norm() * 10 ** (-direct / 20)])
    length = len(wave) + len(response) - 1
    padded = torch.nn.functional.pad(wave, (0, -length % _FAST))
    echoing: Tensor = functional.fftconvolve(padded, response / response.norm())
    return echoing[:length]


def _by_telephone(wave: Tensor, _: torch.Generator) -> Tensor:
    """Limit a clip to the band of a telephone."""
    narrow = functional.resample(wave, SAMPLE_RATE, _TELEPHONE)
    narrow = functional.highpass_biquad(functional.lowpass_biquad(narrow, _TELEPHONE, _BAND[1]), _TELEPHONE, _BAND[0])
    wide: Tensor = functional.resample(narrow, _TELEPHONE, SAMPLE_RATE)
    return wide


CONDITIONS: dict[Condition, Callable[[Tensor, torch.Generator], Tensor]] = {
    "noise": _noisy,
    "room": _in_a_room,
    "telephone": _by_telephone,
}
"""Condition -> a function of a clip (samples,) and a generator."""


def _uniform(between: tuple[float, float], generator: torch.Generator) -> float:
    low, high = between
    return low + (high - low) * float(torch.rand((), generator=generator))
