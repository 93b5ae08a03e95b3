"""Variations of log-mel frames in training: what a voice does not lose when the microphone or the room changes.

Adding to a log-mel band is filtering, so gain and tone are sums here and cost nothing. Masks after Park et al.,
"SpecAugment", 2019, https://arxiv.org/abs/1904.08779.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from ser_fewshot.audio.acoustics import NEPERS_PER_DB, random_band, random_noise, random_room
from ser_fewshot.errors import SettingsError
from ser_fewshot.frontends import Features, stack

FRAMES_PER_SECOND = 100
"""Of log-mel frames at their usual hop of 10 ms."""

_MOST_TEMPO = 0.5
_MOST_DB = 40.0
_MOST_SECONDS = 3600.0
_ONE, _THREE = partial(torch.rand, ()), partial(torch.rand, 3)
_DRAWS: tuple[Callable[..., Tensor], ...] = (
    *(_ONE, _ONE),  # speed and start
    *(partial(torch.randn, ()), partial(torch.randn, 3), _THREE),  # gain, height and phase
    *(_ONE, _ONE, _ONE, _ONE),  # masks
)
"""What `_vary` draws of a clip, in its order, where there are no rooms, noises or telephones."""


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """How far training clips are varied; every value 0 but `max_seconds` means not at all.

    Attributes:
        max_seconds: longest part of a clip that is used, s (at 100 frames a second); a random one is cut out.
        gain: standard deviation of a change of level, dB.
        tone: standard deviation of each of three slow waves over the bands, dB: other microphones and rooms.
        tempo: largest change of speed, as a share.
        masked_bands, masked_frames: most of them set to the clip's mean, as a share.
        rooms, noises, telephones: share of the clips that are put in a room, before a background, behind a narrow band.
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
        for name, least, most in (
            ("max_seconds", 1 / FRAMES_PER_SECOND, _MOST_SECONDS),
            ("gain", 0.0, _MOST_DB),
            ("tone", 0.0, _MOST_DB),
            ("tempo", 0.0, _MOST_TEMPO),
            ("masked_bands", 0.0, 1.0),
            ("masked_frames", 0.0, 1.0),
            ("rooms", 0.0, 1.0),
            ("noises", 0.0, 1.0),
            ("telephones", 0.0, 1.0),
        ):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
                raise SettingsError(
                    f"augmentation, {name}",
                    found=repr(value),
                    expected=f"a number from {least:g} to {most:g}",
                    remedy="Change it; a value of 0 switches a variation off, a large max_seconds the cutting.",
                )


UNVARIED = Augmentation(max_seconds=_MOST_SECONDS, gain=0.0, tone=0.0, tempo=0.0, masked_bands=0.0, masked_frames=0.0)
"""Clips as they are."""


def augment(
    clips: Sequence[Tensor], settings: Augmentation, generator: torch.Generator, *, own: Collection[int] | None = None
) -> Features:
    """Vary clips of (frames, dim) each, every one by itself, and pad them to a batch.

    Args:
        clips: of one task, or of one batch.
        settings: how far.
        generator: what the variations are drawn from.
        own: the places of the clips to return, at least one; None is all. The others are passed over.
    """
    varied = []
    for place, clip in enumerate(clips):
        if own is None or place in own:
            varied.append(_vary(clip, settings, generator))
        else:
            pass_over([clip], settings, generator)
    return stack(varied)


def pass_over(clips: Sequence[Tensor], settings: Augmentation, generator: torch.Generator) -> None:
    """Leave the generator as varying the clips would, for a fraction of the work: another process varies them."""
    if settings.rooms or settings.noises or settings.telephones:  # how much is drawn depends on what was
        for clip in clips:
            _vary(clip, settings, generator)
        return
    for _ in clips:
        for draw in _DRAWS:
            draw(generator=generator)


def _vary(clip: Tensor, settings: Augmentation, generator: torch.Generator) -> Tensor:
    def uniform(low: float, high: float) -> float:
        return low + (high - low) * float(torch.rand((), generator=generator))

    speed = uniform(1 - settings.tempo, 1 + settings.tempo)
    n_frames = max(int(len(clip) / speed), 1)
    length = min(n_frames, round(settings.max_seconds * FRAMES_PER_SECOND))
    start = int(uniform(0, n_frames - length + 1))
    rows = ((start + torch.arange(length)) * speed).long()  # of the clip, at most its last: n_frames is rounded down
    varied = clip[rows]
    if settings.rooms and uniform(0, 1) < settings.rooms:
        varied = random_room(varied, generator)
    varied = varied + _filter(clip.shape[1], settings, generator)
    if settings.noises and uniform(0, 1) < settings.noises:
        varied = random_noise(varied, generator)
    if settings.telephones and uniform(0, 1) < settings.telephones:
        varied = random_band(varied, generator)
    mean = varied.mean(0)
    bands = int(uniform(0, settings.masked_bands) * varied.shape[1])
    first = int(uniform(0, varied.shape[1] - bands + 1))
    varied[:, first : first + bands] = mean[first : first + bands]
    frames = int(uniform(0, settings.masked_frames) * length)
    first = int(uniform(0, length - frames + 1))
    varied[first : first + frames] = mean
    return varied


def _filter(dim: int, settings: Augmentation, generator: torch.Generator) -> Tensor:
    """(dim,) a random smooth frequency response, in the front-end's units."""
    gain = settings.gain * torch.randn((), generator=generator)
    height = settings.tone * torch.randn(3, generator=generator)
    phase = 2 * math.pi * torch.rand(3, generator=generator)
    turns = torch.tensor([0.5, 1.0, 1.5]) * 2 * math.pi / dim
    waves = torch.cos(torch.arange(dim)[:, None] * turns + phase)  # (dim, 3)
    return (gain + waves @ height) * NEPERS_PER_DB
