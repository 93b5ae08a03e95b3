"""The one seam: `Learner.adapt(support, labels) -> Classifier`.

Meta-training, evaluation, enrolment and the live page all call it, so what is measured is what is shown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from types import MappingProxyType
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from ser_fewshot.compute.threads import each
from ser_fewshot.encoders import Encoder, EncoderSettings, build_encoder
from ser_fewshot.errors import EpisodeError
from ser_fewshot.frontends import Features, stack

_BATCH_CLIPS = 16

Objective = Literal["classes", "episodes"]
"""What training lowers: the loss of classifying all meta-train classes, the conventional way, or that of episodes."""

Classifier = Callable[[Features], Tensor]
"""Query features (n_query, ...) -> logits (n_query, n_way)."""


@dataclass(frozen=True, eq=False)
class Task:
    """One episode as tensors.

    Attributes:
        support, query: features of (n, frames, dim) each.
        support_y, query_y: (n,) class numbers 0 .. n_way - 1, int64.
    """

    support: Features
    support_y: Tensor
    query: Features
    query_y: Tensor

    def to(self, device: torch.device) -> Task:
        """Return the same task on another device."""
        labels = self.support_y.to(device), self.query_y.to(device)
        return Task(self.support.to(device), labels[0], self.query.to(device), labels[1])


class Learner(nn.Module):
    """Learns over episodes, then adapts to a new one from its support.

    Attributes:
        objectives: what it is trained by, one after the other. One that learns "classes" has an `encoder`, whose
            embeddings (batch, width) are classified by linear heads that training makes and throws away.
        hard_tasks: episodes that each training step adds, drawn from the classes that failed in its others.
        described: its name and its settings, as values of JSON, by which a run on disk knows it; empty unless
            `build_learner` made it.
        must_learn: whether it compares by a network of its own, which knows nothing until it is trained.
    """

    objectives: ClassVar[tuple[Objective, ...]] = ("episodes",)
    hard_tasks: int = 0
    must_learn: ClassVar[bool] = False
    described: Mapping[str, Any] = MappingProxyType({})

    @property
    def supervision(self) -> Mapping[str, float]:
        """What "classes" has heads for, and how much the loss of each weighs.

        "task": what the first task of the training calls a class; "emotion"; "speaker"; "corpus": a head for the
        emotions of each corpus.
        """
        return {"task": 1.0}

    def begin(self, objective: Objective) -> None:
        """Get ready for an objective: what it must not train stops asking for gradients. Nothing to do by default."""

    def fit_scale(self, features: Features, y: Tensor | None = None) -> None:
        """Learn, from meta-train clips and their class numbers (n,), the scale of what is fixed; by default nothing."""

    def embed(self, features: Features) -> Features:
        """Return what may be kept of clips instead of frames: all that depends on no episode.

        `adapt` and its classifier take either. A learner that adapts its encoder keeps the frames: the default.
        """
        return features

    def adapt(self, support: Features, y: Tensor) -> Classifier:
        """Return a classifier for the classes of a support set; the learner itself does not change.

        Args:
            support: (n_support, frames, dim), or what `embed` made of it.
            y: (n_support,) class numbers; each of 0 .. n_way - 1 occurs.

        Raises:
            EpisodeError: a class has no support, or there are fewer than two.
            AdaptationError: adapting diverged; the error holds the step and the learning rate.
        """
        raise NotImplementedError

    def accumulate(self, task: Task, weight: float) -> float:
        """Add the gradient of `weight` times the query loss to the parameters, and return the loss.

        Raises:
            AdaptationError: adapting to the support diverged.
        """
        logits = self.adapt(task.support, task.support_y)(task.query)
        loss = nn.functional.cross_entropy(logits, task.query_y)
        (weight * loss).backward()  # type: ignore[no-untyped-call]
        return loss.item()

    def accumulate_many(self, tasks: Sequence[Task], weight: float) -> list[float]:
        """Do for each task what `accumulate` does; a learner may do it for all at once."""
        return [self.accumulate(task, weight) for task in tasks]


class EmbeddingLearner(Learner):
    """A learner that fits a head on the embeddings of an encoder it does not adapt."""

    def __init__(self, dim: int, encoder: EncoderSettings) -> None:
        super().__init__()
        self.encoder: Encoder = build_encoder(dim, encoder)

    def fit_scale(self, features: Features, y: Tensor | None = None) -> None:
        """Learn the encoder's scale."""
        self.encoder.fit_scale(features, y)

    def embed(self, features: Features) -> Features:
        """(n, frames, dim) -> (n, width); what is embedded already comes back as it is."""
        if features.pooled:
            return features
        return Features(self.encoder(features), torch.ones_like(features.lengths))

    def adapt(self, support: Features, y: Tensor) -> Classifier:
        """Fit the head to the support's embeddings; see `Learner.adapt`."""
        n_way = count_classes(y, len(support))
        head = self.fit_head(self.embed(support).x, y, n_way)
        return lambda query: head(self.embed(query).x)

    def fit_head(self, z: Tensor, y: Tensor, n_way: int) -> Callable[[Tensor], Tensor]:
        """z (n_support, width), y (n_support,) -> a function from (n_query, width) to logits (n_query, n_way)."""
        raise NotImplementedError


def count_classes(y: Tensor, n_support: int) -> int:
    """Return n_way of a support's labels (n_support,).

    Raises:
        EpisodeError: there is not one class number a clip, a class has no support, or there are fewer than two.
    """
    if y.shape != (n_support,) or y.dtype != torch.int64:
        raise EpisodeError(
            "support",
            found=f"labels of shape {tuple(y.shape)} and type {y.dtype} for {n_support} clips",
            expected="one class number a clip, of type torch.int64",
            remedy="Pass labels of shape (n_support,).",
        )
    present = sorted(set(y.tolist()))
    if len(present) < 2 or present != list(range(len(present))):
        raise EpisodeError(
            "support",
            found=f"clips of the classes {present}",
            expected="clips of every class from 0 to n_way - 1, and at least two classes",
            remedy="Give every class a support clip, or renumber the classes.",
        )
    return len(present)


def class_means(z: Tensor, y: Tensor, n_way: int) -> Tensor:
    """z (n, width), y (n,) -> mean embedding of each class, (n_way, width)."""
    members = nn.functional.one_hot(y, n_way).to(z.dtype)  # (n, n_way)
    return members.T @ z / members.sum(0)[:, None]


@contextmanager
def evaluating(learner: Learner) -> Iterator[None]:
    """Switch dropout and gradients off; both come back as they were."""
    was_training = learner.training
    learner.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        learner.train(was_training)


def embed_clips(learner: Learner, clips: Sequence[Tensor]) -> list[Tensor]:
    """Return what `Learner.embed` keeps of each clip of (frames, dim): (width,), or (frames, dim) as it was.

    Clips go through in batches of like length, on the learner's device; the answer, on the CPU, does not depend on the
    batch.
    """
    lengths = [len(clip) for clip in clips]
    order = sorted(range(len(clips)), key=lambda row: lengths[row])
    device = device_of(learner)
    kept: dict[int, Tensor] = {}

    def embed(rows: list[int]) -> None:
        embedded = learner.embed(stack([clips[row] for row in rows]).to(device))
        for position, row in enumerate(rows):
            x = embedded.x[position]
            kept[row] = (x if embedded.pooled else x[: embedded.lengths[position]]).clone().cpu()

    with evaluating(learner):
        each(embed, [order[start : start + _BATCH_CLIPS] for start in range(0, len(order), _BATCH_CLIPS)])
    return [kept[row] for row in range(len(clips))]


def device_of(module: nn.Module) -> torch.device:
    """Return where a module computes; one without weights computes on the CPU."""
    tensors = chain(module.parameters(), module.buffers())
    return next((tensor.device for tensor in tensors), torch.device("cpu"))
