"""Rooms, background noise and telephone bands, approximated on log-mel frames for augmentation.

All of it is on power, which adds up where sounds do not correlate. Powers are natural logarithms, (frames, bands).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

NEPERS_PER_DB = math.log(10) / 10  # of power: the front-end's logarithm is natural
RANGE = 14.0
"""Nepers of power, 61 dB, from the level of a clip down to silence."""

_TELEPHONE = (0.13, 0.66)  # the lowest and highest band of a telephone, as shares of 80 mel bands: 300 and 3,400 Hz
_FLUTTER = 3.0  # shape of the gamma distribution of a noise's power in a band and a frame
_BENDS = ((1.0, 0.7), (2.0, 0.4))  # periods over all bands, and height in nepers, of what shapes a noise


def level(x: Tensor, mask: Tensor | None = None) -> Tensor:
    """Log power x (..., frames, bands), mask (..., frames) -> the logarithm of the mean power of a clip, (...)."""
    frames = x.logsumexp(-1)
    if mask is None:
        return frames.logsumexp(-1) - math.log(x.shape[-2])
    return frames.masked_fill(~mask, -torch.inf).logsumexp(-1) - mask.sum(-1).log()


def reverberated(x: Tensor, *, decay: float, direct: float) -> Tensor:
    """Add the reverberation of each frame to those after it, (frames, bands) -> the same.

    Args:
        x: log power.
        decay: frames until the power has fallen by 60 dB.
        direct: dB by which the direct sound is stronger than all of its echoes.
    """
    n = max(1, min(round(decay), len(x)))
    echoes = torch.exp(-60 * NEPERS_PER_DB / decay * torch.arange(1, n + 1, dtype=x.dtype))
    echoes = echoes / echoes.sum() * 10 ** (-direct / 10)
    kernel = torch.cat([x.new_ones(1), echoes]).flip(0)[None, None]
    power = nn.functional.pad(x.exp().T[:, None], (n, 0))  # (bands, 1, n + frames)
    return nn.functional.conv1d(power, kernel)[:, 0].T.clamp_min(math.exp(-30)).log()


def noisy(x: Tensor, *, snr: float, tilt: float, generator: torch.Generator) -> Tensor:
    """Add a steady noise of random colour, (frames, bands) -> the same.

    Args:
        x: log power.
        snr: dB by which the clip is stronger.
        tilt: nepers from the lowest band of the noise to the highest.
        generator: of the noise.
    """
    place = torch.arange(x.shape[1]) / x.shape[1]
    colour = tilt * place
    for periods, height in _BENDS:
        phase = 2 * math.pi * torch.rand((), generator=generator)
        colour = colour + height * torch.cos(2 * math.pi * periods * place + phase)
    # The power of a band is a sum of squares; Wilson and Hilferty's cube root of a normal value is its distribution.
    normal = torch.randn(x.shape, generator=generator)
    flutter = (1 - 1 / (9 * _FLUTTER) + normal / (3 * math.sqrt(_FLUTTER))).clamp_min(0.1).log() * 3
    noise = colour - colour.logsumexp(0) + level(x) - snr * NEPERS_PER_DB
    return torch.logaddexp(x, noise + flutter)


def band_limited(x: Tensor, *, low: float, high: float) -> Tensor:
    """Silence the bands below and above, as shares of all of them, (frames, bands) -> the same."""
    place = (torch.arange(x.shape[1]) + 0.5) / x.shape[1]
    return torch.where((place < low) | (place > high), level(x) - RANGE, x)


def random_room(x: Tensor, generator: torch.Generator) -> Tensor:
    """Put a clip in a room that takes 0.1 to 0.7 s to fall silent (at 100 frames a second)."""
    return reverberated(x, decay=_uniform(10, 70, generator), direct=_uniform(-3, 10, generator))


def random_noise(x: Tensor, generator: torch.Generator) -> Tensor:
    """Put a noise 3 to 30 dB below a clip."""
    snr, tilt = _uniform(3, 30, generator), _uniform(-4, 2, generator)
    return noisy(x, snr=snr, tilt=tilt, generator=generator)


def random_band(x: Tensor, generator: torch.Generator) -> Tensor:
    """Limit a clip to the band of a telephone, or of any better codec."""
    low, high = _TELEPHONE
    return band_limited(x, low=_uniform(0, low, generator), high=_uniform(high, 1, generator))


def _uniform(low: float, high: float, generator: torch.Generator) -> float:
    return low + (high - low) * float(torch.rand((), generator=generator))
