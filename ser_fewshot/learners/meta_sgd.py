"""Meta-SGD: MAML with a learning rate for every weight, meta-trained along with the weights.

Li et al., "Meta-SGD: learning to learn quickly for few-shot learning", 2017, https://arxiv.org/abs/1707.09835.

The idea: besides the initialisation, learn for each weight how far it moves; a rate may become zero or negative.

Differs from the paper: rates begin at one value instead of random ones; the head begins at zero, with rates that all
classes share, as class numbers are arbitrary; k steps are possible, where the paper takes one; otherwise as `maml`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from ser_fewshot.encoders import EncoderSettings
from ser_fewshot.learners._inner_loop import GradientLearner, check_inner


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The inner loop.

    Attributes:
        encoder: is adapted, together with a linear head.
        steps: gradient steps on the support.
        rate: initial learning rate of every weight.
        first_order: omit the derivatives of inner gradients; rates are still learned.
    """

    encoder: EncoderSettings = field(default_factory=lambda: EncoderSettings(name="dense", dropout=0.0))
    steps: int = 5
    rate: float = 1.0
    first_order: bool = False

    def __post_init__(self) -> None:
        check_inner("meta_sgd", steps=self.steps, rate=self.rate)


class MetaSGD(GradientLearner):
    """Encoder and head after k gradient steps on the support's loss, every weight with its own learned rate."""

    def __init__(self, dim: int, settings: Settings) -> None:
        second_order = not settings.first_order
        super().__init__(dim, settings.encoder, steps=settings.steps, rate=settings.rate, second_order=second_order)
        # One row of the head is shared by all.
        one_class = self.start(1, like=torch.empty(0))
        self.rates = nn.ParameterDict(
            {_key(name): nn.Parameter(torch.full_like(value, settings.rate)) for name, value in one_class.items()}
        )

    @property
    def rate(self) -> dict[str, Tensor]:
        """The rate of every weight, by the names of `start`; the head's rates, (1, width) and (1,), fit all classes."""
        return {name: self.rates[_key(name)] for name in self.start(1, like=torch.empty(0))}


def _key(name: str) -> str:
    """Return a legal name of a parameter: without dots."""
    return name.replace(".", "/")


LEARNER = MetaSGD
