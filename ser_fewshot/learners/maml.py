"""Model-agnostic meta-learning: meta-train weights from which a few gradient steps on a support lead to a classifier.

Finn, Abbeel and Levine, "Model-agnostic meta-learning for fast adaptation of deep networks", 2017,
https://arxiv.org/abs/1703.03400.

The idea: adapt the whole network to the support by k steps of gradient descent, measure the loss of the adapted network
on the query, and follow its gradient with respect to the weights before adaptation. As the steps are differentiable,
that gradient says how the start should have been for the steps to lead to a better place. The first-order variant
(FOMAML) leaves the derivatives of the inner gradients out and takes the gradient at the end of the steps for that at
the start: cheaper, and often as good.

Differs from the paper: the head begins at zero for every class instead of at learned rows, and sees embeddings that are
centred on the support and scaled to a length that no width decides, so that one rate fits head and encoder (see
`GradientLearner`); classes of unequal support weigh the same; layers are normalised within one clip, where the paper
normalises over all query clips together (transductively); training and test take the same steps at the same rate.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ser_fewshot.encoders import EncoderSettings
from ser_fewshot.learners._inner_loop import GradientLearner, check_inner


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How the inner loop goes.

    Attributes:
        encoder: what is adapted, together with a linear head on it.
        steps: gradient steps on the support.
        rate: of these steps.
        first_order: leave out the second derivatives.
    """

    # No dropout: an inner gradient of a handful of clips is noisy enough.
    encoder: EncoderSettings = field(default_factory=lambda: EncoderSettings(name="dense", dropout=0.0))
    steps: int = 5
    rate: float = 1.0
    first_order: bool = False

    def __post_init__(self) -> None:
        check_inner("maml", steps=self.steps, rate=self.rate)


class MAML(GradientLearner):
    """Encoder and head after k gradient steps on the support's loss, all at one rate."""

    def __init__(self, dim: int, settings: Settings) -> None:
        super().__init__(dim, settings.encoder, steps=settings.steps, second_order=not settings.first_order)
        self._rate = settings.rate

    def extra_repr(self) -> str:
        """Show what no sub-module and no parameter shows."""
        return f"steps={self.steps}, rate={self.rate}, second_order={self.second_order}"

    @property
    def rate(self) -> float:
        """The inner learning rate."""
        return self._rate


LEARNER = MAML
