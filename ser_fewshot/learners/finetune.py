"""Fine-tuning: train the encoder conventionally, and fit a head, or all of it, to the support of a new task.

Yosinski et al., "How transferable are features in deep neural networks?", 2014, https://arxiv.org/abs/1411.1792;
as a baseline of few-shot learning: Chen et al., "A closer look at few-shot classification", 2019,
https://arxiv.org/abs/1904.04232.

The idea: no episodes. The encoder is trained to classify all meta-train classes; a new linear head is fitted to the
support ("head", a linear probe), or head and encoder together ("whole"). The baseline of every meta-learner.

Differs from the papers: the head is fitted to embeddings that are centred on the support, at a mean squared norm of 1,
from zero and with every class weighing the same; "whole" keeps the centre and the norm of the initial encoder.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import partial
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from ser_fewshot.encoders import EncoderSettings
from ser_fewshot.frontends import Features
from ser_fewshot.learners._base import Classifier, Objective, count_classes
from ser_fewshot.learners._inner_loop import Parameters, as_recorded, bind, descend
from ser_fewshot.learners._linear_head import HeadSettings, LinearProbe, Standard, clip_weights
from ser_fewshot.settings import require

Scope = Literal["head", "whole"]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What is adapted to a support set.

    Attributes:
        encoder: is trained on all meta-train classes.
        head: how a head is fitted to a support set; "whole" takes as many steps with the encoder.
        scope: "head" freezes the encoder; "whole" adapts a copy of it too.
        rate: learning rate of the encoder in "whole"; 0 equals "head".
    """

    encoder: EncoderSettings = field(default_factory=lambda: EncoderSettings(name="dense"))
    head: HeadSettings = field(default_factory=HeadSettings)
    scope: Scope = "head"
    rate: float = 0.01

    def __post_init__(self) -> None:
        require(
            self.scope in ("head", "whole") and 0 <= self.rate < math.inf,
            "finetune",
            found=f"scope {self.scope!r}, rate {self.rate}",
            expected="scope head | whole, and a finite rate of at least 0",
            remedy="Change the one that is not.",
        )


class FineTuning(LinearProbe):
    """A linear head on the encoder, or on a copy of it that is adapted with the head."""

    objectives: ClassVar[tuple[Objective, ...]] = ("classes",)

    def __init__(self, dim: int, settings: Settings) -> None:
        super().__init__(dim, settings.encoder, settings.head)
        self.scope: Scope = settings.scope
        self.rate = settings.rate

    def embed(self, features: Features) -> Features:
        """(n, frames, dim) -> (n, width); for "whole", what does not depend on the encoder's weights."""
        return super().embed(features) if self.scope == "head" else self.encoder.prepare(features)

    def adapt(self, support: Features, y: Tensor) -> Classifier:
        """Fit the head, or head and encoder; see `Learner.adapt`."""
        if self.scope == "head":
            return super().adapt(support, y)
        n_way = count_classes(y, len(support))
        support = self.embed(support)
        z = self.encoder(support)
        standard = Standard.of(z, y, n_way)
        weight, bias = self.start(z, y, n_way)
        body = {f"body.{name}": value for name, value in self._body()}
        loss = partial(self._loss, standard=standard, support=support, y=y)
        rate = {name: value.new_tensor(self.rate) for name, value in body.items()}
        rate |= {name: weight.new_tensor(self.head.rate) for name in ("head.weight", "head.bias")}
        inner_loop = partial(descend, rate=rate, steps=self.head.steps, second_order=torch.is_grad_enabled())
        start = {**body, "head.weight": weight, "head.bias": bias}
        adapted = as_recorded(inner_loop, loss, start, steps=self.head.steps, rate=rate)
        return lambda query: self._logits(adapted, self.embed(query), standard=standard)

    def _body(self) -> list[tuple[str, nn.Parameter]]:
        """Return the encoder's trainable parameters."""
        return [(name, value) for name, value in self.encoder.named_parameters() if value.requires_grad]

    def _logits(self, parameters: Parameters, features: Features, *, standard: Standard) -> Tensor:
        """Parameters of body and head, n clips -> logits (n, n_way)."""
        body: dict[Tensor, Tensor] = {own: parameters[f"body.{name}"] for name, own in self._body()}
        z = standard(bind(self.encoder, body)(features))
        return nn.functional.linear(z, parameters["head.weight"], parameters["head.bias"])

    def _loss(self, parameters: Parameters, *, standard: Standard, support: Features, y: Tensor) -> Tensor:
        """Return the loss that `fit_softmax` minimises, as a function of the encoder too."""
        logits = self._logits(parameters, support, standard=standard)
        each = nn.functional.cross_entropy(logits, y, reduction="none")  # (n_support,)
        weights = clip_weights(y, logits.shape[1], dtype=each.dtype)
        return weights @ each + self.head.penalty / 2 * parameters["head.weight"].square().sum()


LEARNER = FineTuning
