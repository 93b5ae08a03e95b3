"""An embedding with learned directions of emotions beside it, or its components for telling speakers apart."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ser_fewshot.encoders._base import Encoder, View
from ser_fewshot.frontends import Features


class Discriminant(Encoder):
    """The embedding of another encoder, seen for emotions or for speakers; both views are fitted by their recipe.

    For emotions, its projection on directions is appended, which are learned through episodes. The embedding itself
    stays: unseen classes may differ in other directions.

    For speakers, it is projected on components that are whitened within speakers (Hatch et al., "Within-class
    covariance normalization for SVM-based speaker recognition", 2006, https://doi.org/10.21437/Interspeech.2006-183)
    and brought to a length of 1 (Garcia-Romero and Espy-Wilson, "Analysis of i-vector length normalization in speaker
    recognition systems", 2011, https://doi.org/10.21437/Interspeech.2011-53).
    Without such components there are directions of speakers, appended to the weighted embedding, as in 0.1.

    Models of 0.1 clamp embeddings of the emotion view along the nuisance subspace, the few directions in which rooms,
    background noise and telephones move them, to their usual range.

    Attributes:
        nuisance: (inner width, n_nuisance) orthonormal directions in which recordings of one clip differ.
        nuisance_mean, nuisance_limit: (n_nuisance,) centre of the clamp, and largest distance from it.
        emotion: (inner width, n) directions.
        speaker: (inner width, n or components).
        feature_weights: (inner width,) of the embedding in the speaker view without components.
        gain: weight of the embedding beside its projection on directions.
    """

    nuisance: Tensor
    nuisance_mean: Tensor
    nuisance_limit: Tensor
    emotion: Tensor
    speaker: Tensor
    feature_weights: Tensor
    gain: Tensor

    def __init__(self, inner: Encoder, *, n: int, view: View, nuisance: int = 0, components: int = 0) -> None:
        super().__init__()
        self.inner = inner
        self.components = components
        self.register_buffer("nuisance", torch.zeros(inner.width, nuisance), persistent=nuisance > 0)
        self.register_buffer("nuisance_mean", torch.zeros(nuisance), persistent=nuisance > 0)
        self.register_buffer("nuisance_limit", torch.zeros(nuisance), persistent=nuisance > 0)
        self.register_buffer("emotion", torch.zeros(inner.width, n))
        self.register_buffer("speaker", torch.zeros(inner.width, components or n))
        self.register_buffer("feature_weights", torch.ones(inner.width), persistent=not components)
        self.register_buffer("gain", torch.ones(()))
        self.show(view)

    def show(self, view: View) -> None:
        """Choose the view. Directions beside which there are components are trained on supports moved all the way."""
        self.mixup = 1.0 if view == "emotion" and self.components else Encoder.mixup
        self.view = view
        projected = view == "speaker" and self.components > 0
        n = self.emotion.shape[1]
        self.width, self.n_directions = (self.components, 0) if projected else (self.inner.width + n, n)

    def fit_scale(self, features: Features, y: Tensor | None = None) -> None:
        """Fit the inner encoder's normalisation."""
        self.inner.fit_scale(features, y)

    def prepare(self, features: Features) -> Features:
        """Return what the inner encoder's `prepare` does."""
        return self.inner.prepare(features)

    def forward(self, features: Features) -> Tensor:
        """(batch, frames, dim) -> (batch, width)."""
        return self.project(self.inner(features))

    def project(self, z: Tensor) -> Tensor:
        """(n, inner width) -> (n, width)."""
        if self.view == "emotion":
            z = self.clamp_nuisance(z)
            return torch.cat([z * self.gain, z @ self.emotion], 1)
        if self.components:
            return nn.functional.normalize(z @ self.speaker)
        z = z * self.feature_weights
        return torch.cat([z * self.gain, z @ self.speaker], 1)

    def clamp_nuisance(self, z: Tensor) -> Tensor:
        """(n, inner width) -> the same, clamped along the nuisance subspace."""
        if not len(self.nuisance_mean):
            return z
        along = z @ self.nuisance - self.nuisance_mean
        beyond: Tensor = along - torch.clamp(along, -self.nuisance_limit, self.nuisance_limit)
        return z - beyond @ self.nuisance.T
