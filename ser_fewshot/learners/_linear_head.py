"""A linear head that is fitted by gradient descent: softmax regression on embeddings, for one task or for many at once.

The gradient of the cross-entropy of a linear head is known, z^T (p - y), so no automatic differentiation runs inside
the loop. Unrolled, the steps are ordinary operations that can be differentiated once more: what is learned through
them gets its second-order gradient without being asked for, and leading dimensions are tasks side by side.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from itertools import islice

import torch
from torch import Tensor, nn

from ser_fewshot.encoders import EncoderSettings
from ser_fewshot.errors import AdaptationError, SettingsError
from ser_fewshot.learners._base import EmbeddingLearner

_SMALLEST_RADIUS = 1e-6  # support clips that are all the same are divided by this instead of by nothing
_MOST_STEPS = 100_000


@dataclass(frozen=True, kw_only=True)
class HeadSettings:
    """How a linear head is fitted to the embeddings of a support set.

    Attributes:
        rate: learning rate of the descent, on embeddings that were brought to a mean squared norm of 1.
        steps: of full-batch gradient descent.
        penalty: half of it times the squared weights is added to the loss; the bias is free.
    """

    rate: float = 1.0
    steps: int = 100
    penalty: float = 0.003

    def __post_init__(self) -> None:
        whole = type(self.steps) is int and 1 <= self.steps <= _MOST_STEPS
        largest = torch.finfo(torch.float32).max
        if not (whole and 0 < self.rate <= largest and 0 <= self.penalty <= largest):
            raise SettingsError(
                "head",
                found=f"rate {self.rate}, steps {self.steps}, penalty {self.penalty}",
                expected=f"steps in 1 ... {_MOST_STEPS}, a rate above 0, a penalty of at least 0 in float32",
                remedy="Change the one that is not.",
            )


@dataclass(frozen=True, eq=False)
class Standard:
    """The scale on which heads are fitted: centred on the support, at a mean squared norm of 1.

    A learning rate then means the same for every encoder. Every class counts alike, however many clips it has.

    Attributes:
        centre: (..., 1, width) mean of the class means.
        radius: (..., 1, 1) root of the mean squared distance from it.
    """

    centre: Tensor
    radius: Tensor

    @classmethod
    def of(cls, z: Tensor, y: Tensor, n_way: int) -> Standard:
        """Measure a support z (..., n, width) with class numbers y (..., n)."""
        share = clip_weights(y, n_way, dtype=z.dtype) / n_way  # (..., n), sums to 1
        centre = share[..., None, :] @ z
        spread = (share * (z - centre).square().sum(-1)).sum(-1)
        return cls(centre, spread.clamp_min(_SMALLEST_RADIUS**2).sqrt()[..., None, None])

    def __call__(self, z: Tensor) -> Tensor:
        """(..., n, width) -> the same on the scale of the support."""
        return (z - self.centre) / self.radius


def clip_weights(y: Tensor, n_way: int, *, dtype: torch.dtype) -> Tensor:
    """y (..., n) -> one over the size of each clip's class, (..., n): the clips of a class weigh 1 together."""
    sizes = nn.functional.one_hot(y, n_way).sum(-2)  # (..., n_way)
    return 1 / sizes.gather(-1, y).to(dtype)


def fit_softmax(
    z: Tensor, y: Tensor, weight: Tensor, bias: Tensor, *, rate: float, steps: int, penalty: float
) -> tuple[Tensor, Tensor]:
    """Fit softmax regression by full-batch gradient descent; leading dimensions (...) are tasks of the same shape.

    Minimises the cross-entropy, averaged over the clips of a class and summed over classes, plus `penalty` / 2 times
    the squared weights. (Summed, so that one rate serves 2 classes and 20: the gradient of a class does not shrink for
    there being others.) Differentiable in `z`, `weight` and `bias`, to any order.

    Args:
        z: (..., n, width) embeddings.
        y: (..., n) class numbers.
        weight: (..., n_way, width) where the weights begin.
        bias: (..., n_way) where the biases begin.
        rate: learning rate of the descent.
        steps: of it; 0 returns where it begins.
        penalty: on the weights.

    Returns:
        Weights (..., n_way, width) and biases (..., n_way) after the last step.

    Raises:
        AdaptationError: they are not finite; the error holds the step and the learning rate.
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

    Every step moves the weights within the span of the support, by the errors on its clips, so those are kept: a step
    then costs n x n products, and not n x width, which is far more where shots are few. Steps this small cost what
    their number of operations does: hence products and sums in one.
    """
    targets = nn.functional.one_hot(y, bias.shape[-1]).to(z.dtype)  # (tasks, n, n_way)
    each = clip_weights(y, bias.shape[-1], dtype=z.dtype)[:, None]  # (tasks, 1, n)
    gram = each * (z @ z.mT)  # (tasks, n, n): what the error of the clip in a column moves
    scores = z @ weight.mT  # (tasks, n, n_way): logits without the bias
    bias = bias[:, None]
    errors = torch.zeros_like(scores)  # older ones as far as the penalty has left them
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
    """Walk again the path of a descent that is known to leave the finite numbers, and say at which step it does."""
    with torch.no_grad():
        step = next(step for step, reached in enumerate(path) if not _finite(*reached))
    return AdaptationError(
        "adaptation",
        found=f"weights of the head that are not finite at inner step {max(step, 1)}, at a learning rate of {rate:g}",
        expected="finite numbers",
        remedy="Lower the head's rate or penalty; if step 1 fails already, look for damaged features or weights.",
    )


class LinearProbe(EmbeddingLearner):
    """Logits are those of a linear head, fitted to the embeddings of the support from where `start` puts it."""

    def __init__(self, dim: int, encoder: EncoderSettings, head: HeadSettings) -> None:
        super().__init__(dim, encoder)
        self.head = head

    def extra_repr(self) -> str:
        """Show what no sub-module and no parameter shows."""
        return f"head={self.head}"

    def start(self, z: Tensor, y: Tensor, n_way: int) -> tuple[Tensor, Tensor]:
        """z (..., n, width), y (..., n) -> first weights (..., n_way, width) and biases (..., n_way); zeros here."""
        return z.new_zeros(*y.shape[:-1], n_way, z.shape[-1]), z.new_zeros(*y.shape[:-1], n_way)

    def fit_head(self, z: Tensor, y: Tensor, n_way: int) -> Callable[[Tensor], Tensor]:
        """z (..., n_support, width), y (..., n_support) -> a head from (..., n, width) to logits (..., n, n_way).

        Leading dimensions (...) are tasks of the same shape.
        """
        standard = Standard.of(z, y, n_way)
        support = standard(z)
        weight, bias = fit_softmax(support, y, *self.start(support, y, n_way), **asdict(self.head))
        return lambda query: standard(query) @ weight.mT + bias[..., None, :]
