"""The inner loop: gradient steps on a support set, and the base class of learners that adapt by it.

The inner loop is a pure function of dicts of parameters. A module's own parameters are never swapped, so that several
threads may adapt one learner at once.
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
from ser_fewshot.errors import AdaptationError
from ser_fewshot.frontends import Features
from ser_fewshot.learners._base import Classifier, Learner, Task, count_classes
from ser_fewshot.settings import require

Parameters = Mapping[str, Tensor]
Loss = Callable[[Parameters], Tensor]
Rate = float | Mapping[str, Tensor]

M = TypeVar("M", bound=nn.Module)

# Length of embeddings of unit variance. A step changes the head's logits by the rate times its square, so it balances
# head and encoder. At 4, a rate of 1 adapts both well to an unseen corpus.
SHARPNESS = 4.0


def descend(loss: Loss, parameters: Parameters, *, rate: Rate, steps: int, second_order: bool) -> dict[str, Tensor]:
    """Return the parameters after steps of plain gradient descent.

    Args:
        loss: a scalar, as a function of parameters by name.
        parameters: initial values; not changed.
        rate: one for all, or for each name a tensor that broadcasts with its parameter; differentiable.
        steps: number of steps.
        second_order: differentiate through the inner gradients; else they are constants in the outer gradient.

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
    """Return the parameters that an inner loop leads to, with its graph only if the caller records gradients.

    Raises:
        AdaptationError: a loss is not finite; it names `steps` and `rate`, which are those of the inner loop.
    """
    if torch.is_grad_enabled():
        return inner_loop(loss, start)
    with torch.enable_grad():
        adapted = inner_loop(loss, {name: value.detach() for name, value in start.items()})
    adapted = {name: value.detach() for name, value in adapted.items()}
    # In training the query loss is checked; here nothing else would notice that the last step diverged.
    check_finite(loss(adapted), step=steps, rate=rate)
    return adapted


def leaves(parameters: Parameters) -> dict[str, Tensor]:
    """Return the parameters as tensors that require gradients, sharing their values."""
    return {
        name: value if value.requires_grad else value.detach().requires_grad_() for name, value in parameters.items()
    }


def gradients(loss: Loss, parameters: Parameters, *, step: int, rate: Rate, second_order: bool) -> dict[str, Tensor]:
    """Return the gradients by name, without parameters that the loss does not depend on.

    Raises:
        AdaptationError: the loss is not finite; with the inner step, from 1, and the learning rate.
    """
    value = loss(parameters)
    check_finite(value, step=step, rate=rate)
    found = torch.autograd.grad(value, list(parameters.values()), create_graph=second_order, allow_unused=True)
    return {name: slope for name, slope in zip(parameters, found, strict=True) if slope is not None}


def check_finite(loss: Tensor, *, step: int, rate: Rate) -> None:
    """Raise an AdaptationError unless the loss of an inner step is finite."""
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
    """Return a copy of a module that shares all but the parameters that are keys of `tensors`, which are replaced.

    `torch.func.functional_call` swaps tensors inside the module while it runs: two threads with one learner would use,
    and leave behind, each other's weights.
    """
    twin = copy.copy(module)
    own = {name: value if value is None else tensors.get(value, value) for name, value in module._parameters.items()}
    vars(twin).update(_parameters=own, _modules={name: bind(child, tensors) for name, child in module.named_children()})
    return twin


def check_inner(where: str, *, steps: int, rate: float, fewest: int = 1) -> None:
    """Raise a SettingsError unless there are enough steps, and a rate above 0 that a float32 can hold."""
    require(
        steps >= fewest and 0 < rate <= torch.finfo(torch.float32).max,
        where,
        found=f"steps {steps}, rate {rate}",
        expected=f"at least {fewest} steps, and a rate above 0 that a float32 can hold",
        remedy="Leave both out for their defaults.",
    )


class GradientLearner(Learner):
    """An encoder and a linear head, both adapted to a support set by gradient steps.

    The input of the head is centred on the support (every class weighing the same), so that properties of a whole
    corpus, such as its room or microphone, do not dominate, and has a length that does not depend on its width.

    The head begins at zero. Class numbers are arbitrary, so learned rows could only become equal, which cancels in the
    softmax. It makes any n_way possible (Kao et al., "MAML is a noisy contrastive learner in classification", 2022,
    https://arxiv.org/abs/2106.15367).
    """

    def __init__(self, dim: int, encoder: EncoderSettings, *, steps: int, rate: float, second_order: bool) -> None:
        super().__init__()
        self.encoder: Encoder = build_encoder(dim, encoder)
        self.steps = steps
        self._rate = rate
        self.second_order = second_order

    @property
    def rate(self) -> Rate:
        """The inner learning rate, as of `descend`."""
        return self._rate

    def fit_scale(self, features: Features, y: Tensor | None = None) -> None:
        """Fit the encoder's normalisation."""
        self.encoder.fit_scale(features, y)

    def embed(self, features: Features) -> Features:
        """Return what does not depend on the encoder's weights: the frames, or their functionals."""
        return self.encoder.prepare(features)

    def adapt(self, support: Features, y: Tensor) -> Classifier:
        """Descend on the support's loss; see `Learner.adapt`. Logits can be differentiated through every step."""
        n_way = count_classes(y, len(support))
        support = self.embed(support)
        loss = partial(self.loss, features=support, y=y)
        inner_loop = partial(self.inner_loop, second_order=self.second_order and torch.is_grad_enabled())
        adapted = as_recorded(inner_loop, loss, self.start(n_way, like=support.x), steps=self.steps, rate=self.rate)
        centre = shares(y, support.x.dtype) @ self.embeddings(adapted, support)
        return lambda query: head(adapted, self.embeddings(adapted, self.embed(query)) - centre)

    def accumulate_many(self, tasks: Sequence[Task], weight: float) -> list[float]:
        """Call `accumulate` for several tasks at once, summing in the order of the tasks.

        Each task has a copy of the learner with its own gradients; if one diverges, no gradient is added. With dropout,
        which draws from the global generator, tasks run one after the other so that the seed decides what is dropped.
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
        """Return the initial parameters: the encoder's, and a head (n_way, width) of zeros of the type of `like`."""
        head = {"head.weight": like.new_zeros(n_way, self.encoder.width), "head.bias": like.new_zeros(n_way)}
        return {**self.adapted_parameters(), **head}

    def embeddings(self, parameters: Parameters, features: Features) -> Tensor:
        """Parameters as of `start`, n clips -> (n, width)."""
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
        """Return the encoder's trainable parameters by name."""
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
    """Tell whether a module has active dropout."""
    return any(isinstance(part, nn.Dropout) and part.training and part.p > 0 for part in module.modules())
