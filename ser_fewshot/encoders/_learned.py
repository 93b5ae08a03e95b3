"""Encoders that concatenate weighted fixed features and the output of a small network."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ser_fewshot.encoders._base import Encoder, EncoderSettings
from ser_fewshot.encoders._fixed import SMALLEST_SPREAD, FixedFeatures, PooledFeatures
from ser_fewshot.encoders._statistics import Statistics, moments
from ser_fewshot.frontends import Features


def fixed_features(dim: int, settings: EncoderSettings) -> FixedFeatures:
    """Return functionals of the frames, or the features themselves of a front-end that pools."""
    if settings.pooled:
        return PooledFeatures(dim, layers=settings.layers, whitening=settings.whitening)
    return Statistics(dim, whitening=settings.whitening)


class _Learned(Encoder):
    """Fixed features with learned weights, concatenated with a learned part.

    The learned part starts small, so training starts near the fixed features, which already work on unseen languages.
    """

    def __init__(self, dim: int, settings: EncoderSettings) -> None:
        super().__init__()
        self.statistics = fixed_features(dim, settings)
        self.width = self.statistics.width + settings.width
        self.weight = nn.Parameter(torch.zeros(self.statistics.width))  # logarithms of the weights
        # Not zero: distances depend on the square of the gate, whose slope at zero is zero.
        self.gate = nn.Parameter(torch.tensor(0.3))

    def fit_scale(self, features: Features, y: Tensor | None = None) -> None:
        """Fit the normalisation of the fixed features to (batch, frames, dim)."""
        self.statistics.fit_scale(features, y)

    def _concatenate(self, fixed: Tensor, learned: Tensor) -> Tensor:
        """fixed (batch, functionals), learned (batch, width) -> (batch, functionals + width)."""
        # With the gate at 1, both parts weigh the same in a distance.
        ratio = math.sqrt(fixed.shape[1] / learned.shape[1])
        return torch.cat([fixed * self.weight.exp(), ratio * self.gate * learned], dim=1)


class Dense(_Learned):
    """Fixed features and residual layers on them: cheap to train, and cheaper to adapt."""

    def __init__(self, dim: int, settings: EncoderSettings) -> None:
        super().__init__(dim, settings)
        self.fc_in = nn.Linear(self.statistics.width, settings.channels)
        self.layers = nn.ModuleList(_DenseBlock(settings.channels, settings.dropout) for _ in range(settings.blocks))
        self.norm = nn.LayerNorm(settings.channels)
        self.project = nn.Linear(settings.channels, settings.width)

    def prepare(self, features: Features) -> Features:
        """(batch, frames, dim) -> (batch, functionals); idempotent."""
        return self.statistics.prepare(features)

    def forward(self, features: Features) -> Tensor:
        """(batch, frames, dim) or (batch, functionals) -> (batch, functionals + width)."""
        fixed = self.statistics(features)
        x = self.fc_in(fixed)  # (batch, channels)
        for layer in self.layers:
            x = layer(x)
        return self._concatenate(fixed, self.project(self.norm(x)))


class _DenseBlock(nn.Module):
    """A pre-norm residual layer."""

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
    """Fixed features and a small convolutional network on the frames.

    Layers are normalised over the channels of one frame, never over the batch or padding: Ba et al., "Layer
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
        """Fit the normalisation of the fixed features, and of each band for the network, to (batch, frames, dim)."""
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
        pooled = torch.cat(moments(x.transpose(1, 2), mask[:, 0]), dim=1)  # (batch, 2 * channels)
        return self._concatenate(fixed, self.project(self.dropout(self.norm(torch.cat([pooled, fixed], dim=1)))))


class _ConvBlock(nn.Module):
    """Convolution over time and layer norm; residual where the shape allows."""

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
