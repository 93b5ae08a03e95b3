"""Prototypical network: meta-train the encoder so that class means are good classifiers.

Snell et al., "Prototypical networks for few-shot learning", 2017, https://arxiv.org/abs/1703.05175.

The idea: average the embeddings of each class into a prototype, and classify a query by its distance to them. The query
loss of every episode is backpropagated through the prototypes into the encoder.

Differs from the paper: distances are divided by the width of the embedding and multiplied by a learned sharpness, so
that initial probabilities are neither flat nor certain for any encoder; the cosine is an option (in the paper it does
worse on images).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn

from ser_fewshot.encoders import EncoderSettings
from ser_fewshot.learners._base import EmbeddingLearner, class_means
from ser_fewshot.learners._metric import cosine_similarities, squared_distances
from ser_fewshot.settings import check_choice

Metric = Literal["euclidean", "cosine"]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The encoder and the metric.

    Attributes:
        encoder: is meta-trained.
        metric: "euclidean": minus the mean squared difference; "cosine": ten times the cosine.
    """

    encoder: EncoderSettings = field(default_factory=EncoderSettings)
    metric: Metric = "euclidean"

    def __post_init__(self) -> None:
        check_choice("metric", self.metric, Metric)


class PrototypicalNetwork(EmbeddingLearner):
    """Logits are the similarities of a query to the prototypes, times a learned sharpness."""

    def __init__(self, dim: int, settings: Settings) -> None:
        super().__init__(dim, settings.encoder)
        self.metric: Metric = settings.metric
        start = 10.0 if settings.metric == "cosine" else 1.0
        self.log_sharpness = nn.Parameter(torch.tensor(start).log())

    def fit_head(self, z: Tensor, y: Tensor, n_way: int) -> Callable[[Tensor], Tensor]:
        """z (n_support, width) -> head from (n_query, width) to (n_query, n_way)."""
        prototypes = class_means(z, y, n_way)
        sharpness = self.log_sharpness.exp()
        if self.metric == "cosine":
            return lambda query: sharpness * cosine_similarities(query, prototypes)
        return lambda query: -sharpness * squared_distances(query, prototypes) / z.shape[1]


LEARNER = PrototypicalNetwork
