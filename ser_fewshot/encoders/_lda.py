"""Beside an embedding, the directions in which its classes differ most for how much one class varies."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ser_fewshot.encoders._base import Encoder, View
from ser_fewshot.frontends import Features

_COMPONENTS = 512  # of a few thousand values: what lies beyond is noise, and a covariance of it would be too


class Discriminant(Encoder):
    """Another encoder's embedding, and beside it the embedding seen along directions found on meta-train clips.

    Fisher, "The use of multiple measurements in taxonomic problems", 1936,
    https://doi.org/10.1111/j.1469-1809.1936.tb02137.x, with the within-class covariance drawn towards equal variances
    (Friedman, "Regularized discriminant analysis", 1989, https://doi.org/10.2307/2289860). The embedding stays beside
    the directions: classes that nobody trained on may differ in others.

    What tells emotions apart is not what tells voices apart. There are directions for either, and the view says which
    stand beside the embedding; and for voices some values of the embedding may weigh more.

    A room, a background or a telephone moves an embedding along few directions, further than clips lie apart there.
    Along these, a clip is brought back to where clips usually are, unless voices are told apart: what a recording
    changes is part of a voice that is heard through one microphone. This is after the nuisance attribute projection,
    which takes the directions away, and with them what they say of emotions: Solomonoff, Campbell and Boardman,
    "Advances in channel compensation for SVM speaker recognition", 2005, https://doi.org/10.1109/ICASSP.2005.1415192.
    """

    recording: Tensor
    middle: Tensor
    reach: Tensor
    emotion: Tensor
    speaker: Tensor
    emphasis: Tensor
    gain: Tensor

    def __init__(self, inner: Encoder, *, n: int, view: View, recording: int = 0) -> None:
        super().__init__()
        self.inner = inner
        self.view = view
        self.width = inner.width + n
        kept = recording > 0
        self.register_buffer("recording", torch.zeros(inner.width, recording), persistent=kept)
        self.register_buffer("middle", torch.zeros(recording), persistent=kept)
        self.register_buffer("reach", torch.zeros(recording), persistent=kept)
        self.register_buffer("emotion", torch.zeros(inner.width, n))
        self.register_buffer("speaker", torch.zeros(inner.width, n))
        self.register_buffer("emphasis", torch.ones(inner.width))
        self.register_buffer("gain", torch.ones(()))

    def extra_repr(self) -> str:
        """Show what no sub-module and no parameter shows."""
        return f"view={self.view}"

    def fit_scale(self, features: Features, y: Tensor | None = None) -> None:
        """Learn the scale of the other encoder."""
        self.inner.fit_scale(features, y)

    def prepare(self, features: Features) -> Features:
        """Do what the other encoder does."""
        return self.inner.prepare(features)

    def forward(self, features: Features) -> Tensor:
        """(batch, frames, dim) -> (batch, width)."""
        return self.beside(self.inner(features))

    def beside(self, z: Tensor) -> Tensor:
        """What the other encoder makes of clips, (batch, inner width) -> (batch, width).

        Both parts have a length of 1 on the average of the meta-train clips.
        """
        z, directions = self._of_view(self.view, z)
        return torch.cat([z * self.gain, z @ directions], 1)

    def brought_back(self, z: Tensor) -> Tensor:
        """(n, inner width) -> the same, no further than usual along the directions in which recordings differ."""
        if not len(self.middle):
            return z
        along = z @ self.recording - self.middle
        beyond: Tensor = along - torch.clamp(along, -self.reach, self.reach)
        return z - beyond @ self.recording.T

    def fit_recordings(self, z: Tensor, changed: Tensor, *, reach: float) -> None:
        """Find the directions in which recordings of the same clips differ; before those of emotions.

        Args:
            z: (n, inner width), what the other encoder makes of meta-train clips.
            changed: (n, inner width), of the same clips through rooms, backgrounds and telephones.
            reach: how far from the middle a clip may lie along each, in standard deviations of the clips.
        """
        from sklearn.utils.extmath import randomized_svd  # noqa: PLC0415 - as below

        n = min(self.recording.shape[1], *z.shape)
        _, _, found = randomized_svd((changed - z).numpy(), n, random_state=0)
        self.recording.zero_()
        self.recording[:, :n] = _rounded(torch.from_numpy(found.T))
        along = z @ self.recording
        self.middle.copy_(along.mean(0))
        self.reach.copy_(reach * along.std(0))

    def emphasise(self, z: Tensor, weights: Tensor) -> None:
        """Let values weigh more or less where voices are told apart; the average length of an embedding stays.

        Args:
            z: (n, inner width), what the other encoder makes of meta-train clips.
            weights: (inner width,) of its values.
        """
        self.emphasis.copy_(weights * z.norm(dim=1).mean() / (z * weights).norm(dim=1).mean())

    def _of_view(self, view: View, z: Tensor) -> tuple[Tensor, Tensor]:
        """(n, inner width) -> the same as a view takes it, and the directions of that view."""
        return (self.brought_back(z), self.emotion) if view == "emotion" else (z * self.emphasis, self.speaker)

    def fit_directions(
        self, view: View, z: Tensor, *, classes: Sequence[str], nuisance: Sequence[str], shrinkage: float
    ) -> None:
        """Find the directions of one view from meta-train clips.

        A voice is not what an emotion consists of, nor an emotion what a voice does: the clips of each class of the
        nuisance are centred first.

        Args:
            view: which directions.
            z: (n, inner width), what the other encoder makes of the clips.
            classes: (n,) the class of each; emotions of two corpora are two, whatever they are called.
            nuisance: (n,) the speaker where the classes are emotions, the emotion where they are speakers.
            shrinkage: of the within-class covariance, 0 to 1.
        """
        z, kept = self._of_view(view, z)
        found = _directions(_centred(z, nuisance), classes, n=kept.shape[1], shrinkage=shrinkage)
        self.gain.copy_(1 / z.norm(dim=1).mean())
        kept.zero_()
        kept[:, : found.shape[1]] = _rounded(found / (z @ found).norm(dim=1).mean())


def _directions(z: Tensor, y: Sequence[str], *, n: int, shrinkage: float) -> Tensor:
    """z (n_clips, width), y (n_clips,) -> (width, at most n), the best first; classes of one clip are left out."""
    # Only fitting needs it, and it takes longer to import than a model to load.
    from sklearn.decomposition import PCA  # noqa: PLC0415
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
    """Return values as half precision has them, in which they are stored."""
    return x.half().to(x)


def _centred(z: Tensor, groups: Sequence[str]) -> Tensor:
    """(n, width) -> the same without the mean of each group."""
    _, number = np.unique(np.array(groups), return_inverse=True)
    row = torch.from_numpy(number)
    sums = z.new_zeros(int(row.max()) + 1, z.shape[1]).index_add_(0, row, z)
    return z - (sums / torch.bincount(row)[:, None])[row]
