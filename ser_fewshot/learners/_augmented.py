"""A support augmented by what recording conditions make of its clips."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ser_fewshot.frontends import Features
from ser_fewshot.learners._base import Learner


def is_augmented(learner: Learner, embedding: Tensor) -> bool:
    """Whether the support of a learner is augmented; `embedding` is what it keeps of a clip, (width,) or (frames, dim).

    It is not where the learner adapts its encoder, and so has no embedding of a clip, nor where it compares by a
    network that was trained on clean ones.
    """
    return embedding.ndim == 1 and not learner.must_learn


def augmented_support(
    support: Features, y: Tensor, deviations: Sequence[Tensor], *, weight: float = 1.0
) -> tuple[Features, Tensor]:
    """Return a support with further embeddings of its clips, under recording conditions or on the way there.

    On the way, it is the mixup of a clip and its augmentation (Zhang et al., "mixup: Beyond empirical risk
    minimization", 2018, https://arxiv.org/abs/1710.09412), both of one class, in the space of embeddings.

    Args:
        support: (n_support, width); it is returned as it is where there are no deviations.
        y: (n_support,) class numbers.
        deviations: (n_support,) of (n_conditions, width) each: the embedding under a condition less that of the clip.
        weight: of the deviations, up to 1.
    """
    counts = torch.tensor([len(one) for one in deviations])
    if not counts.any():
        return support, y
    rows = torch.arange(len(y)).repeat_interleave(counts)
    x = torch.cat([support.x, support.x[rows] + weight * torch.cat([one for one in deviations if len(one)])])
    return Features(x, torch.ones(len(x), dtype=torch.int64)), torch.cat([y, y[rows]])
