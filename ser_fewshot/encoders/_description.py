"""What encoders without a network share: fixed values of a clip, brought to unit scale and, if asked, whitened."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ser_fewshot.encoders._base import Encoder
from ser_fewshot.errors import SettingsError
from ser_fewshot.frontends import Features

_SHRINKAGE = 0.3  # of the within-class covariance towards equal variances
SMALLEST_SPREAD = 1e-5  # what never moves is divided by this instead of by nothing
_SCALE_CLIPS = 32  # clips that are described at a time when the scale is learned
_LAYER_GAIN = 300.0  # shares must be able to leave equality within some ten steps at a rate made for a network
_LIMIT = 5.0  # standard deviations: one odd value must not decide a distance


class Description(Encoder):
    """Fixed values of a clip, each brought to unit scale over the meta-train clips.

    With whitening they are then turned and scaled so that clips of one class differ alike in every direction: Hatch et
    al., "Within-class covariance normalization for SVM-based speaker recognition", 2006,
    https://doi.org/10.21437/Interspeech.2006-183.
    """

    mean: Tensor
    scale: Tensor
    whitener: Tensor | None

    def __init__(self, width: int, *, layers: int = 1, whitening: bool = False) -> None:
        """Describe a clip by `layers` times `width` values, of which `mix` makes `width`."""
        super().__init__()
        self.width = width
        self.register_buffer("mean", torch.zeros(layers * width))
        self.register_buffer("scale", torch.ones(layers * width))
        self.register_buffer("whitener", torch.eye(width) if whitening else None)

    def functionals(self, features: Features) -> Tensor:
        """(batch, frames, dim) -> (batch, layers * width), in the units of the front-end."""
        raise NotImplementedError

    def mix(self, fixed: Tensor) -> Tensor:
        """(batch, layers * width) in unit scale -> (batch, width); by default one layer, as it is."""
        return fixed

    def fit_scale(self, features: Features, y: Tensor | None = None) -> None:
        """Measure mean and spread of each value over meta-train clips (batch, frames, dim) of the classes y.

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
            self.whitener.copy_(_whitener(self.mix(self._scaled(raw)).detach(), y))

    def prepare(self, features: Features) -> Features:
        """(batch, frames, dim) -> (batch, layers * width), each within 5 standard deviations of the meta-train mean.

        What is prepared already comes back as it is.
        """
        if features.pooled:
            return features
        return Features(self._scaled(self.functionals(features)), torch.ones_like(features.lengths))

    def forward(self, features: Features) -> Tensor:
        """(batch, frames, dim) or (batch, layers * width) -> (batch, width), whitened if so built."""
        mixed = self.mix(self.prepare(features).x)
        return mixed if self.whitener is None else mixed @ self.whitener

    def _scaled(self, raw: Tensor) -> Tensor:
        return ((raw - self.mean) / self.scale).clamp(-_LIMIT, _LIMIT)


class Given(Description):
    """The front-end's own description of a clip, which is one frame of it; of several layers a learned mixture.

    The mixture is a softmax over layers, from equal shares on, as in ELMo (Peters et al., "Deep contextualized word
    representations", 2018, https://arxiv.org/abs/1802.05365) and for speech in SUPERB (Yang et al., 2021,
    https://arxiv.org/abs/2105.01051). Layers are brought to unit scale first, so that a share means what it says.
    """

    def __init__(self, dim: int, *, layers: int = 1, whitening: bool = False) -> None:
        super().__init__(dim // layers, layers=layers, whitening=whitening)
        self.layers = nn.Parameter(torch.zeros(layers)) if layers > 1 else None

    def functionals(self, features: Features) -> Tensor:
        """(batch, 1, layers * width) -> (batch, layers * width)."""
        return features.x[:, 0]

    def mix(self, fixed: Tensor) -> Tensor:
        """(batch, layers * width) -> (batch, width)."""
        if self.layers is None:
            return fixed
        return mixture(fixed, self.layers)


def shares_of(layers: Tensor) -> Tensor:
    """Parameters (layers,) of a mixture -> the share of each layer, (layers,)."""
    return (_LAYER_GAIN * layers).softmax(0)


def mixture(x: Tensor, layers: Tensor) -> Tensor:
    """x (..., layers * width), parameters (layers,) -> (..., width)."""
    return torch.einsum("...lw,l->...w", x.reshape(*x.shape[:-1], len(layers), -1), shares_of(layers))


class Mixed(Encoder):
    """Another encoder on a learned mixture of the layers that a front-end hands over side by side."""

    def __init__(self, inner: Encoder, *, layers: int) -> None:
        super().__init__()
        self.inner = inner
        self.width = inner.width
        self.layers = nn.Parameter(torch.zeros(layers))

    def fit_scale(self, features: Features, y: Tensor | None = None) -> None:
        """Let the other encoder measure the mixture, at equal shares."""
        self.inner.fit_scale(self._mixed(features), y)

    def forward(self, features: Features) -> Tensor:
        """(batch, frames, layers * dim) -> (batch, width)."""
        embedding: Tensor = self.inner(self._mixed(features))
        return embedding

    def _mixed(self, features: Features) -> Features:
        x = features.x.reshape(*features.x.shape[:2], len(self.layers), -1)
        x = nn.functional.layer_norm(x, x.shape[-1:]).flatten(2)  # layers differ in scale by orders of magnitude
        return Features(mixture(x, self.layers) * features.mask[..., None], features.lengths)


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
