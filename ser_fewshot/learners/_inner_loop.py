"""Gradient steps on a support set: the inner loop, and what every learner that adapts by it shares.

The inner loop is one pure function over dicts of parameters. A module's own parameters are never swapped, not even for
a moment, so several threads may adapt one learner at once; `_parallel` lets them.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TypeVar

import torch
from torch import Tensor, nn

from ser_fewshot.compute.threads import each
from ser_fewshot.encoders import Encoder, EncoderSettings, build_encoder
from ser_fewshot.errors import AdaptationError, SettingsError
from ser_fewshot.frontends import Features
from ser_fewshot.learners._base import Classifier, Learner, Task, count_classes

Parameters = Mapping[str, Tensor]
Loss = Callable[[Parameters], Tensor]
Rate = float | Mapping[str, Tensor]

M = TypeVar("M", bound=nn.Module)

# Length of an embedding whose values are of order 1. A step moves the head's logits by the rate times its square, so a
# longer one makes the head bolder beside the encoder. At 4, a rate of 1 adapts both well to a corpus never trained on.
SHARPNESS = 4.0


def descend(loss: Loss, parameters: Parameters, *, rate: Rate, steps: int, second_order: bool) -> dict[str, Tensor]:
    """Take steps of plain gradient descent and return where they lead; what is passed in does not change.

    Args:
        loss: a scalar, as a function of parameters by name.
        parameters: where to begin.
        rate: one for all, or for each name a tensor that broadcasts with its parameter; differentiable.
        steps: how many.
        second_order: keep how each gradient depends on where it was taken. Without it the end still depends on the
            beginning, but as if every gradient were a constant: the outer gradient is then the one at the end.

    Raises:
        AdaptationError: a loss is not finite.
    """
    values = leaves(parameters)
    for step in range(1, steps + 1):
        slopes = gradients(loss, values, step=step, rate=rate, second_order=second_order)
        values = {
            name: value - (rate[name] if isinstance(rate, Mapping) else rate) * slopes[name]
            if name in slopes
            else value
            for name, value in values.items()
        }
    return values


def as_recorded(
    inner_loop: Callable[[Loss, Parameters], dict[str, Tensor]],
    loss: Loss,
    start: Parameters,
    *,
    steps: int,
    rate: Rate,
) -> dict[str, Tensor]:
    """Return where an inner loop leads; nothing of how it got there is kept unless the caller records gradients.

    Args:
        inner_loop: from a loss and where to begin to where it leads.
        loss: what it lowers.
        start: where to begin.
        steps: that it takes, for the error.
        rate: of the steps, for the error.

    Raises:
        AdaptationError: a loss is not finite.
    """
    if torch.is_grad_enabled():
        return inner_loop(loss, start)
    with torch.enable_grad():
        adapted = inner_loop(loss, {name: value.detach() for name, value in start.items()})
    adapted = {name: value.detach() for name, value in adapted.items()}
    # In training a query loss follows, which tells; here nobody would see that the last step went too far.
    check_finite(loss(adapted), step=steps, rate=rate)
    return adapted


def leaves(parameters: Parameters) -> dict[str, Tensor]:
    """Return the parameters with gradients switched on for those that have none, on copies that share their values."""
    return {
        name: value if value.requires_grad else value.detach().requires_grad_() for name, value in parameters.items()
    }


def gradients(loss: Loss, parameters: Parameters, *, step: int, rate: Rate, second_order: bool) -> dict[str, Tensor]:
    """Return the gradient by name; parameters that the loss does not depend on are left out.

    Raises:
        AdaptationError: the loss is not finite; the error names the inner step, from 1, and the learning rate.
    """
    value = loss(parameters)
    check_finite(value, step=step, rate=rate)
    found = torch.autograd.grad(value, list(parameters.values()), create_graph=second_order, allow_unused=True)
    return {name: slope for name, slope in zip(parameters, found, strict=True) if slope is not None}


def check_finite(loss: Tensor, *, step: int, rate: Rate) -> None:
    """Refuse a loss that is no number.

    Raises:
        AdaptationError: with the loss, the inner step and the learning rate.
    """
    if math.isfinite(loss.item()):
        return
    raise AdaptationError(
        "adaptation",
        found=f"a loss of {loss.item():g} at inner step {step}, at a learning rate of {_describe(rate)}",
        expected="a finite loss",
        remedy="Lower the learner's rate, or train it again if its weights are damaged.",
    )


def _describe(rate: Rate) -> str:
    if not isinstance(rate, Mapping):
        return f"{rate:g}"
    values = torch.cat([value.detach().flatten() for value in rate.values()])
    return f"{values.min().item():g} to {values.max().item():g}"


def bind(module: M, tensors: Mapping[Tensor, Tensor]) -> M:
    """Return a module that computes as this one does, with other tensors in place of some of its parameters.

    Everything else is shared. `torch.func.functional_call` does the same by swapping the tensors inside the module
    while it runs: two threads with one learner would compute with, and leave behind, each other's weights.

    Args:
        module: is not changed.
        tensors: what stands in for which parameter.
    """
    twin = copy.copy(module)
    own = {name: value if value is None else tensors.get(value, value) for name, value in module._parameters.items()}
    vars(twin).update(_parameters=own, _modules={name: bind(child, tensors) for name, child in module.named_children()})
    return twin


def check_inner(where: str, *, steps: int, rate: float, fewest: int = 1) -> None:
    """Refuse an inner loop that cannot learn.

    Raises:
        SettingsError: there are fewer steps than `fewest`, or the rate is not above 0, or beyond every float32.
    """
    if steps < fewest or not 0 < rate <= torch.finfo(torch.float32).max:
        raise SettingsError(
            where,
            found=f"steps {steps}, rate {rate}",
            expected=f"at least {fewest} steps, and a rate above 0 that a float32 can hold",
            remedy="Leave both out for their defaults.",
        )


class GradientLearner(Learner):
    """An encoder and a linear head on it, both adapted to a support set by gradient steps.

    The head sees embeddings less the mean of the support's (every class weighing the same), as otherwise what sets a
    whole corpus apart, a room or a microphone, would be its strongest input; and of a length that no width decides.

    The head begins at zero for every class. Class numbers mean nothing from one episode to the next, so rows that were
    learned for them could only learn to be alike, and what all rows share cancels in the softmax, in every gradient
    too: there is nothing to learn in a start other than zero. It makes any number of classes possible (Kao et al.,
    "MAML is a noisy contrastive learner in classification", 2022, https://arxiv.org/abs/2106.15367).
    """

    def __init__(self, dim: int, encoder: EncoderSettings, *, steps: int, second_order: bool) -> None:
        super().__init__()
        self.encoder: Encoder = build_encoder(dim, encoder)
        self.steps = steps
        self.second_order = second_order

    @property
    def rate(self) -> Rate:
        """The inner learning rate, as `descend` takes it."""
        raise NotImplementedError

    def fit_scale(self, features: Features, y: Tensor | None = None) -> None:
        """Learn the encoder's scale."""
        self.encoder.fit_scale(features, y)

    def embed(self, features: Features) -> Features:
        """Return what the encoder's weights have no part in: the frames, or their functionals."""
        return self.encoder.prepare(features)

    def adapt(self, support: Features, y: Tensor) -> Classifier:
        """Descend on the support's loss; see `Learner.adapt`.

        Where the caller records gradients, those of the classifier's logits reach the learner through every step.
        """
        n_way = count_classes(y, len(support))
        support = self.embed(support)
        loss = partial(self.loss, features=support, y=y)
        inner_loop = partial(self.inner_loop, second_order=self.second_order and torch.is_grad_enabled())
        adapted = as_recorded(inner_loop, loss, self.start(n_way, like=support.x), steps=self.steps, rate=self.rate)
        centre = shares(y, support.x.dtype) @ self.embeddings(adapted, support)
        return lambda query: head(adapted, self.embeddings(adapted, self.embed(query)) - centre)

    def accumulate_many(self, tasks: Sequence[Task], weight: float) -> list[float]:
        """Do for each task what `accumulate` does, for several at once; the sum runs in the order of the tasks.

        Each task gets a twin of the learner with its own gradients. Dropout, while it is on, draws from the one global
        generator: then tasks run one after the other, so that a seed still decides what is dropped.

        Raises:
            AdaptationError: adapting to a task diverged; no gradient was added.
        """
        if _drops(self):
            return super().accumulate_many(tasks, weight)
        parameters = list(self.parameters())

        def accumulate(task: Task) -> tuple[float, list[Tensor | None]]:
            own = [parameter.detach().requires_grad_(parameter.requires_grad) for parameter in parameters]
            loss = bind(self, dict(zip(parameters, own, strict=True))).accumulate(task, weight)
            return loss, [tensor.grad for tensor in own]

        results = each(accumulate, tasks)
        for _, slopes in results:
            for parameter, slope in zip(parameters, slopes, strict=True):
                if slope is not None:
                    parameter.grad = slope if parameter.grad is None else parameter.grad + slope
        return [loss for loss, _ in results]

    def inner_loop(self, loss: Loss, start: Parameters, *, second_order: bool) -> dict[str, Tensor]:
        """Return the adapted parameters; see `descend`."""
        return descend(loss, start, rate=self.rate, steps=self.steps, second_order=second_order)

    def start(self, n_way: int, *, like: Tensor) -> dict[str, Tensor]:
        """Return what is adapted: the encoder's parameters that learn, and a head (n_way, width) of zeros.

        Args:
            n_way: rows of the head.
            like: a tensor of the head's type, on its device.
        """
        head = {"head.weight": like.new_zeros(n_way, self.encoder.width), "head.bias": like.new_zeros(n_way)}
        return {**self.adapted_parameters(), **head}

    def embeddings(self, parameters: Parameters, features: Features) -> Tensor:
        """Parameters named as `start` names them, n clips -> (n, width)."""
        tensors: dict[Tensor, Tensor] = {own: parameters[name] for name, own in self.adapted_parameters().items()}
        z: Tensor = bind(self.encoder, tensors)(features)
        return z * (SHARPNESS / math.sqrt(self.encoder.width))

    def loss(self, parameters: Parameters, *, features: Features, y: Tensor) -> Tensor:
        """Return the cross-entropy of n clips with classes y (n,), every class weighing the same."""
        z = self.embeddings(parameters, features)
        weight = shares(y, z.dtype)
        logits = head(parameters, z - weight @ z)
        return torch.dot(weight, nn.functional.cross_entropy(logits, y, reduction="none"))

    def adapted_parameters(self) -> dict[str, nn.Parameter]:
        """Return the learner's own parameters that the inner loop begins at: those of the encoder, by their names."""
        own = self.encoder.named_parameters(prefix="encoder")
        return {name: value for name, value in own if value.requires_grad}


def head(parameters: Parameters, z: Tensor) -> Tensor:
    """Centred embeddings z (n, width) -> logits (n, n_way)."""
    return nn.functional.linear(z, parameters["head.weight"], parameters["head.bias"])


def shares(y: Tensor, dtype: torch.dtype) -> Tensor:
    """Classes y (n,) -> (n,) weights that sum to 1, and to the same for the clips of each class that occurs."""
    clips = torch.bincount(y)
    return 1 / (clips[y] * (clips > 0).sum()).to(dtype)


def _drops(module: nn.Module) -> bool:
    """Tell whether a module, as it is switched now, draws random numbers in a dropout."""
    return any(isinstance(part, nn.Dropout) and part.training and part.p > 0 for part in module.modules())
