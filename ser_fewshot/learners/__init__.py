"""Learners, which make a classifier of a few clips; one file each.

A module of this folder defines `Settings`, a frozen dataclass, and `LEARNER`, a class that is constructed from the
dimension of the front-end and the settings.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import torch

from ser_fewshot import plugins
from ser_fewshot.learners._augmented import augmented_support, is_augmented
from ser_fewshot.learners._base import (
    Classifier,
    EmbeddingLearner,
    Learner,
    Objective,
    Task,
    class_means,
    count_classes,
    device_of,
    embed_clips,
    evaluating,
)
from ser_fewshot.learners._inner_loop import GradientLearner
from ser_fewshot.learners._metric import squared_distances
from ser_fewshot.learners._speaker import (
    SpeakerModel,
    centred_support,
    fit_speaker_model,
    points,
    shifted,
    without_voice,
)
from ser_fewshot.settings import fill

__all__ = [
    "LARGEST_SIZE",
    "Classifier",
    "EmbeddingLearner",
    "GradientLearner",
    "Learner",
    "Objective",
    "SpeakerModel",
    "Task",
    "augmented_support",
    "build_learner",
    "centred_support",
    "class_means",
    "count_classes",
    "device_of",
    "embed_clips",
    "evaluating",
    "fit_speaker_model",
    "is_augmented",
    "names",
    "points",
    "settings_of",
    "shifted",
    "squared_distances",
    "without_voice",
]

LARGEST_SIZE = 8_192
"""Of any size in a model's settings: a damaged config must not claim all memory."""


def names() -> list[str]:
    """Return the names of all learners."""
    return plugins.names("learners")


def build_learner(name: str, dim: int, settings: Mapping[str, Any] | None = None, *, seed: int = 0) -> Learner:
    """Return a new, untrained learner for frames of `dim` values; its random weights depend on the seed alone.

    Raises:
        SettingsError: the learner or one of its settings is unknown or not legal.
    """
    filled = settings_of(name, settings or {})
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        learner: Learner = plugins.load("learners", name).LEARNER(dim, filled)
    learner.described = {"learner": name, **asdict(filled)}
    return learner


def settings_of(name: str, values: Mapping[str, Any]) -> Any:
    """Return the settings of a learner from nested values, such as those of a JSON file.

    Raises:
        SettingsError: a setting is unknown or not legal.
    """
    return fill(plugins.load("learners", name).Settings, values, where=name, largest=LARGEST_SIZE)
