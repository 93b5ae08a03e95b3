"""Speaker offsets: what a voice adds to all embeddings of a speaker, estimated from a few clips and subtracted.

An embedding is modelled as the mean of its class, plus an offset of its speaker, plus the rest; offsets and rest are
normal. Of n clips whose mean deviates by d from the class means, the MAP estimate of the offset is B (B + W / n)^-1 d,
with the covariances B between speakers and W within one: Gauvain and Lee, "Maximum a posteriori estimation for
multivariate Gaussian mixture observations of Markov chains", 1994, https://doi.org/10.1109/89.279278. Speaker
normalisation for emotions: Busso et al., "Iterative feature normalization scheme for automatic emotion detection from
speech", 2013, https://doi.org/10.1109/T-AFFC.2013.26.

Clips without labels may be of any emotion, so for them W holds the covariance of the class means too; and as they may
all be of one, a part of that does not shrink with n. They may also be of the speaker who is enrolled, whose offset is
zero: the estimate is weighed by the probability of another speaker, by the likelihood ratio of the two (Prince and
Elder, "Probabilistic linear discriminant analysis for inferences about identity", 2007,
https://doi.org/10.1109/ICCV.2007.4409052).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ser_fewshot.frontends import Features
from ser_fewshot.learners._base import class_means

_RANK = 256  # principal components: 64 lose a third of the gain
_SHRINKAGE = 0.3  # of the within covariance towards equal variances
_LEAST_SPEAKERS = 3  # of a corpus that counts
_ROUNDS = 10  # of alternating class means and offsets: they no longer move
_FEW_CLASSES = 0.3  # of the covariance of class means: what a mean over clips of a few classes keeps of it
_TINY = 1e-12


@dataclass(frozen=True, eq=False)
class SpeakerModel:
    """How embeddings of one class vary between and within speakers, over meta-train corpora.

    Attributes:
        basis: (width, rank) orthonormal.
        between: (rank, rank) covariance of speaker offsets.
        within: (rank, rank) covariance of the clips of one speaker and class.
        classes: (rank, rank) covariance of class means.
        variances: (2, width) between and within speakers, of each value of an embedding.
    """

    basis: Tensor
    between: Tensor
    within: Tensor
    classes: Tensor
    variances: Tensor

    def offset(self, deviation: Tensor, n: int, *, n_support: int) -> Tensor:
        """Return the MAP offset of a speaker from clips of unknown emotions, (width,).

        Args:
            deviation: (width,) the mean of the clips less that of the class means of the support.
            n: clips.
            n_support: clips of the support.
        """
        d = deviation @ self.basis
        noise = (self.within + self.classes) / n + _FEW_CLASSES * self.classes
        enrolled = noise + self.within / n_support  # the enrolled speaker deviates too
        new = (_log_density(d, self.between + enrolled) - _log_density(d, enrolled)).sigmoid()
        offset: Tensor = new * (self.basis @ (self.between @ torch.linalg.solve(self.between + noise, d)))
        return offset

    def session_offset(self, deviation: Tensor, n: int | Tensor) -> Tensor:
        """Return the MAP offset from clips of the enrolled classes alone; per value, (width,) or (n_speakers, width).

        Args:
            deviation: (width,) or (n_speakers, width), the mean of the clips less class means.
            n: clips, or (n_speakers, 1).
        """
        between, within = self.variances
        offset: Tensor = between / (between + within / n + _TINY) * deviation
        return offset


def _log_density(x: Tensor, covariance: Tensor) -> Tensor:
    """Log of the normal density of x (rank,) at zero mean, but for a constant."""
    density: Tensor = -(x @ torch.linalg.solve(covariance, x) + torch.linalg.slogdet(covariance)[1]) / 2
    return density


def points(features: Features) -> Tensor:
    """Return (n, width): pooled features as they are, others by their mean frame."""
    return features.x if features.pooled else features.x.sum(1) / features.lengths[:, None]


def shifted(features: Features, offset: Tensor) -> Features:
    """Subtract an offset (width,) or (n, width) from every frame; padding stays zero."""
    if features.pooled:
        return replace(features, x=features.x - offset)
    offset = offset if offset.ndim == 1 else offset[:, None]
    return replace(features, x=(features.x - offset) * features.mask[..., None])


def centred_support(
    features: Features, y: Tensor, speakers: Sequence[str | None], model: SpeakerModel
) -> tuple[Features, Tensor]:
    """Subtract the offset of each speaker of a support.

    A speaker of one class is left as is: the offset of the speaker and the mean of the class cannot be separated.

    Args:
        features: (n_support, ...).
        y: (n_support,) class numbers.
        speakers: (n_support,) names; None where unknown.
        model: of offsets.

    Returns:
        The features, and the class means (n_way, width).
    """
    x, n_way = points(features), int(y.max()) + 1
    names = sorted({name for name in speakers if name is not None})
    row = torch.tensor([names.index(name) if name is not None else len(names) for name in speakers])
    n = torch.bincount(row, minlength=len(names) + 1)[:, None].clamp_min(1)
    several = torch.tensor([len(set(y[row == k].tolist())) > 1 for k in range(len(names))] + [False])[:, None]
    offsets = x.new_zeros(len(names) + 1, x.shape[1])
    for _ in range(_ROUNDS if several.any() else 0):
        residual = x - class_means(x - offsets[row], y, n_way)[y]
        means = torch.zeros_like(offsets).index_add_(0, row, residual) / n
        offsets = several * model.session_offset(means, n)
    return shifted(features, offsets[row]), class_means(x - offsets[row], y, n_way)


def without_voice(
    query: Features, context: Features, means: Tensor, model: SpeakerModel, *, n_support: int, session: bool = False
) -> Features:
    """Subtract the offset of the query speaker.

    Args:
        query: (n_query, ...).
        context: clips of the query speaker; the queries themselves in a session.
        means: (n_way, width) class means of the centred support.
        model: of offsets.
        n_support: clips of the support.
        session: whether the context is of the enrolled classes alone.
    """
    deviation, n = points(context).mean(0) - means.mean(0), len(context)
    offset = model.session_offset(deviation, n) if session else model.offset(deviation, n, n_support=n_support)
    return shifted(query, offset)


def fit_speaker_model(
    z: Tensor, *, corpora: Sequence[str], classes: Sequence[str], speakers: Sequence[str | None]
) -> SpeakerModel | None:
    """Fit to embeddings (n, width) of meta-train clips; None without a corpus of three speakers of several classes.

    Args:
        z: embeddings.
        corpora: (n,) of each clip.
        classes: (n,) of each clip.
        speakers: (n,) of each clip; None where that is not known.
    """
    parts: list[_Parts] = []
    for corpus in sorted(set(corpora)):
        rows = [row for row, name in enumerate(corpora) if name == corpus and speakers[row] is not None]
        part = _decomposed(z[rows], [classes[row] for row in rows], [str(speakers[row]) for row in rows])
        parts += [part] if part is not None else []
    if not parts:
        return None
    rest, offset, mean = (torch.cat([part[number] for part in parts]) for number in range(3))
    sampled = float(torch.cat([part.shares for part in parts]).mean())
    basis = _basis(rest + mean).half().float()  # as it is stored
    e, o, m = rest @ basis, offset @ basis, mean @ basis
    within = e.T @ e / len(e)
    between = _positive(o.T @ o / len(o) - sampled * within)
    scale = within.diagonal().mean()
    if scale <= _TINY:  # a network that has died embeds all clips alike
        return None
    within = (1 - _SHRINKAGE) * within + _SHRINKAGE * scale * torch.eye(len(within))
    return SpeakerModel(basis, between, within, m.T @ m / len(m), _variances(parts))


class _Parts(NamedTuple):
    """The embeddings of one corpus as a sum of three.

    Attributes:
        rest: (n, width).
        offsets: (n_speakers, width).
        means: (n, width) of the class of each clip, centred.
        shares: (n_speakers,) of the variance of the rest, that the mean over a speaker's clips keeps.
    """

    rest: Tensor
    offsets: Tensor
    means: Tensor
    shares: Tensor


def _variances(parts: Sequence[_Parts]) -> Tensor:
    """Return the variances between and within speakers of each value, averaged over corpora, (2, width)."""
    between = [_variance(part.offsets) - _variance(part.rest) * part.shares.mean() for part in parts]
    within = torch.stack([_variance(part.rest) for part in parts])
    return torch.stack([torch.stack(between).clamp_min(0).mean(0), within.mean(0)])


def _variance(x: Tensor) -> Tensor:
    return x.square().sum(0) / max(len(x) - 1, 1)


def _decomposed(z: Tensor, classes: Sequence[str], speakers: Sequence[str]) -> _Parts | None:
    """Part the embeddings of one corpus; None with too few speakers of several classes."""
    y, who = (torch.from_numpy(np.unique(np.array(names), return_inverse=True)[1]) for names in (classes, speakers))
    several = [k for k in range(len(set(speakers))) if len(set(y[who == k].tolist())) > 1]
    if len(several) < _LEAST_SPEAKERS:
        return None
    kept = torch.isin(who, torch.tensor(several))
    z = z[kept]
    y, who = (torch.unique(values[kept], return_inverse=True)[1] for values in (y, who))
    n_way, n_speakers = int(y.max()) + 1, len(several)
    offsets = z.new_zeros(n_speakers, z.shape[1])
    for _ in range(_ROUNDS):
        means = class_means(z - offsets[who], y, n_way)
        offsets = class_means(z - means[y], who, n_speakers)
        offsets = offsets - offsets.mean(0)
    counts = torch.bincount(who).to(z.dtype)
    return _Parts(z - means[y] - offsets[who], offsets, (means - means.mean(0))[y], 1 / counts)


def _basis(x: Tensor) -> Tensor:
    from sklearn.decomposition import PCA  # noqa: PLC0415 - only fitting needs it

    solver = PCA(min(_RANK, *x.shape), svd_solver="randomized", random_state=0).fit(x.numpy())
    return torch.from_numpy(solver.components_.T.copy()).to(x.dtype)


def _positive(x: Tensor) -> Tensor:
    """Return a symmetric matrix without its negative eigenvalues."""
    values, vectors = torch.linalg.eigh(x)
    positive: Tensor = (vectors * values.clamp_min(0)) @ vectors.T
    return positive
