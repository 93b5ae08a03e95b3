"""Reptile: move the weights towards those after training on a task.

Nichol, Achiam and Schulman, "On first-order meta-learning algorithms", 2018, https://arxiv.org/abs/1803.02999.

The idea: train on a task for k steps over its mini-batches, and use the difference between start and end as the
gradient. For k > 1 its expectation also rewards inner products of gradients of mini-batches of one task, that is, fast
adaptation. There are no second derivatives and no query loss.

Differs from the paper: the mini-batches of a task are its support and its query, in turn; the difference is divided by
the inner rate, so that the outer optimiser, AdamW where the paper interpolates, receives a sum of gradients; the inner
optimiser is plain SGD, for which the paper's analysis holds, with the paper's Adam (without momentum) as an option,
restarted in every task; the head begins at zero, as in `maml`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from ser_fewshot.encoders import EncoderSettings
from ser_fewshot.learners._base import Task, count_classes
from ser_fewshot.learners._inner_loop import GradientLearner, Loss, Parameters, check_inner, gradients, leaves
from ser_fewshot.settings import check_choice

InnerOptimizer = Literal["sgd", "adam"]

_DECAY = 0.999  # of Adam's average of squared gradients; Kingma and Ba, https://arxiv.org/abs/1412.6980
_EPSILON = 1e-8


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The inner loop.

    Attributes:
        encoder: is adapted, together with a linear head.
        steps: gradient steps, in training on support and query in turn; at least 2, as the first one, with the head at
            zero, moves only the head.
        rate: their learning rate; for Adam try 0.003.
        inner_optimizer: "sgd": plain gradient descent; "adam": Adam without momentum.
    """

    encoder: EncoderSettings = field(default_factory=lambda: EncoderSettings(name="dense", dropout=0.0))
    steps: int = 5
    rate: float = 1.0
    inner_optimizer: InnerOptimizer = "sgd"

    def __post_init__(self) -> None:
        check_inner("reptile", steps=self.steps, rate=self.rate, fewest=2)
        check_choice("inner_optimizer", self.inner_optimizer, InnerOptimizer)


class Reptile(GradientLearner):
    """Encoder and head after k steps on the support's loss."""

    def __init__(self, dim: int, settings: Settings) -> None:
        super().__init__(dim, settings.encoder, steps=settings.steps, rate=settings.rate, second_order=False)
        self.inner_optimizer: InnerOptimizer = settings.inner_optimizer
        self.step_size: float = settings.rate

    def inner_loop(self, loss: Loss, start: Parameters, *, second_order: bool) -> dict[str, Tensor]:
        """Return the adapted parameters."""
        if self.inner_optimizer == "adam":
            return descend_by_adam(loss, start, rate=self.step_size, steps=self.steps)
        return super().inner_loop(loss, start, second_order=second_order)

    def accumulate(self, task: Task, weight: float) -> float:
        """Add `weight` times (start - end) of the inner loop over its rate, and return the mean loss over the steps.

        With SGD that is the sum of the inner gradients.
        """
        support, query = self.embed(task.support), self.embed(task.query)
        batches = ((support, task.support_y), (query, task.query_y))
        losses: list[Tensor] = []

        def loss(parameters: Parameters) -> Tensor:
            features, y = batches[len(losses) % 2]
            value = self.loss(parameters, features=features, y=y)
            losses.append(value.detach())
            return value

        start = self.start(count_classes(task.support_y, len(support)), like=support.x)
        start = {name: value.detach() for name, value in start.items()}
        end = self.inner_loop(loss, start, second_order=False)
        for name, parameter in self.adapted_parameters().items():
            gradient = weight * (start[name] - end[name].detach()) / self.step_size
            parameter.grad = gradient if parameter.grad is None else parameter.grad + gradient
        return torch.stack(losses).mean().item()


def descend_by_adam(loss: Loss, parameters: Parameters, *, rate: float, steps: int) -> dict[str, Tensor]:
    """Return the parameters after steps of Adam without momentum (beta_1 = 0); first order.

    Raises:
        AdaptationError: a loss is not finite.
    """
    values = leaves(parameters)
    squares = {name: torch.zeros_like(value) for name, value in values.items()}
    for step in range(1, steps + 1):
        for name, slope in gradients(loss, values, step=step, rate=rate, second_order=False).items():
            squares[name] = _DECAY * squares[name] + (1 - _DECAY) * slope.square()
            spread = (squares[name] / (1 - _DECAY**step)).sqrt() + _EPSILON
            values[name] = values[name] - rate * slope / spread
    return values


LEARNER = Reptile
