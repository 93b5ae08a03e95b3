"""Encoders without a weight: the average frame, and fixed functionals of the frames."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from ser_fewshot.encoders._base import Encoder
from ser_fewshot.errors import SettingsError
from ser_fewshot.frontends import Features

_LAGS = (1, 3, 10)  # frames: 10, 30 and 100 ms, within a phone, a phone, a syllable
_PERCENTILES = (10, 50, 90)
_CEPSTRA = 40
_CORRELATED = 16  # the lower cepstra, whose course over time is smooth enough to correlate
_SHRINKAGE = 0.3  # of the within-class covariance towards equal variances
SMALLEST_SPREAD = 1e-5  # what never moves is divided by this instead of by nothing
_SCALE_CLIPS = 32  # clips that are described at a time when the scale is learned


class Mean(Encoder):
    """The average frame."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.width = dim

    def forward(self, features: Features) -> Tensor:
        """(batch, frames, dim) -> (batch, dim)."""
        mean, _ = moments(features.x, features.mask)
        return mean


class Statistics(Encoder):
    """Fixed functionals of the frames, each brought to unit scale over the meta-train clips.

    For every band the 10 %, 50 % and 90 % quantile, the standard deviation, and how fast it changes at three lags; the
    mean step from band to band; the same moments of the cepstrum (the cosine transform of a frame); and how the lower
    cepstra go together. Functionals of low-level descriptors are what openSMILE made the standard of the field (Eyben
    et al., "The Geneva minimalistic acoustic parameter set", 2016, https://doi.org/10.1109/TAFFC.2015.2457417); these
    are plainer and all come from one spectrogram.

    With whitening they are then turned and scaled so that clips of one class differ alike in every direction: Hatch et
    al., "Within-class covariance normalization for SVM-based speaker recognition", 2006,
    https://doi.org/10.21437/Interspeech.2006-183.
    """

    _limit = 5.0  # standard deviations: one odd functional must not decide a distance

    mean: Tensor
    scale: Tensor
    cosines: Tensor
    whitener: Tensor | None

    def __init__(self, dim: int, *, whitening: bool = False) -> None:
        super().__init__()
        n_cepstra = min(_CEPSTRA, dim)
        n_correlated = min(_CORRELATED, dim)
        self.width = (len(_PERCENTILES) + 1 + len(_LAGS)) * dim + (dim - 1) + 3 * n_cepstra
        self.width += n_correlated * (n_correlated - 1) // 2
        self.register_buffer("mean", torch.zeros(self.width))
        self.register_buffer("scale", torch.ones(self.width))
        self.register_buffer("cosines", _cosine_transform(dim, n_cepstra))
        self.register_buffer("whitener", torch.eye(self.width) if whitening else None)

    def fit_scale(self, features: Features, y: Tensor | None = None) -> None:
        """Measure mean and spread of each functional over meta-train clips (batch, frames, dim) of the classes y.

        Raises:
            SettingsError: it is to whiten and nobody says of which class each clip is.
        """
        # A few clips at a time: the longest pads all the others of its batch.
        parts = torch.split(torch.arange(len(features)), _SCALE_CLIPS)
        raw = torch.cat([self.functionals(features.select(rows)) for rows in parts])
        self.mean.copy_(raw.mean(0))
        self.scale.copy_(raw.std(0, correction=0).clamp_min(SMALLEST_SPREAD))
        if self.whitener is not None:
            if y is None:
                raise SettingsError(
                    "encoder.whitening",
                    found="clips without class numbers",
                    expected="the class of each clip",
                    remedy="Train on clips with labels, or set encoder.whitening to false.",
                )
            self.whitener.copy_(_whitener(self._scaled(raw), y))

    def forward(self, features: Features) -> Tensor:
        """(batch, frames, dim) -> (batch, width), each within 5 standard deviations of the meta-train mean.

        Whitened if so built.
        """
        scaled = self._scaled(self.functionals(features))
        return scaled if self.whitener is None else scaled @ self.whitener

    def _scaled(self, raw: Tensor) -> Tensor:
        return ((raw - self.mean) / self.scale).clamp(-self._limit, self._limit)

    @torch.no_grad()
    def functionals(self, features: Features) -> Tensor:
        """(batch, frames, dim) -> (batch, width), in the units of the frames."""
        x, mask = features.x, features.mask
        _, spread = moments(x, mask)
        cepstra = x @ self.cosines  # (batch, frames, n_cepstra)
        level, cepstral_spread = moments(cepstra, mask)
        steps = _mean(x.diff(dim=2).abs_(), mask)
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


def _mean(x: Tensor, mask: Tensor) -> Tensor:
    """x (batch, frames, dim), mask (batch, frames) -> mean over a clip, (batch, dim)."""
    weight = mask.to(x.dtype) / mask.sum(1, keepdim=True).clamp_min(1)
    return torch.einsum("bfd,bf->bd", x, weight)


def moments(x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """x (batch, frames, dim), mask (batch, frames) -> mean and standard deviation over a clip, (batch, dim) each."""
    weight = mask[..., None].to(x.dtype)
    count = weight.sum(1).clamp_min(1)
    mean = (x * weight).sum(1) / count
    variance = ((x - mean[:, None]).square() * weight).sum(1) / count
    return mean, (variance + 1e-6).sqrt()  # the constant keeps the gradient finite where a band never moves


def _quantiles(x: Tensor, mask: Tensor) -> Tensor:
    """(batch, frames, dim) -> (batch, 3, dim): the nearest frame below each quantile of the clip's own frames."""
    bands = x.masked_fill(~mask[..., None], torch.inf).mT.contiguous()  # padding sorts behind every frame
    ordered = torch.from_numpy(np.sort(bands.cpu().numpy())).to(x.device)  # ten times as fast as torch's on a CPU
    last = mask.sum(1) - 1
    rows = [last * percent // 100 for percent in _PERCENTILES]
    return torch.stack([ordered[torch.arange(len(x)), :, row] for row in rows], dim=1)


def _change(x: Tensor, mask: Tensor, lag: int) -> Tensor:
    """(batch, frames, dim) -> (batch, dim): mean absolute difference of frames `lag` apart, 0 if there are none."""
    return _mean((x[:, lag:] - x[:, :-lag]).abs_(), mask[:, lag:])


def _correlations(x: Tensor, mask: Tensor) -> Tensor:
    """(batch, frames, n) -> (batch, n (n - 1) / 2): correlation over time of every pair of columns."""
    mean, spread = moments(x, mask)
    standard = (x - mean[:, None]) / spread[:, None] * mask[..., None]
    matrix = standard.transpose(1, 2) @ standard / mask.sum(1)[:, None, None]
    row, column = torch.tril_indices(x.shape[2], x.shape[2], offset=-1)
    return matrix[:, row, column]


def _whitener(z: Tensor, y: Tensor) -> Tensor:
    """z (n, width), y (n,) class numbers -> (width, width), by which the within-class covariance becomes the identity.

    The covariance is drawn towards one of equal variances: there are hardly more clips than directions.
    """
    _, classes, counts = torch.unique(y, return_inverse=True, return_counts=True)
    x = z.double()
    sums = x.new_zeros(len(counts), x.shape[1]).index_add_(0, classes, x)
    rest = x - (sums / counts[:, None])[classes]
    covariance = rest.T @ rest / len(rest)
    mean_variance = covariance.diagonal().mean().clamp_min(SMALLEST_SPREAD)
    identity = torch.eye(len(covariance), dtype=x.dtype, device=x.device)
    variance, directions = torch.linalg.eigh((1 - _SHRINKAGE) * covariance + _SHRINKAGE * mean_variance * identity)
    whitener: Tensor = directions * variance.rsqrt() @ directions.T
    return whitener.to(z.dtype)


def _cosine_transform(dim: int, n: int) -> Tensor:
    """(dim, n) orthonormal cosine transform, type II, of a frame's bands."""
    band = torch.arange(dim, dtype=torch.float64)[:, None] + 0.5
    matrix = torch.cos(math.pi / dim * band * torch.arange(n, dtype=torch.float64)) * math.sqrt(2 / dim)
    matrix[:, 0] /= math.sqrt(2)
    return matrix.to(torch.float32)
