"""Meta-SGD: MAML with a learning rate for every weight, meta-trained along with the weights.

Li et al., "Meta-SGD: learning to learn quickly for few-shot learning", 2017, https://arxiv.org/abs/1707.09835.

The idea: where to begin is not all that can be learned about a descent. A rate per weight also says how far each should
move, and, as a rate may become zero or negative, which ones should stay and which should move against the gradient.

Differs from the paper: rates begin at one value instead of at random ones; the head begins at zero and has a rate for
each weight of a row, the same for all classes, because class numbers mean nothing from one episode to the next; k steps
with the same rates are possible, where the paper takes one; otherwise as in `maml`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from ser_fewshot.encoders import EncoderSettings
from ser_fewshot.learners._inner_loop import GradientLearner, check_inner


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How the inner loop goes.

    Attributes:
        encoder: what is adapted, together with a linear head on it.
        steps: gradient steps on the support.
        rate: what every weight's rate begins at.
        first_order: leave out the derivatives of inner gradients; rates still learn.
    """

    encoder: EncoderSettings = field(default_factory=lambda: EncoderSettings(name="dense", dropout=0.0))
    steps: int = 5
    rate: float = 1.0
    first_order: bool = False

    def __post_init__(self) -> None:
        check_inner("meta_sgd", steps=self.steps, rate=self.rate)


class MetaSGD(GradientLearner):
    """Encoder and head after k gradient steps on the support's loss, every weight at its own learned rate."""

    def __init__(self, dim: int, settings: Settings) -> None:
        super().__init__(dim, settings.encoder, steps=settings.steps, second_order=not settings.first_order)
        # One row of the head stands for all.
        one_class = self.start(1, like=torch.empty(0))
        self.rates = nn.ParameterDict(
            {_key(name): nn.Parameter(torch.full_like(value, settings.rate)) for name, value in one_class.items()}
        )

    def extra_repr(self) -> str:
        """Show what no sub-module and no parameter shows."""
        return f"steps={self.steps}, second_order={self.second_order}"

    @property
    def rate(self) -> dict[str, Tensor]:
        """The rate of every weight, by the names of `start`; the head's rates, (1, width) and (1,), fit all classes."""
        return {name: self.rates[_key(name)] for name in self.start(1, like=torch.empty(0))}


def _key(name: str) -> str:
    """Return a name that a parameter may have: without dots."""
    return name.replace(".", "/")


LEARNER = MetaSGD
