"""Distances between embeddings."""

from __future__ import annotations

import torch
from torch import Tensor, nn

_ELEMENTS = 2**24  # differences that are held at a time: 64 MiB in float32


def squared_distances(a: Tensor, b: Tensor) -> Tensor:
    """a (n, width), b (m, width) -> squared Euclidean distances (n, m).

    Subtracts before it squares: |a|^2 - 2 ab + |b|^2 would lose half the digits where two embeddings are close.
    """
    rows = max(1, _ELEMENTS // max(1, b.numel()))
    return torch.cat([(part[:, None] - b[None]).square().sum(2) for part in torch.split(a, rows)])


def cosine_similarities(a: Tensor, b: Tensor) -> Tensor:
    """a (n, width), b (m, width) -> cosines of the angles between them (n, m), in [-1, 1]."""
    return nn.functional.normalize(a, dim=1) @ nn.functional.normalize(b, dim=1).T
