"""Relation network: the comparison of a query with a class is itself learned.

Sung et al., "Learning to compare: relation network for few-shot learning", 2018, https://arxiv.org/abs/1711.06025.

The idea: a distance is fixed, and the encoder has to bend the space until it fits. Here a second network is given the
embedding of a class and that of a query, side by side, and says how well they go together: a relation score between 0
and 1, which training draws to 1 for the query's own class and to 0 for the others.

Differs from the paper: an embedding of about a thousand values is projected to a small width first, by one layer that
support and query share, since the comparison would otherwise hold most of the weights; it is fully connected, as there
is no image to convolve. Shots are averaged, because classes may have unequal numbers of them; the paper's sum is an
option ("sum"). So is cross-entropy over the classes in place of the paper's squared error. The weights of the
comparison begin where it is minus the mean absolute difference of its two inputs (a hidden layer can hold x - y and
y - x, and the sum of their positive parts is the absolute difference), so that learning starts from a sensible
comparison of single embeddings instead of a random one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar, Literal, get_args

import torch
from torch import Tensor, nn

from ser_fewshot.encoders import EncoderSettings
from ser_fewshot.errors import SettingsError
from ser_fewshot.learners._base import EmbeddingLearner, Task, class_means
from ser_fewshot.learners._projection import Projection, check_sizes

Loss = Literal["mse", "cross-entropy"]
Pooling = Literal["mean", "sum"]

_SHARPNESS = 5.0  # score of a pair without a difference, before anything is learned


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What is compared, and what the comparison is trained on.

    Attributes:
        encoder: what the embedding is made by.
        width: values of an embedding that the comparison sees.
        loss: "mse": squared error of the relation scores to one-hot labels; "cross-entropy": over the classes.
        pooling: how the shots of a class become one embedding.
    """

    encoder: EncoderSettings = field(default_factory=lambda: EncoderSettings(name="dense"))
    width: int = 64
    loss: Loss = "mse"
    pooling: Pooling = "mean"

    def __post_init__(self) -> None:
        check_sizes("relation", width=self.width)
        for name, value, legal in (("loss", self.loss, get_args(Loss)), ("pooling", self.pooling, get_args(Pooling))):
            if value not in legal:
                raise SettingsError(
                    f"relation.{name}", found=repr(value), expected=" | ".join(legal), remedy="Choose one of these."
                )


class RelationNetwork(EmbeddingLearner):
    """Logits are the scores of a query and each class, before the sigmoid that makes them relation scores."""

    must_learn: ClassVar[bool] = True

    def __init__(self, dim: int, settings: Settings) -> None:
        super().__init__(dim, settings.encoder)
        self.loss: Loss = settings.loss
        self.pooling: Pooling = settings.pooling
        self.project = Projection(self.encoder.width, settings.width)
        self.compare = _Comparison(settings.width)

    def extra_repr(self) -> str:
        """Show what no sub-module and no parameter shows."""
        return f"loss={self.loss!r}, pooling={self.pooling!r}"

    def fit_head(self, z: Tensor, y: Tensor, n_way: int) -> Callable[[Tensor], Tensor]:
        """z (n_support, width) -> head from (n_query, width) to (n_query, n_way)."""
        classes = class_means(self.project(z), y, n_way)
        if self.pooling == "sum":
            classes = classes * torch.bincount(y, minlength=n_way)[:, None]
        return lambda query: self.compare(classes, self.project(query))

    def accumulate(self, task: Task, weight: float) -> float:
        """Add the gradient of `weight` times the loss of the relation scores, and return the loss."""
        scores = self.adapt(task.support, task.support_y)(task.query)
        if self.loss == "cross-entropy":
            loss = nn.functional.cross_entropy(scores, task.query_y)
        else:
            target = nn.functional.one_hot(task.query_y, scores.shape[1]).to(scores.dtype)
            loss = nn.functional.mse_loss(scores.sigmoid(), target)
        (weight * loss).backward()  # type: ignore[no-untyped-call]
        return loss.item()


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
