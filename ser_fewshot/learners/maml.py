"""Model-agnostic meta-learning: learn an initialisation from which a few gradient steps on a support lead far.

Finn, Abbeel and Levine, "Model-agnostic meta-learning for fast adaptation of deep networks", 2017,
https://arxiv.org/abs/1703.03400.

The idea: adapt the whole network to the support by k steps of gradient descent, and follow the gradient of the adapted
network's query loss with respect to the weights before adaptation. The first-order variant (FOMAML) omits the
derivatives of the inner gradients: cheaper, and often as good.

Differs from the paper: the head begins at zero instead of at learned rows, and its input is centred on the support and
scaled to a fixed length, so that one rate fits head and encoder (see `GradientLearner`); classes of unequal support
weigh the same; layers are normalised within one clip, where the paper normalises over all query clips together
(transductively); training and test take the same steps at the same rate.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ser_fewshot.encoders import EncoderSettings
from ser_fewshot.learners._inner_loop import GradientLearner, check_inner


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The inner loop.

    Attributes:
        encoder: is adapted, together with a linear head.
        steps: gradient steps on the support.
        rate: their learning rate.
        first_order: omit the second derivatives.
    """

    # No dropout: an inner gradient of a few clips is noisy enough.
    encoder: EncoderSettings = field(default_factory=lambda: EncoderSettings(name="dense", dropout=0.0))
    steps: int = 5
    rate: float = 1.0
    first_order: bool = False

    def __post_init__(self) -> None:
        check_inner("maml", steps=self.steps, rate=self.rate)


class MAML(GradientLearner):
    """Encoder and head after k gradient steps on the support's loss, all at one rate."""

    def __init__(self, dim: int, settings: Settings) -> None:
        second_order = not settings.first_order
        super().__init__(dim, settings.encoder, steps=settings.steps, rate=settings.rate, second_order=second_order)


LEARNER = MAML
