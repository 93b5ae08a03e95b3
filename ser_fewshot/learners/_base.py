"""The interface of every learner: `Learner.adapt(support, labels) -> Classifier`.

Meta-training, evaluation, enrolment and the live demo all call it, so what is measured is what is shown.
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
"""Training objective: classification of all meta-train classes, the conventional way, or the loss of episodes."""

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
    """Is meta-trained on episodes, and adapts to a new one from its support.

    Attributes:
        objectives: training objectives, one after the other. With "classes", it has an `encoder`, whose embeddings
            (batch, width) are classified by linear heads that exist during training only.
        hard_tasks: episodes that each training step adds, drawn from the classes that failed in its others.
        must_learn: whether it compares by a network of its own, which is useless until trained.
        described: name and settings as JSON values, which identify it in a run on disk; empty unless made by
            `build_learner`.
    """

    objectives: ClassVar[tuple[Objective, ...]] = ("episodes",)
    hard_tasks: int = 0
    must_learn: ClassVar[bool] = False
    described: Mapping[str, Any] = MappingProxyType({})

    @property
    def n_directions(self) -> int:
        """Values at the end of an embedding that are projections on directions; 0 without an encoder that has them."""
        return 0

    @property
    def mixup(self) -> float:
        """How far clips of a support are moved towards what they are under recording conditions, up to 1."""
        return Encoder.mixup

    @property
    def supervision(self) -> Mapping[str, float]:
        """The heads of the objective "classes" and the weights of their losses.

        "task": the label of the first training task; "emotion"; "speaker"; "corpus": a head for the emotions of each
        corpus.
        """
        return {"task": 1.0}

    def begin(self, objective: Objective) -> None:
        """Freeze what an objective must not train; nothing by default."""

    def fit_scale(self, features: Features, y: Tensor | None = None) -> None:
        """Fit normalisation to meta-train clips and their class numbers (n,); nothing by default."""

    def embed(self, features: Features) -> Features:
        """Return what of clips does not depend on the episode: embeddings, or the frames (the default).

        `adapt` and its classifier take either.
        """
        return features

    def adapt(self, support: Features, y: Tensor) -> Classifier:
        """Return a classifier for the classes of a support set; the learner itself does not change.

        Args:
            support: (n_support, frames, dim), or its `embed`.
            y: (n_support,) class numbers; each of 0 .. n_way - 1 occurs.

        Raises:
            EpisodeError: a class has no support, or there are fewer than two.
            AdaptationError: the inner loop diverged; with the step and the learning rate.
        """
        raise NotImplementedError

    def task_loss(self, task: Task) -> Tensor:
        """Return the loss of an episode, a scalar: by default the cross-entropy of its query."""
        logits = self.adapt(task.support, task.support_y)(task.query)
        return nn.functional.cross_entropy(logits, task.query_y)

    def accumulate(self, task: Task, weight: float) -> float:
        """Add the gradient of `weight` times the loss of an episode to the parameters, and return the loss."""
        loss = self.task_loss(task)
        (weight * loss).backward()  # type: ignore[no-untyped-call]
        return loss.item()

    def accumulate_many(self, tasks: Sequence[Task], weight: float) -> list[float]:
        """Call `accumulate` for each task; a learner may process all at once."""
        return [self.accumulate(task, weight) for task in tasks]

    def extra_repr(self) -> str:
        """Show the settings."""
        return ", ".join(f"{name}={value!r}" for name, value in self.described.items() if name != "encoder")


class EmbeddingLearner(Learner):
    """A learner that fits a head to the embeddings of an encoder that it does not adapt."""

    def __init__(self, dim: int, encoder: EncoderSettings) -> None:
        super().__init__()
        self.encoder: Encoder = build_encoder(dim, encoder)

    @property
    def n_directions(self) -> int:
        """Those of the encoder."""
        return self.encoder.n_directions

    @property
    def mixup(self) -> float:
        """As far as the encoder says."""
        return self.encoder.mixup

    def fit_scale(self, features: Features, y: Tensor | None = None) -> None:
        """Fit the encoder's normalisation."""
        self.encoder.fit_scale(features, y)

    def embed(self, features: Features) -> Features:
        """(n, frames, dim) -> (n, width); idempotent."""
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
    """Switch dropout and gradients off, and restore both."""
    was_training = learner.training
    learner.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        learner.train(was_training)


def embed_clips(learner: Learner, clips: Sequence[Tensor]) -> list[Tensor]:
    """Return `Learner.embed` of each clip (frames, dim), on the CPU: (width,), or (frames, dim) unchanged.

    Clips are batched by length; an embedding does not depend on the batch.
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
    """Return the device of a module's tensors, the CPU if it has none."""
    tensors = chain(module.parameters(), module.buffers())
    return next((tensor.device for tensor in tensors), torch.device("cpu"))
