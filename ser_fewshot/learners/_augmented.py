"""A support augmented by what recording conditions make of its clips."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ser_fewshot.frontends import Features

_MIXUP_WEIGHT = 0.5  # of the way from a clip to what it is under a condition: all of it costs accuracy on clean queries


def augmented_support(support: Features, y: Tensor, deviations: Sequence[Tensor]) -> tuple[Features, Tensor]:
    """Return a support with further embeddings of its clips, half way to what they are under recording conditions.

    It is the mixup of a clip and its augmentation (Zhang et al., "mixup: Beyond empirical risk minimization", 2018,
    https://arxiv.org/abs/1710.09412), both of one class, in the space of embeddings.

    Args:
        support: (n_support, width); it is returned as it is where there are no deviations.
        y: (n_support,) class numbers.
        deviations: (n_support,) of (n_conditions, width) each: the embedding under a condition less that of the clip.
    """
    counts = torch.tensor([len(one) for one in deviations])
    if not counts.any():
        return support, y
    rows = torch.arange(len(y)).repeat_interleave(counts)
    x = torch.cat([support.x, support.x[rows] + _MIXUP_WEIGHT * torch.cat([one for one in deviations if len(one)])])
    return Features(x, torch.ones(len(x), dtype=torch.int64)), torch.cat([y, y[rows]])
