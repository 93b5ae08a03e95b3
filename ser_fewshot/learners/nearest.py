"""Nearest centroid: a query clip belongs to the class whose mean embedding is closest.

Mensink et al., "Distance-based image classification: generalizing to new classes at near-zero cost", 2013,
https://doi.org/10.1109/TPAMI.2013.83.

The idea: without training, it is the baseline of every learner; with `encoder.name` "mean", the simplest one: distances
between time-averaged frames.

Differs from the paper: the metric is not learned (that is what `protonet` does).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from torch import Tensor

from ser_fewshot.encoders import EncoderSettings
from ser_fewshot.learners._base import EmbeddingLearner, class_means
from ser_fewshot.learners._metric import squared_distances


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The encoder of the embeddings; the distance is Euclidean."""

    encoder: EncoderSettings = field(default_factory=lambda: EncoderSettings(name="statistics"))


class NearestCentroid(EmbeddingLearner):
    """Logits are minus the squared distances to the centroids, over the width of the embedding."""

    def __init__(self, dim: int, settings: Settings) -> None:
        super().__init__(dim, settings.encoder)

    def fit_head(self, z: Tensor, y: Tensor, n_way: int) -> Callable[[Tensor], Tensor]:
        """z (n_support, width) -> head from (n_query, width) to (n_query, n_way)."""
        centroids = class_means(z, y, n_way)
        return lambda query: -squared_distances(query, centroids) / z.shape[1]


LEARNER = NearestCentroid
