"""Features of a clip that no network computes: standardised and, if asked, whitened."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ser_fewshot.encoders._base import Encoder
from ser_fewshot.frontends import Features
from ser_fewshot.settings import require

SMALLEST_SPREAD = 1e-5  # lower bound of a standard deviation that values are divided by
_SHRINKAGE = 0.3  # of the within-class covariance towards equal variances
_BATCH_CLIPS = 32
_LAYER_GAIN = 300.0  # layer weights must be able to leave equality in about ten steps at a network's learning rate
_LIMIT = 5.0  # standard deviations: one outlier must not decide a distance


class FixedFeatures(Encoder):
    """Fixed features of a clip, standardised over the meta-train clips.

    Whitening makes the within-class covariance the identity: Hatch et al., "Within-class covariance normalization for
    SVM-based speaker recognition", 2006, https://doi.org/10.21437/Interspeech.2006-183.
    """

    mean: Tensor
    scale: Tensor
    whitener: Tensor | None

    def __init__(self, width: int, *, layers: int = 1, whitening: bool = False) -> None:
        super().__init__()
        self.width = width
        self.register_buffer("mean", torch.zeros(layers * width))
        self.register_buffer("scale", torch.ones(layers * width))
        self.register_buffer("whitener", torch.eye(width) if whitening else None)

    def functionals(self, features: Features) -> Tensor:
        """(batch, frames, dim) -> (batch, layers * width), in the units of the front-end."""
        raise NotImplementedError

    def mix(self, fixed: Tensor) -> Tensor:
        """(batch, layers * width) standardised -> (batch, width); the identity for one layer."""
        return fixed

    def fit_scale(self, features: Features, y: Tensor | None = None) -> None:
        """Fit mean, standard deviation and whitening to clips (batch, frames, dim) of classes y.

        Raises:
            SettingsError: whitening without class numbers.
        """
        # In small batches: the longest clip pads all the others of its batch.
        parts = torch.split(torch.arange(len(features)), _BATCH_CLIPS)
        raw = torch.cat([self.functionals(features.select(rows)) for rows in parts])
        self.mean.copy_(raw.mean(0))
        self.scale.copy_(raw.std(0, correction=0).clamp_min(SMALLEST_SPREAD))
        require(
            self.whitener is None or y is not None,
            "encoder.whitening",
            found="clips without class numbers",
            expected="the class of each clip",
            remedy="Train on clips with labels, or set encoder.whitening to false.",
        )
        if self.whitener is not None and y is not None:
            self.whitener.copy_(_whitener(self.mix(self._standardised(raw)).detach(), y))

    def prepare(self, features: Features) -> Features:
        """(batch, frames, dim) -> (batch, layers * width), clipped at 5 standard deviations; idempotent."""
        if features.pooled:
            return features
        return Features(self._standardised(self.functionals(features)), torch.ones_like(features.lengths))

    def forward(self, features: Features) -> Tensor:
        """(batch, frames, dim) or (batch, layers * width) -> (batch, width), whitened if so built."""
        mixed = self.mix(self.prepare(features).x)
        return mixed if self.whitener is None else mixed @ self.whitener

    def _standardised(self, raw: Tensor) -> Tensor:
        return ((raw - self.mean) / self.scale).clamp(-_LIMIT, _LIMIT)


class PooledFeatures(FixedFeatures):
    """The output of a front-end that pools each clip to one frame; several layers are mixed.

    The mixture is a softmax over layers that begins at equal weights, as in ELMo (Peters et al., "Deep contextualized
    word representations", 2018, https://arxiv.org/abs/1802.05365) and for speech in SUPERB (Yang et al., 2021,
    https://arxiv.org/abs/2105.01051). Layers are standardised first, so that weights are comparable.
    """

    def __init__(self, dim: int, *, layers: int = 1, whitening: bool = False) -> None:
        super().__init__(dim // layers, layers=layers, whitening=whitening)
        self.layers = nn.Parameter(torch.zeros(layers)) if layers > 1 else None

    def functionals(self, features: Features) -> Tensor:
        """(batch, 1, layers * width) -> (batch, layers * width)."""
        return features.x[:, 0]

    def mix(self, fixed: Tensor) -> Tensor:
        """(batch, layers * width) -> (batch, width)."""
        return fixed if self.layers is None else _mixture(fixed, self.layers)


def layer_weights(layers: Tensor) -> Tensor:
    """Parameters (layers,) of a mixture -> the weight of each layer, (layers,), summing to 1."""
    return (_LAYER_GAIN * layers).softmax(0)


def _mixture(x: Tensor, layers: Tensor) -> Tensor:
    """x (..., layers * width), parameters (layers,) -> (..., width)."""
    return torch.einsum("...lw,l->...w", x.reshape(*x.shape[:-1], len(layers), -1), layer_weights(layers))


class LayerMix(Encoder):
    """Another encoder on a learned mixture of the front-end's layers, which are concatenated in each frame."""

    def __init__(self, inner: Encoder, *, layers: int) -> None:
        super().__init__()
        self.inner = inner
        self.width = inner.width
        self.layers = nn.Parameter(torch.zeros(layers))

    def fit_scale(self, features: Features, y: Tensor | None = None) -> None:
        """Fit the inner encoder's normalisation on the mixture at equal weights."""
        self.inner.fit_scale(self._mixed(features), y)

    def forward(self, features: Features) -> Tensor:
        """(batch, frames, layers * dim) -> (batch, width)."""
        embedding: Tensor = self.inner(self._mixed(features))
        return embedding

    def _mixed(self, features: Features) -> Features:
        x = features.x.reshape(*features.x.shape[:2], len(self.layers), -1)
        x = nn.functional.layer_norm(x, x.shape[-1:]).flatten(2)  # layers differ in scale by orders of magnitude
        return Features(_mixture(x, self.layers) * features.mask[..., None], features.lengths)


def _whitener(z: Tensor, y: Tensor) -> Tensor:
    """z (n, width), y (n,) class numbers -> (width, width), the inverse root of the within-class covariance.

    The covariance is shrunk towards equal variances: there are hardly more clips than dimensions.
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
