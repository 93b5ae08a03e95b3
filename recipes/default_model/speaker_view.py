"""The components of the speaker view: whitened within speakers, and the stronger the more speakers differ in them.

Whitening: Hatch et al., "Within-class covariance normalization for SVM-based speaker recognition", 2006,
https://doi.org/10.21437/Interspeech.2006-183. The weights are a compromise between it, at 1 each, and those of
probabilistic LDA (Ioffe, 2006, https://doi.org/10.1007/11744085_41), which only knows as many components as there are
speakers: the voices of unseen speakers differ in others too.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ser_fewshot.learners import class_means

N_COMPONENTS = 512
_WEIGHT = 2 / 0.3  # of the functionals, on that which they have for emotions: 2 in all
_SHRINKAGE = 0.1  # of the within-speaker covariance, towards equal variances
_POWER, _LEAST = 0.25, 0.5  # of the share that speakers have in the variance of a component, and the least weight


def speaker_components(
    z: Tensor, *, learned: int, speakers: Sequence[str], corpora: Sequence[str], emotions: Sequence[str]
) -> Tensor:
    """Return components of embeddings, (width, at most N_COMPONENTS).

    Args:
        z: (n, width) standardised embeddings of clips.
        learned: how many values are the student's; the rest are functionals.
        speakers: (n,) of each clip, whose names differ between corpora.
        corpora: (n,) of each clip.
        emotions: (n,) of each clip; the mean of each, in its corpus, is taken out first.
    """
    from sklearn.decomposition import PCA  # noqa: PLC0415 - it loads slowly

    weights = torch.ones(z.shape[1])
    weights[learned:] = _WEIGHT
    of_emotion = [f"{corpus}/{emotion}" for corpus, emotion in zip(corpora, emotions, strict=True)]
    x = centred(z * weights, of_emotion)
    n = min(N_COMPONENTS, *x.shape)
    axes = torch.from_numpy(PCA(n, svd_solver="randomized", random_state=0).fit(x.numpy()).components_.T.copy())
    whitener = _whitener(centred(x @ axes, speakers))
    return weights[:, None] * (axes @ whitener @ _weighted(x @ axes @ whitener, speakers, corpora))


def _whitener(rest: Tensor) -> Tensor:
    """Clips less the mean of their speaker, (n, width) -> (width, width), which makes their covariance the identity."""
    covariance = rest.double().T @ rest.double() / len(rest)
    shrunk = (1 - _SHRINKAGE) * covariance
    shrunk.diagonal().add_(_SHRINKAGE * covariance.diagonal().mean())
    values, vectors = torch.linalg.eigh(shrunk)
    whitener: Tensor = (vectors * values.rsqrt()) @ vectors.T
    return whitener.float()


def _weighted(x: Tensor, speakers: Sequence[str], corpora: Sequence[str]) -> Tensor:
    """Whitened clips (n, width) -> axes along which speakers of a corpus differ, at their weights, (width, width)."""
    names, number = np.unique(np.array(speakers), return_inverse=True)
    corpus_of = dict(zip(speakers, corpora, strict=True))
    means = class_means(x, torch.from_numpy(number), len(names))
    offsets = centred(means, [corpus_of[name] for name in names]).double()
    variances, axes = torch.linalg.eigh(offsets.T @ offsets / len(offsets))
    shares = variances.clamp_min(0) / (variances.clamp_min(0) + 1)
    weighted: Tensor = axes * shares.pow(_POWER).clamp_min(_LEAST)
    return weighted.float()


def centred(z: Tensor, groups: Sequence[str]) -> Tensor:
    """(n, width) -> the same less the mean of each group."""
    _, number = np.unique(np.array(groups), return_inverse=True)
    row = torch.from_numpy(number)
    sums = z.new_zeros(int(row.max()) + 1, z.shape[1]).index_add_(0, row, z)
    return z - (sums / torch.bincount(row)[:, None])[row]
