"""Learners: how a few clips become a classifier; one file each.

A module of this folder holds `Settings`, a frozen dataclass of everything its learner can be told, and `LEARNER`, a
class built from (dim of the front-end, settings).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import torch

from ser_fewshot import plugins
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
from ser_fewshot.learners._distance import squared_distances
from ser_fewshot.learners._inner_loop import GradientLearner
from ser_fewshot.settings import fill

__all__ = [
    "LARGEST_SIZE",
    "Classifier",
    "EmbeddingLearner",
    "GradientLearner",
    "Learner",
    "Objective",
    "Task",
    "build_learner",
    "class_means",
    "count_classes",
    "device_of",
    "embed_clips",
    "evaluating",
    "names",
    "settings_of",
    "squared_distances",
]

LARGEST_SIZE = 8_192
"""No size in a model's settings may exceed it: a damaged config must not claim all the memory there is."""


def names() -> list[str]:
    """Return the learners there are."""
    return plugins.names("learners")


def build_learner(name: str, dim: int, settings: Mapping[str, Any] | None = None, *, seed: int = 0) -> Learner:
    """Return a new, untrained learner for frames of `dim` values.

    Args:
        name: which.
        dim: values in a frame of the front-end.
        settings: what it is told; the rest keeps its defaults.
        seed: of its random weights; the global generator is left as it was.

    Raises:
        SettingsError: the learner or one of its settings is unknown or not legal.
    """
    told = settings_of(name, settings or {})
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        learner: Learner = plugins.load("learners", name).LEARNER(dim, told)
    learner.described = {"learner": name, **asdict(told)}
    return learner


def settings_of(name: str, values: Mapping[str, Any]) -> Any:
    """Return the settings object of a learner, from nested values such as a JSON file holds.

    Raises:
        SettingsError: a value has no place in the settings, or is not legal.
    """
    return fill(plugins.load("learners", name).Settings, values, where=name, largest=LARGEST_SIZE)
