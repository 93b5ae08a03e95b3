"""Encoders without weights: the average frame, and fixed functionals of the frames."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from ser_fewshot.encoders._base import Encoder
from ser_fewshot.encoders._fixed import FixedFeatures
from ser_fewshot.frontends import Features

_LAGS = (1, 3, 10)  # frames: 10, 30 and 100 ms, within a phone, a phone, a syllable
_PERCENTILES = (10, 50, 90)
_CEPSTRA = 40
_CORRELATED = 16  # the lower cepstra are smooth enough over time to correlate


class Mean(Encoder):
    """The average frame."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.width = dim

    def forward(self, features: Features) -> Tensor:
        """(batch, frames, dim) -> (batch, dim)."""
        mean, _ = moments(features.x, features.mask)
        return mean


class Statistics(FixedFeatures):
    """Fixed functionals of the frames, standardised over the meta-train clips.

    For every band the 10 %, 50 % and 90 % quantile, the standard deviation, and the mean absolute change at three lags;
    the mean step from band to band; moments and change of the cepstrum (the cosine transform of a frame); and the
    correlations of the lower cepstra. Compare Eyben et al., "The Geneva minimalistic acoustic parameter set", 2016,
    https://doi.org/10.1109/TAFFC.2015.2457417; these are simpler and all come from one spectrogram.
    """

    cosines: Tensor

    def __init__(self, dim: int, *, whitening: bool = False) -> None:
        n_cepstra = min(_CEPSTRA, dim)
        n_correlated = min(_CORRELATED, dim)
        width = (len(_PERCENTILES) + 1 + len(_LAGS)) * dim + (dim - 1) + 3 * n_cepstra
        width += n_correlated * (n_correlated - 1) // 2
        super().__init__(width, whitening=whitening)
        self.register_buffer("cosines", _cosine_transform(dim, n_cepstra))

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
    return mean, (variance + 1e-6).sqrt()  # finite gradient where a band is constant


def _quantiles(x: Tensor, mask: Tensor) -> Tensor:
    """(batch, frames, dim) -> (batch, 3, dim): the nearest value below each quantile, without padding."""
    bands = x.masked_fill(~mask[..., None], torch.inf).mT.contiguous()  # padding sorts behind every frame
    ordered = _sort(bands)
    last = mask.sum(1) - 1
    rows = [last * percent // 100 for percent in _PERCENTILES]
    return torch.stack([ordered[torch.arange(len(x)), :, row] for row in rows], dim=1)


def _sort(x: Tensor) -> Tensor:
    if torch.compiler.is_exporting():
        return x.sort().values
    return torch.from_numpy(np.sort(x.cpu().numpy())).to(x.device)  # ten times as fast as torch's on a CPU


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


def _cosine_transform(dim: int, n: int) -> Tensor:
    """(dim, n) orthonormal cosine transform, type II, of a frame's bands."""
    band = torch.arange(dim, dtype=torch.float64)[:, None] + 0.5
    matrix = torch.cos(math.pi / dim * band * torch.arange(n, dtype=torch.float64)) * math.sqrt(2 / dim)
    matrix[:, 0] /= math.sqrt(2)
    return matrix.to(torch.float32)
