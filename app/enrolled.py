"""Changes of an enrolment, each to a new classifier: the old one stays as it is, for undo and for other threads."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, get_args

import torch
from torch import Tensor

from ser_fewshot.audio import Clip
from ser_fewshot.classifier import FewShotClassifier
from ser_fewshot.classifier.enrollment import Enrolled
from ser_fewshot.classifier.enrollment_file import load_enrollment
from ser_fewshot.errors import EnrollmentError
from ser_fewshot.models import Model, to_store

from .models import LEARNERS, Models
from .session import Mode


def with_clips(classifier: FewShotClassifier, label: str, clips: Sequence[Clip]) -> FewShotClassifier:
    """Return a classifier to which clips are added."""
    changed = copy.copy(classifier)  # shares the model
    changed.add(label, clips)
    return changed


def without(classifier: FewShotClassifier, label: str, *, clip: str | None = None) -> FewShotClassifier:
    """Return a classifier without a label, or without its clip of one name; a label goes with its last clip."""
    changed = copy.copy(classifier)
    changed.forget(label, clip=clip)
    return changed


def kept_of(classifier: FewShotClassifier, clips: Sequence[Clip]) -> tuple[Tensor, ...]:
    """Return what the classifier's learner keeps of clips, (width,) or (frames, dim) each."""
    return with_clips(FewShotClassifier(classifier.model), "any", clips).members["any"].clips if clips else ()


def on_shared_model(path: Path, told: Mapping[str, Any], models: Models) -> tuple[Mode, FewShotClassifier]:
    """Open an enrolment file and put what is enrolled in it on the page's own model.

    Its model must be the page's own, with any of LEARNERS: another might be made to take minutes or gigabytes for a
    clip, so it is not even built.

    Args:
        path: the file, small enough to be read.
        told: the config that it tells.
        models: those of the page.

    Raises:
        CheckpointError: the file is no enrolment, or is damaged.
        EnrollmentError: its model is another.
    """
    mode, shared = _described(told, models)
    model, classes = load_enrollment(path)
    if not _same_weights(model, shared):
        raise _other_model()
    return mode, FewShotClassifier(shared, _uniquely_named(classes))


def unique(name: str, taken: set[str]) -> str:
    """Return a name that is not taken: "a.wav", "a.wav (2)", ..."""
    number, free = 1, name
    while free in taken:
        number += 1
        free = f"{name} ({number})"
    return free


def _uniquely_named(classes: Mapping[str, Enrolled]) -> dict[str, Enrolled]:
    taken: set[str] = set()
    renamed = {}
    for label, members in classes.items():
        names = []
        for name in members.names:
            names.append(unique(name, taken))
            taken.add(names[-1])
        renamed[label] = Enrolled(members.clips, tuple(names))
    return renamed


def _described(told: Mapping[str, Any], models: Models) -> tuple[Mode, Model]:
    """Return the shared model that a file says it was made with; how sure that is of its answers may differ."""
    own = models.empty("emotion").model.config.learner
    if told.get("learner") in (own, *LEARNERS):
        for mode in get_args(Mode):
            model = models.empty(mode, learner=told["learner"]).model
            expected = json.loads(json.dumps(asdict(model.config)))
            if all(told.get(part) == value for part, value in expected.items() if part != "calibration"):
                return mode, model
    raise _other_model()


def _other_model() -> EnrollmentError:
    return EnrollmentError(
        "enrolment",
        found="a file that was not made with the model of this page",
        expected="an enrolment that this page saved, or one of the same model",
        remedy="Start the page with the file's model, or open it with FewShotClassifier.load.",
    )


def _same_weights(one: Model, other: Model) -> bool:
    first, second = (to_store(model, learner="learner/", frontend="frontend/") for model in (one, other))
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)
