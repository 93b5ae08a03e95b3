"""Augmentation of log-mel frames in training: level, filter, speed, masks, rooms, noise and telephones.

Adding a constant to a log-mel band is filtering. Masks after Park et al., "SpecAugment", 2019,
https://arxiv.org/abs/1904.08779.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from ser_fewshot.audio.acoustics import NEPERS_PER_DB, random_band, random_noise, random_room
from ser_fewshot.frontends import Features, stack
from ser_fewshot.settings import require

FRAMES_PER_SECOND = 100
"""At the usual hop of 10 ms."""

_MOST_TEMPO = 0.5
_MOST_DB = 40.0
_MOST_SECONDS = 3600.0
_ONE, _THREE = partial(torch.rand, ()), partial(torch.rand, 3)
_DRAWS: tuple[Callable[..., Tensor], ...] = (
    *(_ONE, _ONE),  # speed and start
    *(partial(torch.randn, ()), partial(torch.randn, 3), _THREE),  # gain, height and phase
    *(_ONE, _ONE, _ONE, _ONE),  # masks
)
"""The draws of `_augmented` for a clip, in order, without rooms, noises and telephones."""


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """How training clips are augmented; 0 switches an augmentation off.

    Attributes:
        max_seconds: length of the random part of a clip that is used, s (at 100 frames a second).
        gain: standard deviation of the change of level, dB.
        tone: standard deviation of each of three slow waves over the bands, dB: a random filter.
        tempo: largest relative change of speed.
        masked_bands, masked_frames: largest share set to the clip's mean.
        rooms, noises, telephones: share of clips with reverberation, background noise, a narrow band.
    """

    max_seconds: float = 3.0
    gain: float = 3.0
    tone: float = 2.0
    tempo: float = 0.1
    masked_bands: float = 0.1
    masked_frames: float = 0.1
    rooms: float = 0.0
    noises: float = 0.0
    telephones: float = 0.0

    def __post_init__(self) -> None:
        largest = {"max_seconds": _MOST_SECONDS, "gain": _MOST_DB, "tone": _MOST_DB, "tempo": _MOST_TEMPO}
        for name, value in vars(self).items():
            least, most = 1 / FRAMES_PER_SECOND if name == "max_seconds" else 0.0, largest.get(name, 1.0)
            require(
                isinstance(value, int | float) and not isinstance(value, bool) and least <= value <= most,
                f"augmentation, {name}",
                found=repr(value),
                expected=f"a number from {least:g} to {most:g}",
                remedy="Change it; a value of 0 switches a variation off, a large max_seconds the cutting.",
            )


NO_AUGMENTATION = Augmentation(
    max_seconds=_MOST_SECONDS, gain=0.0, tone=0.0, tempo=0.0, masked_bands=0.0, masked_frames=0.0
)


def augment(
    clips: Sequence[Tensor], settings: Augmentation, generator: torch.Generator, *, own: Collection[int] | None = None
) -> Features:
    """Augment clips of (frames, dim) independently, and pad them to a batch.

    `own` are the numbers of the clips to return, at least one, by default all; the others are skipped.
    """
    augmented = []
    for number, clip in enumerate(clips):
        if own is None or number in own:
            augmented.append(_augmented(clip, settings, generator))
        else:
            skip([clip], settings, generator)
    return stack(augmented)


def skip(clips: Sequence[Tensor], settings: Augmentation, generator: torch.Generator) -> None:
    """Advance the generator as augmenting the clips would: another process augments them."""
    for clip in clips:
        if settings.rooms or settings.noises or settings.telephones:  # the number of draws depends on their values
            _augmented(clip, settings, generator)
        else:
            for draw in _DRAWS:
                draw(generator=generator)


def _augmented(clip: Tensor, settings: Augmentation, generator: torch.Generator) -> Tensor:
    def uniform(low: float, high: float) -> float:
        return low + (high - low) * float(torch.rand((), generator=generator))

    speed = uniform(1 - settings.tempo, 1 + settings.tempo)
    n_frames = max(int(len(clip) / speed), 1)
    length = min(n_frames, round(settings.max_seconds * FRAMES_PER_SECOND))
    start = int(uniform(0, n_frames - length + 1))
    rows = ((start + torch.arange(length)) * speed).long()
    x = clip[rows]
    if settings.rooms and uniform(0, 1) < settings.rooms:
        x = random_room(x, generator)
    x = x + _filter(clip.shape[1], settings, generator)
    if settings.noises and uniform(0, 1) < settings.noises:
        x = random_noise(x, generator)
    if settings.telephones and uniform(0, 1) < settings.telephones:
        x = random_band(x, generator)
    mean = x.mean(0)
    bands = int(uniform(0, settings.masked_bands) * x.shape[1])
    first = int(uniform(0, x.shape[1] - bands + 1))
    x[:, first : first + bands] = mean[first : first + bands]
    frames = int(uniform(0, settings.masked_frames) * length)
    first = int(uniform(0, length - frames + 1))
    x[first : first + frames] = mean
    return x


def _filter(dim: int, settings: Augmentation, generator: torch.Generator) -> Tensor:
    """Return a random smooth frequency response, (dim,), in the front-end's units."""
    gain = settings.gain * torch.randn((), generator=generator)
    height = settings.tone * torch.randn(3, generator=generator)
    phase = 2 * math.pi * torch.rand(3, generator=generator)
    turns = torch.tensor([0.5, 1.0, 1.5]) * 2 * math.pi / dim
    waves = torch.cos(torch.arange(dim)[:, None] * turns + phase)  # (dim, 3)
    return (gain + waves @ height) * NEPERS_PER_DB
