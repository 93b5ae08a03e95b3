"""Encoders: frames (batch, frames, dim) with lengths in, one embedding (batch, width) a clip out.

All of them look at a clip's own frames only: padding, and the other clips of a batch, change nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from ser_fewshot.errors import SettingsError
from ser_fewshot.frontends import Features

EncoderName = Literal["statistics", "mean", "conv"]

_LAGS = (1, 3, 10)  # frames: 10, 30 and 100 ms, within a phone, a phone, a syllable
_PERCENTILES = (10, 50, 90)
_CEPSTRA = 40
_CORRELATED = 16  # the lower cepstra, whose course over time is smooth enough to correlate
_SMALLEST_SPREAD = 1e-5  # what never moves is divided by this instead of by nothing
_SCALE_CLIPS = 32  # clips that are described at a time when the scale is learned
_LARGEST = 4096  # channels and width; more is a slip of the keyboard or a hostile file
_MOST_BLOCKS = 64


@dataclass(frozen=True, kw_only=True)
class EncoderSettings:
    """What is built between the frames and the embedding.

    Attributes:
        name: "statistics" describes the frames by fixed functionals and learns nothing; "mean" is the average frame,
            the plainest baseline; "conv" learns, beside the functionals, what a convolutional network sees.
        channels: width of the convolutional network.
        blocks: residual convolutions in it.
        width: what the learned part adds to the embedding.
        dropout: share of values dropped in training.
    """

    name: EncoderName = "conv"
    channels: int = 96
    blocks: int = 3
    width: int = 128
    dropout: float = 0.2

    def __post_init__(self) -> None:
        if self.name not in ("statistics", "mean", "conv"):
            raise SettingsError(
                "encoder", found=repr(self.name), expected="statistics | mean | conv", remedy="Choose one of these."
            )
        whole = all(type(value) is int for value in (self.channels, self.width, self.blocks))
        sizes = whole and 1 <= min(self.channels, self.width) <= max(self.channels, self.width) <= _LARGEST
        if not sizes or not 0 <= self.blocks <= _MOST_BLOCKS or not 0 <= self.dropout < 1:
            raise SettingsError(
                "encoder",
                found=f"channels {self.channels}, width {self.width}, blocks {self.blocks}, dropout {self.dropout}",
                expected=f"channels and width in 1 ... {_LARGEST}, blocks in 0 ... {_MOST_BLOCKS}, dropout in [0, 1)",
                remedy="Change the one that is not.",
            )


class Encoder(nn.Module):
    """Frames to one embedding a clip; `.width` is the length of the embedding."""

    width: int

    def fit_scale(self, features: Features) -> None:
        """Learn, from meta-train clips, the scale of what is fixed; nothing to learn by default."""

    def forward(self, features: Features) -> Tensor:
        """(batch, frames, dim) -> (batch, width)."""
        raise NotImplementedError


class Mean(Encoder):
    """The average frame."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.width = dim

    def forward(self, features: Features) -> Tensor:
        """(batch, frames, dim) -> (batch, dim)."""
        mean, _ = _moments(features.x, features.mask)
        return mean


class Statistics(Encoder):
    """Fixed functionals of the frames, each brought to unit scale over the meta-train clips.

    For every band the 10 %, 50 % and 90 % quantile, the standard deviation, and how fast it changes at three lags; the
    mean step from band to band; the same moments of the cepstrum (the cosine transform of a frame); and how the lower
    cepstra go together. Functionals of low-level descriptors are what openSMILE made the standard of the field (Eyben
    et al., "The Geneva minimalistic acoustic parameter set", 2016, https://doi.org/10.1109/TAFFC.2015.2457417); these
    are plainer and all come from one spectrogram.
    """

    _limit = 5.0  # standard deviations: one odd functional must not decide a distance

    mean: Tensor
    scale: Tensor
    cosines: Tensor

    def __init__(self, dim: int) -> None:
        super().__init__()
        n_cepstra = min(_CEPSTRA, dim)
        n_correlated = min(_CORRELATED, dim)
        self.width = (len(_PERCENTILES) + 1 + len(_LAGS)) * dim + (dim - 1) + 3 * n_cepstra
        self.width += n_correlated * (n_correlated - 1) // 2
        self.register_buffer("mean", torch.zeros(self.width))
        self.register_buffer("scale", torch.ones(self.width))
        self.register_buffer("cosines", _cosine_transform(dim, n_cepstra))

    def fit_scale(self, features: Features) -> None:
        """Measure mean and spread of each functional over meta-train clips (batch, frames, dim)."""
        # A few clips at a time: the longest pads all the others of its batch.
        parts = torch.split(torch.arange(len(features)), _SCALE_CLIPS)
        raw = torch.cat([self.functionals(features.select(rows)) for rows in parts])
        self.mean.copy_(raw.mean(0))
        self.scale.copy_(raw.std(0, correction=0).clamp_min(_SMALLEST_SPREAD))

    def forward(self, features: Features) -> Tensor:
        """(batch, frames, dim) -> (batch, width), each within 5 standard deviations of the meta-train mean."""
        return ((self.functionals(features) - self.mean) / self.scale).clamp(-self._limit, self._limit)

    def functionals(self, features: Features) -> Tensor:
        """(batch, frames, dim) -> (batch, width), in the units of the frames."""
        x, mask = features.x, features.mask
        _, spread = _moments(x, mask)
        cepstra = x @ self.cosines  # (batch, frames, n_cepstra)
        level, cepstral_spread = _moments(cepstra, mask)
        steps, _ = _moments(x.diff(dim=2).abs(), mask)
        parts = [
            _quantiles(x, mask).flatten(1),
            spread,
            *(_change(x, mask, lag) for lag in _LAGS),
            steps,
            level,
            cepstral_spread,
            _change(cepstra, mask, 1),
            _correlations(cepstra[..., :_CORRELATED], mask),
        ]
        return torch.cat(parts, dim=1)


class Conv(Encoder):
    """The fixed functionals, each with a learned weight, beside what a small convolutional network sees.

    Training begins close to the functionals alone (the learned part starts small), a description that already works on
    languages nobody trained on, and moves away from it only as far as episodes ask. Layers are normalised over the
    channels of one frame, never over a batch or over padding: Ba et al., "Layer normalization", 2016,
    https://arxiv.org/abs/1607.06450.
    """

    frame_mean: Tensor
    frame_scale: Tensor

    def __init__(self, dim: int, settings: EncoderSettings) -> None:
        super().__init__()
        self.statistics = Statistics(dim)
        self.width = self.statistics.width + settings.width
        self.weight = nn.Parameter(torch.zeros(self.statistics.width))  # logarithm of each functional's weight
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
        # Small but not zero: distances hold the square of the gate, whose slope at zero is nothing.
        self.gate = nn.Parameter(torch.tensor(0.3))

    def fit_scale(self, features: Features) -> None:
        """Measure the scale of the functionals, and of each band for the network, over (batch, frames, dim)."""
        self.statistics.fit_scale(features)
        frames = features.x[features.mask]
        self.frame_mean.copy_(frames.mean(0))
        self.frame_scale.copy_(frames.std(0, correction=0).clamp_min(_SMALLEST_SPREAD))

    def forward(self, features: Features) -> Tensor:
        """(batch, frames, dim) -> (batch, functionals + width)."""
        fixed = self.statistics(features)
        x = ((features.x - self.frame_mean) / self.frame_scale).transpose(1, 2)  # (batch, dim, frames)
        mask = features.mask[:, None]
        for layer in self.layers:
            x, mask = layer(x, mask)
        seen = torch.cat(_moments(x.transpose(1, 2), mask[:, 0]), dim=1)  # (batch, 2 * channels)
        learned = self.project(self.dropout(self.norm(torch.cat([seen, fixed], dim=1))))
        # Scaled so that, with the gate at 1, the learned part weighs as much in a distance as the functionals do.
        ratio = math.sqrt(fixed.shape[1] / learned.shape[1])
        return torch.cat([fixed * self.weight.exp(), ratio * self.gate * learned], dim=1)


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


def build_encoder(dim: int, settings: EncoderSettings) -> Encoder:
    """Return a new encoder for frames of `dim` values."""
    if settings.name == "mean":
        return Mean(dim)
    return Statistics(dim) if settings.name == "statistics" else Conv(dim, settings)


def _moments(x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """x (batch, frames, dim), mask (batch, frames) -> mean and standard deviation over a clip, (batch, dim) each."""
    weight = mask[..., None].to(x.dtype)
    count = weight.sum(1).clamp_min(1)
    mean = (x * weight).sum(1) / count
    variance = ((x - mean[:, None]).square() * weight).sum(1) / count
    return mean, (variance + 1e-6).sqrt()  # the constant keeps the gradient finite where a band never moves


def _quantiles(x: Tensor, mask: Tensor) -> Tensor:
    """(batch, frames, dim) -> (batch, 3, dim): the nearest frame below each quantile of the clip's own frames."""
    ordered = x.masked_fill(~mask[..., None], torch.inf).sort(dim=1).values  # padding sorts behind every frame
    last = mask.sum(1) - 1
    rows = [last * percent // 100 for percent in _PERCENTILES]
    return torch.stack([ordered[torch.arange(len(x)), row] for row in rows], dim=1)


def _change(x: Tensor, mask: Tensor, lag: int) -> Tensor:
    """(batch, frames, dim) -> (batch, dim): mean absolute difference of frames `lag` apart, 0 if there are none."""
    mean, _ = _moments((x[:, lag:] - x[:, :-lag]).abs(), mask[:, lag:])
    return mean


def _correlations(x: Tensor, mask: Tensor) -> Tensor:
    """(batch, frames, n) -> (batch, n (n - 1) / 2): correlation over time of every pair of columns."""
    mean, spread = _moments(x, mask)
    standard = (x - mean[:, None]) / spread[:, None] * mask[..., None]
    matrix = standard.transpose(1, 2) @ standard / mask.sum(1)[:, None, None]
    row, column = torch.tril_indices(x.shape[2], x.shape[2], offset=-1)
    return matrix[:, row, column]


def _cosine_transform(dim: int, n: int) -> Tensor:
    """(dim, n) orthonormal cosine transform, type II, of a frame's bands."""
    band = torch.arange(dim, dtype=torch.float64)[:, None] + 0.5
    matrix = torch.cos(math.pi / dim * band * torch.arange(n, dtype=torch.float64)) * math.sqrt(2 / dim)
    matrix[:, 0] /= math.sqrt(2)
    return matrix.to(torch.float32)
