"""Settings of training."""

from __future__ import annotations

from dataclasses import dataclass, field

from ser_fewshot.episodes import EpisodeSpec
from ser_fewshot.settings import check_types, require
from ser_fewshot.training.augmentation import Augmentation

SEED_STRIDE = 1_000_003  # more steps than any run takes, so that two seeds share none
VALIDATION_SEED = 2**31  # beyond any legal seed: other episodes

_COUNTS = ("epochs", "steps", "meta_batch", "batch_clips", "patience")

DEFAULT_TASKS = (
    EpisodeSpec(n_way=4, k_shot=5, n_query=5),
    # Speakers as classes keep information about voices, and there are far more speakers than emotions.
    EpisodeSpec(n_way=8, k_shot=2, n_query=2, label="speaker", query_speaker="same"),
)


@dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """How a learner is trained.

    Attributes:
        tasks: each step draws `meta_batch` episodes of each of these; the first one is meta-validation's.
        batch_clips: clips in a step of conventional training, for learners that begin with it.
        epochs, steps: steps are optimiser steps in an epoch.
        learning_rate: of AdamW, after a warm-up of one epoch; falls to zero along a half cosine.
        clip_norm: largest norm of the gradient.
        patience: epochs without a better meta-validation score before training stops.
        validation_episodes: the same ones after every epoch.
        augmentation: of training clips.
        seed: of everything random.
    """

    tasks: tuple[EpisodeSpec, ...] = DEFAULT_TASKS
    epochs: int = 12
    steps: int = 40
    meta_batch: int = 1
    batch_clips: int = 64
    learning_rate: float = 5e-4
    weight_decay: float = 0.01
    clip_norm: float = 1.0
    patience: int = 6
    validation_episodes: int = 200
    augmentation: Augmentation = field(default_factory=Augmentation)
    seed: int = 0

    def __post_init__(self) -> None:
        check_types(self, where="train")
        for name, legal, expected in (
            ("tasks", bool(self.tasks), "at least one task"),
            *((count, getattr(self, count) >= 1, "at least 1") for count in _COUNTS),
            ("validation_episodes", self.validation_episodes >= 2, "at least 2, which an interval needs"),
            ("learning_rate", self.learning_rate > 0, "above 0"),
            ("clip_norm", self.clip_norm > 0, "above 0"),
            ("weight_decay", self.weight_decay >= 0, "at least 0"),
            ("seed", 0 <= self.seed < VALIDATION_SEED, f"0 to {VALIDATION_SEED - 1}"),
        ):
            found, remedy = getattr(self, name), "Correct the value."
            require(legal, f"train.{name}", found=found, expected=expected, remedy=remedy)
