"""Encoders that learn: fixed functionals beside what a small network sees."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ser_fewshot.encoders._base import Encoder, EncoderSettings
from ser_fewshot.encoders._description import SMALLEST_SPREAD, Description, Given
from ser_fewshot.encoders._statistics import Statistics, moments
from ser_fewshot.frontends import Features


def describe(dim: int, settings: EncoderSettings) -> Description:
    """Return what describes a clip without a network: functionals of its frames, or what the front-end made of it."""
    if settings.pooled:
        return Given(dim, layers=settings.layers, whitening=settings.whitening)
    return Statistics(dim, whitening=settings.whitening)


class _Learned(Encoder):
    """The fixed functionals, each with a learned weight, beside a part that a network makes.

    Training begins close to the functionals alone (the learned part starts small), a description that already works on
    languages nobody trained on, and moves away from it only as far as it is asked to.
    """

    def __init__(self, dim: int, settings: EncoderSettings) -> None:
        super().__init__()
        self.statistics = describe(dim, settings)
        self.width = self.statistics.width + settings.width
        self.weight = nn.Parameter(torch.zeros(self.statistics.width))  # logarithm of each functional's weight
        # Small but not zero: distances hold the square of the gate, whose slope at zero is nothing.
        self.gate = nn.Parameter(torch.tensor(0.3))

    def fit_scale(self, features: Features, y: Tensor | None = None) -> None:
        """Measure the scale of the functionals over (batch, frames, dim)."""
        self.statistics.fit_scale(features, y)

    def _beside(self, fixed: Tensor, learned: Tensor) -> Tensor:
        """fixed (batch, functionals), learned (batch, width) -> (batch, functionals + width)."""
        # Scaled so that, with the gate at 1, the learned part weighs as much in a distance as the functionals do.
        ratio = math.sqrt(fixed.shape[1] / learned.shape[1])
        return torch.cat([fixed * self.weight.exp(), ratio * self.gate * learned], dim=1)


class Dense(_Learned):
    """Beside the functionals, what residual layers make of them: cheap to train, and cheaper to adapt."""

    def __init__(self, dim: int, settings: EncoderSettings) -> None:
        super().__init__(dim, settings)
        self.enter = nn.Linear(self.statistics.width, settings.channels)
        self.layers = nn.ModuleList(_DenseBlock(settings.channels, settings.dropout) for _ in range(settings.blocks))
        self.norm = nn.LayerNorm(settings.channels)
        self.project = nn.Linear(settings.channels, settings.width)

    def prepare(self, features: Features) -> Features:
        """(batch, frames, dim) -> (batch, functionals); what is prepared already comes back as it is."""
        return self.statistics.prepare(features)

    def forward(self, features: Features) -> Tensor:
        """(batch, frames, dim) or (batch, functionals) -> (batch, functionals + width)."""
        fixed = self.statistics(features)
        x = self.enter(fixed)  # (batch, channels)
        for layer in self.layers:
            x = layer(x)
        return self._beside(fixed, self.project(self.norm(x)))


class _DenseBlock(nn.Module):
    """A residual layer, normalised over its channels."""

    def __init__(self, n: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(n)
        self.linear = nn.Linear(n, n)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, n) -> (batch, n)."""
        y: Tensor = x + self.dropout(nn.functional.gelu(self.linear(self.norm(x))))
        return y


class Conv(_Learned):
    """Beside the functionals, what a small convolutional network sees in the frames.

    Layers are normalised over the channels of one frame, never over a batch or over padding: Ba et al., "Layer
    normalization", 2016, https://arxiv.org/abs/1607.06450.
    """

    frame_mean: Tensor
    frame_scale: Tensor

    def __init__(self, dim: int, settings: EncoderSettings) -> None:
        super().__init__(dim, settings)
        self.register_buffer("frame_mean", torch.zeros(dim))
        self.register_buffer("frame_scale", torch.ones(dim))
        channels = settings.channels
        strides = (2, 2) + (1,) * settings.blocks
        inputs = (dim,) + (channels,) * (len(strides) - 1)
        self.layers = nn.ModuleList(
            _ConvBlock(n_in, channels, stride=stride, dropout=settings.dropout)
            for n_in, stride in zip(inputs, strides, strict=True)
        )
        self.norm = nn.LayerNorm(2 * channels + self.statistics.width)
        self.dropout = nn.Dropout(settings.dropout)
        self.project = nn.Linear(2 * channels + self.statistics.width, settings.width)

    def fit_scale(self, features: Features, y: Tensor | None = None) -> None:
        """Measure the scale of the functionals, and of each band for the network, over (batch, frames, dim)."""
        super().fit_scale(features, y)
        frames = features.x[features.mask]
        self.frame_mean.copy_(frames.mean(0))
        self.frame_scale.copy_(frames.std(0, correction=0).clamp_min(SMALLEST_SPREAD))

    def forward(self, features: Features) -> Tensor:
        """(batch, frames, dim) -> (batch, functionals + width)."""
        fixed = self.statistics(features)
        x = ((features.x - self.frame_mean) / self.frame_scale).transpose(1, 2)  # (batch, dim, frames)
        mask = features.mask[:, None]
        for layer in self.layers:
            x, mask = layer(x, mask)
        seen = torch.cat(moments(x.transpose(1, 2), mask[:, 0]), dim=1)  # (batch, 2 * channels)
        return self._beside(fixed, self.project(self.dropout(self.norm(torch.cat([seen, fixed], dim=1)))))


class _ConvBlock(nn.Module):
    """Convolution over time, normalised within each frame; residual where the shape allows."""

    def __init__(self, n_in: int, n_out: int, *, stride: int, dropout: float) -> None:
        super().__init__()
        self.conv = nn.Conv1d(n_in, n_out, kernel_size=5, stride=stride, padding=2)
        self.norm = nn.LayerNorm(n_out)
        self.dropout = nn.Dropout(dropout)
        self.stride = stride

    def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """x (batch, n_in, frames), mask (batch, 1, frames) -> the same at the block's stride."""
        y = self.norm(self.conv(x * mask).transpose(1, 2)).transpose(1, 2)
        y = self.dropout(nn.functional.gelu(y))
        same_shape = self.stride == 1 and x.shape[1] == y.shape[1]
        return (x + y if same_shape else y), mask[..., :: self.stride]
