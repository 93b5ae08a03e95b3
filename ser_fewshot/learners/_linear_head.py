"""Softmax regression on embeddings by gradient descent, for one task or a batch of tasks.

The gradient, z^T (p - y), is written out, so no automatic differentiation runs inside the loop; the unrolled steps can
be differentiated for the second-order gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from itertools import islice

import torch
from torch import Tensor, nn

from ser_fewshot.encoders import EncoderSettings
from ser_fewshot.errors import AdaptationError
from ser_fewshot.learners._base import EmbeddingLearner
from ser_fewshot.settings import require

_SMALLEST_RADIUS = 1e-6  # lower bound, for support clips that are all the same
_MOST_STEPS = 100_000


@dataclass(frozen=True, kw_only=True)
class HeadSettings:
    """How a linear head is fitted to the embeddings of a support set.

    Attributes:
        rate: learning rate, for embeddings at a mean squared norm of 1.
        steps: of full-batch gradient descent.
        penalty: of the weights, not of the bias; half of it times their squared norm is added to the loss.
    """

    rate: float = 1.0
    steps: int = 100
    penalty: float = 0.003

    def __post_init__(self) -> None:
        whole = type(self.steps) is int and 1 <= self.steps <= _MOST_STEPS
        largest = torch.finfo(torch.float32).max
        require(
            whole and 0 < self.rate <= largest and 0 <= self.penalty <= largest,
            "head",
            found=f"rate {self.rate}, steps {self.steps}, penalty {self.penalty}",
            expected=f"steps in 1 ... {_MOST_STEPS}, a rate above 0, a penalty of at least 0 in float32",
            remedy="Change the one that is not.",
        )


@dataclass(frozen=True, eq=False)
class Standard:
    """Normalisation of embeddings: centred on the support, at a mean squared norm of 1, every class weighing the same.

    It makes the learning rate independent of the encoder.

    Attributes:
        centre: (..., 1, width) mean of the class means.
        radius: (..., 1, 1) root of the mean squared distance from it.
    """

    centre: Tensor
    radius: Tensor

    @classmethod
    def of(cls, z: Tensor, y: Tensor, n_way: int) -> Standard:
        """Fit it to a support z (..., n, width) with class numbers y (..., n)."""
        share = clip_weights(y, n_way, dtype=z.dtype) / n_way  # (..., n), sums to 1
        centre = share[..., None, :] @ z
        spread = (share * (z - centre).square().sum(-1)).sum(-1)
        return cls(centre, spread.clamp_min(_SMALLEST_RADIUS**2).sqrt()[..., None, None])

    def __call__(self, z: Tensor) -> Tensor:
        """(..., n, width) -> the same, normalised."""
        return (z - self.centre) / self.radius


def clip_weights(y: Tensor, n_way: int, *, dtype: torch.dtype) -> Tensor:
    """y (..., n) -> one over the size of each clip's class, (..., n)."""
    sizes = nn.functional.one_hot(y, n_way).sum(-2)  # (..., n_way)
    return 1 / sizes.gather(-1, y).to(dtype)


def fit_softmax(
    z: Tensor, y: Tensor, weight: Tensor, bias: Tensor, *, rate: float, steps: int, penalty: float
) -> tuple[Tensor, Tensor]:
    """Fit softmax regression by full-batch gradient descent; leading dimensions (...) are tasks of the same shape.

    Minimises the cross-entropy, averaged over the clips of a class and summed over classes (so that one rate fits any
    n_way), plus `penalty` / 2 times the squared weights. Differentiable in `z`, `weight` and `bias`, to any order.

    Embeddings z (..., n, width) of classes y (..., n), initial weights (..., n_way, width) and biases (..., n_way) ->
    weights and biases after the last step.

    Raises:
        AdaptationError: they are not finite; with the step and the learning rate.
    """
    tasks = [value.reshape(-1, *value.shape[-last:]) for value, last in ((z, 2), (y, 1), (weight, 2), (bias, 1))]
    path = partial(_descend, *tasks, rate=rate, penalty=penalty)
    errors, reached = next(islice(path(), steps, None))
    if not _finite(errors, reached):
        raise _diverged(path(), rate=rate)
    coefficients = clip_weights(y, bias.shape[-1], dtype=z.dtype)[..., None] * errors.view(*y.shape, -1)
    return (1 - rate * penalty) ** steps * weight - rate * coefficients.mT @ z, reached.view_as(bias)


def _descend(
    z: Tensor, y: Tensor, weight: Tensor, bias: Tensor, *, rate: float, penalty: float
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the sum of past errors p - y (tasks, n, n_way) and the biases (tasks, 1, n_way) after 0, 1, 2, ... steps.

    Every step moves the weights within the span of the support, so their coefficients, the errors, are kept: a step
    costs n x n products instead of n x width. Fused products and sums, as the number of calls dominates the time.
    """
    targets = nn.functional.one_hot(y, bias.shape[-1]).to(z.dtype)  # (tasks, n, n_way)
    each = clip_weights(y, bias.shape[-1], dtype=z.dtype)[:, None]  # (tasks, 1, n)
    gram = each * (z @ z.mT)  # (tasks, n, n)
    scores = z @ weight.mT  # (tasks, n, n_way): logits without the bias
    bias = bias[:, None]
    errors = torch.zeros_like(scores)  # decayed by the penalty
    kept = 1 - rate * penalty
    while True:
        yield errors, bias
        error = (scores + bias).softmax(-1) - targets
        scores = torch.baddbmm(scores, gram, error, beta=kept, alpha=-rate)
        bias = torch.baddbmm(bias, each, error, alpha=-rate)
        errors = kept * errors + error


def _finite(errors: Tensor, bias: Tensor) -> bool:
    return bool(errors.isfinite().all()) and bool(bias.isfinite().all())


def _diverged(path: Iterator[tuple[Tensor, Tensor]], *, rate: float) -> AdaptationError:
    """Repeat a descent that diverged, and return the error with its step."""
    with torch.no_grad():
        step = next(step for step, reached in enumerate(path) if not _finite(*reached))
    return AdaptationError(
        "adaptation",
        found=f"weights of the head that are not finite at inner step {max(step, 1)}, at a learning rate of {rate:g}",
        expected="finite numbers",
        remedy="Lower the head's rate or penalty; if step 1 fails already, look for damaged features or weights.",
    )


class LinearProbe(EmbeddingLearner):
    """A linear head, fitted to the embeddings of the support from the initial values of `start`."""

    def __init__(self, dim: int, encoder: EncoderSettings, head: HeadSettings) -> None:
        super().__init__(dim, encoder)
        self.head = head

    def start(self, z: Tensor, y: Tensor, n_way: int) -> tuple[Tensor, Tensor]:
        """z (..., n, width), y (..., n) -> initial weights (..., n_way, width) and biases (..., n_way), zero here."""
        return z.new_zeros(*y.shape[:-1], n_way, z.shape[-1]), z.new_zeros(*y.shape[:-1], n_way)

    def fit_head(self, z: Tensor, y: Tensor, n_way: int) -> Callable[[Tensor], Tensor]:
        """z (..., n_support, width), y (..., n_support) -> a head from (..., n, width) to logits (..., n, n_way).

        Leading dimensions (...) are tasks of the same shape.
        """
        standard = Standard.of(z, y, n_way)
        support = standard(z)
        weight, bias = fit_softmax(support, y, *self.start(support, y, n_way), **asdict(self.head))
        return lambda query: standard(query) @ weight.mT + bias[..., None, :]
