"""Relation network: the comparison of a query with a class is itself learned.

Sung et al., "Learning to compare: relation network for few-shot learning", 2018, https://arxiv.org/abs/1711.06025.

The idea: instead of a fixed distance, a second network maps the concatenated embeddings of a class and a query to a
relation score, which is trained towards 1 for the query's own class and 0 for the others.

Differs from the paper: embeddings are first projected to a small width by a shared layer, as the comparison would
otherwise hold most of the weights; it is fully connected, as there is no image to convolve. Shots are averaged, because
classes may be unequal; the paper's sum is an option ("sum"). So is cross-entropy in place of the paper's squared error.
The comparison is initialised to minus the mean absolute difference of its inputs (by hidden units x - y and y - x) and
not at random.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from ser_fewshot.encoders import EncoderSettings
from ser_fewshot.learners._base import EmbeddingLearner, Task, class_means
from ser_fewshot.learners._metric import Projection
from ser_fewshot.settings import check_choice, check_size

Loss = Literal["mse", "cross-entropy"]
Pooling = Literal["mean", "sum"]

_SHARPNESS = 5.0  # initial score of a pair without a difference


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How embeddings are compared.

    Attributes:
        encoder: of the embeddings.
        width: dimension of the projected embeddings.
        loss: "mse": squared error of the relation scores to one-hot labels; "cross-entropy": over the classes.
        pooling: how the shots of a class become one embedding.
    """

    encoder: EncoderSettings = field(default_factory=lambda: EncoderSettings(name="dense"))
    width: int = 64
    loss: Loss = "mse"
    pooling: Pooling = "mean"

    def __post_init__(self) -> None:
        check_size("relation.width", self.width)
        check_choice("relation.loss", self.loss, Loss)
        check_choice("relation.pooling", self.pooling, Pooling)


class RelationNetwork(EmbeddingLearner):
    """Logits are the relation scores before the sigmoid."""

    must_learn: ClassVar[bool] = True

    def __init__(self, dim: int, settings: Settings) -> None:
        super().__init__(dim, settings.encoder)
        self.loss: Loss = settings.loss
        self.pooling: Pooling = settings.pooling
        self.project = Projection(self.encoder.width, settings.width)
        self.compare = _Comparison(settings.width)

    def fit_head(self, z: Tensor, y: Tensor, n_way: int) -> Callable[[Tensor], Tensor]:
        """z (n_support, width) -> head from (n_query, width) to (n_query, n_way)."""
        classes = class_means(self.project(z), y, n_way)
        if self.pooling == "sum":
            classes = classes * torch.bincount(y, minlength=n_way)[:, None]
        return lambda query: self.compare(classes, self.project(query))

    def task_loss(self, task: Task) -> Tensor:
        """Return the loss of the relation scores of an episode's query."""
        if self.loss == "cross-entropy":
            return super().task_loss(task)
        scores = self.adapt(task.support, task.support_y)(task.query).sigmoid()
        return nn.functional.mse_loss(scores, nn.functional.one_hot(task.query_y, scores.shape[1]).to(scores.dtype))


class _Comparison(nn.Module):
    """The relation module: a class and a query, side by side, through a hidden layer to one score."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(2 * width, 2 * width)
        self.score = nn.Linear(2 * width, 1)
        one = torch.eye(width)
        with torch.no_grad():
            self.hidden.weight.copy_(torch.cat([torch.cat([one, -one], dim=1), torch.cat([-one, one], dim=1)]))
            self.hidden.bias.zero_()
            self.score.weight.fill_(-_SHARPNESS / width)
            self.score.bias.fill_(_SHARPNESS)

    def forward(self, classes: Tensor, query: Tensor) -> Tensor:
        """classes (n_way, width), query (n_query, width) -> scores (n_query, n_way)."""
        shape = (len(query), len(classes), query.shape[1])
        pairs = torch.cat([classes.expand(shape), query[:, None].expand(shape)], dim=2)  # (n_query, n_way, 2 width)
        scores: Tensor = self.score(self.hidden(pairs).relu())[..., 0]
        return scores


LEARNER = RelationNetwork
