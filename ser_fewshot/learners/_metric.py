"""Distances between embeddings, and their projection to few dimensions."""

from __future__ import annotations

import torch
from torch import Tensor, nn

_ELEMENTS = 2**24  # differences held at a time: 64 MiB in float32


def squared_distances(a: Tensor, b: Tensor) -> Tensor:
    """a (n, width), b (m, width) -> squared Euclidean distances (n, m).

    Subtracts before it squares: |a|^2 - 2 ab + |b|^2 would lose half the digits where two embeddings are close.
    """
    rows = max(1, _ELEMENTS // max(1, b.numel()))
    return torch.cat([(part[:, None] - b[None]).square().sum(2) for part in torch.split(a, rows)])


def cosine_similarities(a: Tensor, b: Tensor) -> Tensor:
    """a (n, width), b (m, width) -> cosines of the angles between them (n, m), in [-1, 1]."""
    return nn.functional.normalize(a, dim=1) @ nn.functional.normalize(b, dim=1).T


class Projection(nn.Module):
    """A linear map followed by layer norm, so that embeddings of any encoder have one scale.

    It is initialised orthogonal, which nearly preserves distances (Johnson and Lindenstrauss, "Extensions of Lipschitz
    mappings into a Hilbert space", 1984, https://doi.org/10.1090/conm/026/737400).
    """

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        self.linear = nn.Linear(n_in, n_out)
        self.norm = nn.LayerNorm(n_out)
        nn.init.orthogonal_(self.linear.weight)

    def forward(self, z: Tensor) -> Tensor:
        """(n, n_in) -> (n, n_out)."""
        projected: Tensor = self.norm(self.linear(z))
        return projected
