"""A linear support-vector machine on embeddings: what most papers with openSMILE put behind it.

Cortes and Vapnik, "Support-vector networks", 1995, https://doi.org/10.1007/BF00994018, one class against the rest, by
scikit-learn. It is no plug-in: nothing flows back through it, so it cannot be meta-trained. Its logits are its margins.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from sklearn.svm import LinearSVC
from torch import Tensor

from ser_fewshot.learners import EmbeddingLearner

PENALTY = 0.01
"""C: small, for a handful of clips in hundreds to thousands of dimensions of unit scale."""
_MOST_STEPS = 5_000


class SupportVectors(EmbeddingLearner):
    """Classes with more support do not win for it: each clip weighs one over the size of its class."""

    def fit_head(self, z: Tensor, y: Tensor, n_way: int) -> Callable[[Tensor], Tensor]:
        """z (n_support, width), y (n_support,) -> head from (n_query, width) to margins (n_query, n_way)."""
        # The weights are sums of support clips, so they are sought among those: n_support values instead of thousands.
        basis, coordinates = torch.linalg.qr(z.double().T)  # (width, n), (n, n_support)
        machine = LinearSVC(C=PENALTY, class_weight="balanced", max_iter=_MOST_STEPS, random_state=0)
        machine.fit(coordinates.T.numpy(), y.numpy())
        weight = (torch.from_numpy(machine.coef_) @ basis.T).to(z.dtype)
        bias = torch.from_numpy(machine.intercept_).to(z.dtype)
        if n_way == 2:  # scikit-learn keeps one machine: that of the second class
            weight, bias = torch.cat([-weight, weight]), torch.cat([-bias, bias])
        return lambda query: query @ weight.T + bias
