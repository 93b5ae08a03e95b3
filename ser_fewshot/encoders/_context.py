"""A small convolutional network whose every layer knows the whole clip, made to be taught by a larger encoder."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ser_fewshot._acoustics import RANGE, level
from ser_fewshot.encoders._base import Encoder, EncoderSettings
from ser_fewshot.encoders._description import SMALLEST_SPREAD
from ser_fewshot.encoders._statistics import Statistics, moments
from ser_fewshot.frontends import Features

STRIDE = 4
"""Frames of the front-end that become one of the network."""


class Context(Encoder):
    """Log-mel frames, however loud, through residual convolutions that are gated by what the clip is like as a whole.

    The gates are those of Hu et al., "Squeeze-and-excitation networks", 2018, https://arxiv.org/abs/1709.01507, in a
    network over time, as in Han et al., "ContextNet", 2020, https://arxiv.org/abs/2005.03191; here they see spread
    over time as well as mean. A level that one microphone sets and another does not is taken off first: a clip and the
    same clip at another gain have one embedding.
    """

    band_mean: Tensor
    band_scale: Tensor

    def __init__(self, dim: int, settings: EncoderSettings) -> None:
        super().__init__()
        channels = settings.channels
        self.channels = channels
        self.statistics = Statistics(dim) if settings.functionals else None
        beside = 0 if self.statistics is None else self.statistics.width
        self.width = settings.width + beside
        self._ratio = settings.functionals * math.sqrt(settings.width / max(beside, 1))
        self.register_buffer("band_mean", torch.zeros(dim))
        self.register_buffer("band_scale", torch.ones(dim))
        self.enter = nn.Conv1d(dim, channels, kernel_size=5, stride=2, padding=2)
        self.halve = nn.Conv1d(channels, channels, kernel_size=3, stride=2, padding=1)
        self.layers = nn.ModuleList(_Layer(channels) for _ in range(settings.blocks))
        self.norm = nn.LayerNorm(channels)
        self.project = nn.Linear(2 * channels, settings.width)

    def fit_scale(self, features: Features, y: Tensor | None = None) -> None:
        """Measure mean and spread of each band, and of the functionals, over (batch, frames, dim) at one level."""
        at_level = levelled(features)
        if self.statistics is not None:
            self.statistics.fit_scale(at_level)
        frames = at_level.x[at_level.mask]
        self.band_mean.copy_(frames.mean(0))
        self.band_scale.copy_(frames.std(0, correction=0).clamp_min(SMALLEST_SPREAD))

    def frames(self, features: Features) -> tuple[Tensor, Tensor]:
        """(batch, frames, dim) -> (batch, frames / STRIDE, channels), and which of these belong to a clip."""
        return self._frames(levelled(features))

    def _frames(self, at_level: Features) -> tuple[Tensor, Tensor]:
        mask = at_level.mask
        x = (at_level.x - self.band_mean) / self.band_scale * mask[..., None]
        mask = mask[:, ::2]
        x = nn.functional.gelu(self.enter(x.mT)) * mask[:, None]
        mask = mask[:, ::2]
        x = nn.functional.gelu(self.halve(x)).mT
        for layer in self.layers:
            x = layer(x, mask)
        return self.norm(x), mask

    def pooled(self, frames: Tensor, mask: Tensor) -> Tensor:
        """(batch, frames, channels), mask (batch, frames) -> what a teacher would say of clips, (batch, ...)."""
        described: Tensor = self.project(torch.cat(moments(frames, mask), 1))
        return described

    def forward(self, features: Features) -> Tensor:
        """(batch, frames, dim) -> (batch, width)."""
        at_level = levelled(features)
        seen = self.pooled(*self._frames(at_level))
        if self.statistics is None:
            return seen
        return torch.cat([seen, self._ratio * self.statistics(at_level)], 1)


class _Layer(nn.Module):
    """Convolution over time, a gate on every channel, and two layers on each frame; residual."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.conv = nn.Conv1d(channels, channels, kernel_size=5, padding=2)
        self.gate = nn.Linear(2 * channels, channels)
        self.widen = nn.Linear(channels, 2 * channels)
        self.narrow = nn.Linear(2 * channels, channels)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """x (batch, frames, channels), mask (batch, frames) -> (batch, frames, channels)."""
        y = self.norm(x) * mask[..., None]
        y = nn.functional.gelu(self.conv(y.mT)).mT
        y = y * self.gate(torch.cat(moments(y, mask), 1)).sigmoid()[:, None]
        out: Tensor = x + self.narrow(nn.functional.gelu(self.widen(y)))
        return out


def levelled(features: Features) -> Features:
    """(batch, frames, dim) -> the same relative to each clip's level, and not below what counts as silence in it."""
    x = (features.x - level(features.x, features.mask)[:, None, None]).clamp_min(-RANGE)
    return Features(x * features.mask[..., None], features.lengths)
