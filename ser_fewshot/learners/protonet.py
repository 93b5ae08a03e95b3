"""Prototypical network: meta-train the encoder so that class means are good classifiers.

Snell et al., "Prototypical networks for few-shot learning", 2017, https://arxiv.org/abs/1703.05175.

The idea: embed the support, average each class into a prototype, and classify a query by its distance to them. The
query loss of every episode flows through the prototypes into the encoder, so it learns a space in which a mean of a few
clips stands for an emotion, or for a speaker, that it has never met.

Differs from the paper: distances are divided by the width of the embedding and multiplied by a learned sharpness, so
that an encoder of any width starts with probabilities that are neither flat nor certain; the cosine is offered beside
the Euclidean distance (in the paper it does worse on images).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn

from ser_fewshot.encoders import EncoderSettings
from ser_fewshot.errors import SettingsError
from ser_fewshot.learners._base import EmbeddingLearner, class_means
from ser_fewshot.learners._distance import cosine_similarities, squared_distances

Metric = Literal["euclidean", "cosine"]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What is meta-trained, and how closeness is measured.

    Attributes:
        encoder: what the embedding is made by.
        metric: "euclidean": minus the mean squared difference; "cosine": ten times the cosine.
    """

    encoder: EncoderSettings = field(default_factory=EncoderSettings)
    metric: Metric = "euclidean"

    def __post_init__(self) -> None:
        if self.metric not in ("euclidean", "cosine"):
            raise SettingsError(
                "metric", found=repr(self.metric), expected="euclidean | cosine", remedy="Choose one of these."
            )


class PrototypicalNetwork(EmbeddingLearner):
    """Logits are the closeness of a query to each prototype, times a learned sharpness."""

    def __init__(self, dim: int, settings: Settings) -> None:
        super().__init__(dim, settings.encoder)
        self.metric: Metric = settings.metric
        start = 10.0 if settings.metric == "cosine" else 1.0
        self.log_sharpness = nn.Parameter(torch.tensor(start).log())

    def extra_repr(self) -> str:
        """Show what no sub-module and no parameter shows."""
        return f"metric={self.metric!r}"

    def fit_head(self, z: Tensor, y: Tensor, n_way: int) -> Callable[[Tensor], Tensor]:
        """z (n_support, width) -> head from (n_query, width) to (n_query, n_way)."""
        prototypes = class_means(z, y, n_way)
        sharpness = self.log_sharpness.exp()
        if self.metric == "cosine":
            return lambda query: sharpness * cosine_similarities(query, prototypes)
        return lambda query: -sharpness * squared_distances(query, prototypes) / z.shape[1]


LEARNER = PrototypicalNetwork
