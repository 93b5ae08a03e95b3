"""Ridge regression from embeddings to one-hot labels, solved in closed form.

Bertinetto et al., "Meta-learning with differentiable closed-form solvers" (R2D2), 2019,
https://arxiv.org/abs/1805.08136.

The idea: penalised least squares needs no gradient steps and, unlike a centroid, finds the directions that discriminate
between these classes. The solution is differentiable, so the encoder can be meta-trained through it; on a frozen
encoder it is an ordinary ridge classifier.

Differs from the paper: embeddings and targets are centred on the support (so that the intercept is not penalised), and
the penalty is relative to the mean squared norm of the centred support, so that it does not depend on the encoder.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from ser_fewshot.encoders import EncoderSettings
from ser_fewshot.learners._base import EmbeddingLearner
from ser_fewshot.settings import require


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The regression.

    Attributes:
        encoder: of the embeddings.
        penalty: relative to the mean squared norm of the centred support embeddings; 1 works from 1 to 20 shots.
        sharpness: initial factor from the regression's outputs to logits.
    """

    encoder: EncoderSettings = field(default_factory=lambda: EncoderSettings(name="statistics"))
    penalty: float = 1.0
    sharpness: float = 10.0

    def __post_init__(self) -> None:
        require(
            0 < self.penalty < math.inf and 0 < self.sharpness < math.inf,
            "ridge",
            found=f"penalty {self.penalty}, sharpness {self.sharpness}",
            expected="both finite and above 0",
            remedy="Try penalty 1 and sharpness 10.",
        )


class Ridge(EmbeddingLearner):
    """Logits are the outputs of the regression times a learned sharpness."""

    def __init__(self, dim: int, settings: Settings) -> None:
        super().__init__(dim, settings.encoder)
        self.penalty = settings.penalty
        self.log_sharpness = nn.Parameter(torch.tensor(settings.sharpness).log())

    def fit_head(self, z: Tensor, y: Tensor, n_way: int) -> Callable[[Tensor], Tensor]:
        """z (n_support, width) -> head from (n_query, width) to (n_query, n_way).

        Clips are weighted by one over the size of their class.
        """
        weight = 1 / torch.bincount(y, minlength=n_way).to(z.dtype)[y]  # (n_support,)
        weight = weight / weight.sum() * len(y)
        centre = (weight[:, None] * z).mean(0)
        root = weight.sqrt()[:, None]
        support = root * (z - centre)
        target = root * (nn.functional.one_hot(y, n_way).to(z.dtype) - 1 / n_way)
        gram = support @ support.T  # (n_support, n_support)
        penalty = self.penalty * gram.diagonal().mean().clamp_min(1e-12)
        identity = torch.eye(len(y), dtype=z.dtype, device=z.device)
        weights = support.T @ torch.linalg.solve(gram + penalty * identity, target)  # (width, n_way)
        return lambda query: ((query - centre) @ weights + 1 / n_way) * self.log_sharpness.exp()


LEARNER = Ridge
