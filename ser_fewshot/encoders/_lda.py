"""LDA directions of emotions or speakers, appended to an embedding, and a clamp along its nuisance subspace."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ser_fewshot.encoders._base import Encoder, View
from ser_fewshot.frontends import Features

_COMPONENTS = 512  # principal components before LDA; beyond them there is noise


class Discriminant(Encoder):
    """The embedding of another encoder with its projection on LDA directions, fitted to meta-train clips, appended.

    Fisher, "The use of multiple measurements in taxonomic problems", 1936,
    https://doi.org/10.1111/j.1469-1809.1936.tb02137.x, with a shrunk within-class covariance (Friedman, "Regularized
    discriminant analysis", 1989, https://doi.org/10.2307/2289860). The embedding itself stays: unseen classes may
    differ in other directions. There are directions of emotions and of speakers; the view chooses which are appended.

    Rooms, background noise and telephones move an embedding along few directions, the nuisance subspace. The emotion
    view clamps embeddings along these to their usual range; the speaker view does not, as the recording condition is
    part of a voice that is known through one microphone. Nuisance attribute projection removes the subspace instead,
    and with it some information about emotions: Solomonoff, Campbell and Boardman, "Advances in channel compensation
    for SVM speaker recognition", 2005, https://doi.org/10.1109/ICASSP.2005.1415192.

    Attributes:
        nuisance: (inner width, n_nuisance) orthonormal directions in which recordings of one clip differ.
        nuisance_mean, nuisance_limit: (n_nuisance,) centre of the clamp, and largest distance from it.
        emotion, speaker: (inner width, n) LDA directions.
        feature_weights: (inner width,) of the embedding in the speaker view.
        gain: 1 over the mean length of the embeddings.
    """

    nuisance: Tensor
    nuisance_mean: Tensor
    nuisance_limit: Tensor
    emotion: Tensor
    speaker: Tensor
    feature_weights: Tensor
    gain: Tensor

    def __init__(self, inner: Encoder, *, n: int, view: View, nuisance: int = 0) -> None:
        super().__init__()
        self.inner = inner
        self.view = view
        self.width, self.n_directions = inner.width + n, n
        kept = nuisance > 0
        self.register_buffer("nuisance", torch.zeros(inner.width, nuisance), persistent=kept)
        self.register_buffer("nuisance_mean", torch.zeros(nuisance), persistent=kept)
        self.register_buffer("nuisance_limit", torch.zeros(nuisance), persistent=kept)
        self.register_buffer("emotion", torch.zeros(inner.width, n))
        self.register_buffer("speaker", torch.zeros(inner.width, n))
        self.register_buffer("feature_weights", torch.ones(inner.width))
        self.register_buffer("gain", torch.ones(()))

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
        """(n, inner width) -> (n, width); both parts have a mean length of 1 over the meta-train clips."""
        z, directions = self._of_view(self.view, z)
        return torch.cat([z * self.gain, z @ directions], 1)

    def clamp_nuisance(self, z: Tensor) -> Tensor:
        """(n, inner width) -> the same, clamped along the nuisance subspace."""
        if not len(self.nuisance_mean):
            return z
        along = z @ self.nuisance - self.nuisance_mean
        beyond: Tensor = along - torch.clamp(along, -self.nuisance_limit, self.nuisance_limit)
        return z - beyond @ self.nuisance.T

    def fit_nuisance(self, z: Tensor, augmented: Tensor, *, limit: float) -> None:
        """Fit the nuisance subspace and its clamp; before the directions of emotions.

        Args:
            z: (n, inner width), inner embeddings of meta-train clips.
            augmented: (n, inner width), of the same clips with rooms, noise and telephones.
            limit: of the clamp, in standard deviations of `z` along each direction.
        """
        from sklearn.utils.extmath import randomized_svd  # noqa: PLC0415 - only fitting needs it, and it loads slowly

        n = min(self.nuisance.shape[1], *z.shape)
        _, _, found = randomized_svd((augmented - z).numpy(), n, random_state=0)
        self.nuisance.zero_()
        self.nuisance[:, :n] = _rounded(torch.from_numpy(found.T))
        along = z @ self.nuisance
        self.nuisance_mean.copy_(along.mean(0))
        self.nuisance_limit.copy_(limit * along.std(0))

    def set_feature_weights(self, z: Tensor, weights: Tensor) -> None:
        """Weight the values of the speaker view by (inner width,), keeping the mean length of z (n, inner width)."""
        self.feature_weights.copy_(weights * z.norm(dim=1).mean() / (z * weights).norm(dim=1).mean())

    def _of_view(self, view: View, z: Tensor) -> tuple[Tensor, Tensor]:
        """(n, inner width) -> the embeddings of a view, and its directions."""
        if view == "emotion":
            return self.clamp_nuisance(z), self.emotion
        return z * self.feature_weights, self.speaker

    def fit_directions(
        self, view: View, z: Tensor, *, classes: Sequence[str], nuisance: Sequence[str], shrinkage: float
    ) -> None:
        """Fit the LDA directions of one view to meta-train clips, centred within each class of the nuisance.

        Args:
            view: which directions.
            z: (n, inner width), inner embeddings of the clips.
            classes: (n,) class of each; an emotion of two corpora is two classes.
            nuisance: (n,) the speaker where the classes are emotions, the emotion where they are speakers.
            shrinkage: of the within-class covariance, 0 to 1.
        """
        z, directions = self._of_view(view, z)
        found = _lda(_centred(z, nuisance), classes, n=directions.shape[1], shrinkage=shrinkage)
        self.gain.copy_(1 / z.norm(dim=1).mean())
        directions.zero_()
        directions[:, : found.shape[1]] = _rounded(found / (z @ found).norm(dim=1).mean())


def _lda(z: Tensor, y: Sequence[str], *, n: int, shrinkage: float) -> Tensor:
    """z (n_clips, width), y (n_clips,) -> (width, at most n), the best first; classes of one clip are left out."""
    from sklearn.decomposition import PCA  # noqa: PLC0415 - as above
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis  # noqa: PLC0415

    names, number, counts = np.unique(np.array(y), return_inverse=True, return_counts=True)
    several = counts[number] > 1
    n = min(n, int((counts > 1).sum()) - 1)
    # Principal components first, as for faces: Belhumeur et al., 1997, https://doi.org/10.1109/34.598228.
    x = z.numpy()[several]
    components = PCA(min(_COMPONENTS, *x.shape), svd_solver="randomized", random_state=0).fit(x).components_.T
    solver = LinearDiscriminantAnalysis(solver="eigen", shrinkage=shrinkage, n_components=n)
    found = solver.fit(x @ components, names[number][several]).scalings_[:, :n]
    return torch.from_numpy(components @ found).to(z)


def _rounded(x: Tensor) -> Tensor:
    """Round values to half precision, in which they are stored."""
    return x.half().to(x)


def _centred(z: Tensor, groups: Sequence[str]) -> Tensor:
    """(n, width) -> the same less the mean of each group."""
    _, number = np.unique(np.array(groups), return_inverse=True)
    row = torch.from_numpy(number)
    sums = z.new_zeros(int(row.max()) + 1, z.shape[1]).index_add_(0, row, z)
    return z - (sums / torch.bincount(row)[:, None])[row]
