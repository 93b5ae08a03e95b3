"""LDA directions of emotions, fitted without episodes: what meta-trained directions are compared with.

Fisher, "The use of multiple measurements in taxonomic problems", 1936,
https://doi.org/10.1111/j.1469-1809.1936.tb02137.x, with a shrunk within-class covariance (Friedman, "Regularized
discriminant analysis", 1989, https://doi.org/10.2307/2289860), after principal components (Belhumeur et al., 1997,
https://doi.org/10.1109/34.598228).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from default_model.speaker_view import centred

N_DIRECTIONS = 64
_COMPONENTS = 512  # beyond them there is noise
_SHRINKAGE = 0.5


def with_lda(z: Tensor, rows: Tensor, *, emotions: Sequence[str], speakers: Sequence[str]) -> Tensor:
    """Return embeddings with their projections on LDA directions beside them, (n, width + at most N_DIRECTIONS).

    Args:
        z: (n, width) embeddings.
        rows: (n,) which of them the directions are fitted to.
        emotions: of these; those of two corpora differ. An emotion of a single clip is left out.
        speakers: of these; the mean of each is taken out first.
    """
    from sklearn.decomposition import PCA  # noqa: PLC0415 - both load slowly
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis  # noqa: PLC0415

    names, number, counts = np.unique(np.array(emotions), return_inverse=True, return_counts=True)
    several = counts[number] > 1
    x = centred(z[rows], speakers).numpy()[several]
    axes = PCA(min(_COMPONENTS, *x.shape), svd_solver="randomized", random_state=0).fit(x).components_.T
    n = min(N_DIRECTIONS, int((counts > 1).sum()) - 1)
    solver = LinearDiscriminantAnalysis(solver="eigen", shrinkage=_SHRINKAGE, n_components=n)
    found = torch.from_numpy(axes @ solver.fit(x @ axes, names[number][several]).scalings_[:, :n]).to(z)
    along = z @ found
    return torch.cat([z / z[rows].norm(dim=1).mean(), along / along[rows].norm(dim=1).mean()], 1)
