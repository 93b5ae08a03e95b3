"""Read an enrolment file that a visitor brings: checked by its header before anything in it is loaded or built."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, get_args

import torch

from ser_fewshot.classifier import FewShotClassifier
from ser_fewshot.classifier.enrollment_file import load_enrollment
from ser_fewshot.errors import CheckpointError, EnrollmentError
from ser_fewshot.models import Model, to_store
from ser_fewshot.storage.tensors import read_header

from . import limits
from .enrolment import Enrolment, checked_name, unique_names
from .models import LEARNERS, Mode, Models
from .notes import Code, Note, note

_SIZE_FIELD = 8  # bytes at the beginning of a safetensors file that hold the size of its header
_OURS = "Choose the file that this page saved."


def read(path: Path, models: Models) -> Enrolment | Note:
    """Return what is enrolled in a file, on the page's own model, or why it exceeds the limits of a visitor.

    Its model must be the page's own, with any of LEARNERS: another might be made to take minutes or gigabytes for a
    clip, so it is not even built.

    Raises:
        CheckpointError: the file is no enrolment, or is damaged.
        EnrollmentError: it is too large, or its model is another.
    """
    _check_size(path)
    shapes, metadata = read_header(path)
    if (refusal := _refusal(path, shapes, metadata)) is not None:
        return refusal
    config = _parsed(metadata.get("config"))
    mode, shared = _shared_model(config if isinstance(config, dict) else {}, models)
    model, classes, clean_only = load_enrollment(path)
    if not _same_weights(model, shared):
        raise _other_model()
    taken: set[str] = set()
    renamed = {label: replace(one, names=unique_names(one.names, taken)) for label, one in classes.items()}
    return Enrolment(mode, FewShotClassifier(shared, renamed, clean_only=clean_only))


def _check_size(path: Path) -> None:
    """Refuse what takes long to read; for what is no file at all, `read_header` has the error."""
    if not path.is_file():
        return
    whole = path.stat().st_size
    with path.open("rb") as file:
        header = int.from_bytes(file.read(_SIZE_FIELD), "little")
    for what, size, most in (("file", whole, limits.ENROLLMENT_BYTES), ("header", header, limits.HEADER_BYTES)):
        if most < size <= whole:  # `read_header` refuses a header that is larger than the file
            found, expected = f"a {what} of {size / 2**20:.0f} MiB", f"at most {most // 2**20} MiB"
            raise EnrollmentError("enrolment", found=found, expected=expected, remedy=_OURS)


def _refusal(path: Path, shapes: Mapping[str, tuple[int, ...]], metadata: Mapping[str, str]) -> Note | None:
    """Return why a file may not be loaded, by the limits of what a visitor may enrol; None if it may."""
    try:
        classes = [(entry["label"], len(entry["clips"])) for entry in _parsed(metadata.get("classes"))]
    except (KeyError, TypeError) as error:
        found, expected = "classes that are not described", "an enrolment saved by this program"
        raise CheckpointError(str(path), found=found, expected=expected, remedy=_OURS) from error
    if len(classes) > limits.LABELS:
        return note(Code.TOO_MANY_LABELS, most=limits.LABELS)
    for number, (label, clips) in enumerate(classes, start=1):
        if checked_name(label, most=limits.LABEL_CHARACTERS, otherwise=Code.BAD_LABEL) != label:
            return note(Code.BAD_LABEL_IN_FILE, number=number, most=limits.LABEL_CHARACTERS)
        if clips > limits.CLIPS:
            return note(Code.TOO_MANY_CLIPS, label=label, most=limits.CLIPS)
    frames = [shape[0] for name, shape in shapes.items() if name.startswith("clip/") and len(shape) > 1]
    if max(frames, default=0) > math.ceil(limits.CLIP_SECONDS * limits.FRAMES_A_SECOND) + 1:
        return note(Code.CLIP_TOO_LONG_IN_FILE, most=limits.CLIP_SECONDS)
    return None


def _shared_model(config: Mapping[str, Any], models: Models) -> tuple[Mode, Model]:
    """Return the page's model of a file's config, of which only the calibration may differ, and its mode."""
    learner = config.get("learner")
    if learner in (models.empty("emotion").model.config.learner, *LEARNERS):
        for mode in get_args(Mode):
            model = models.empty(mode, learner=learner).model
            expected = json.loads(json.dumps(asdict(model.config)))
            if all(config.get(part) == value for part, value in expected.items() if part != "calibration"):
                return mode, model
    raise _other_model()


def _same_weights(one: Model, other: Model) -> bool:
    first, second = (
        to_store(replace(model, speakers=None), learner="learner/", frontend="frontend/", speakers="")
        for model in (one, other)
    )
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def _other_model() -> EnrollmentError:
    return EnrollmentError(
        "enrolment",
        found="a file that was not made with the model of this page",
        expected="an enrolment that this page saved, or one of the same model",
        remedy="Start the page with the file's model, or open it with FewShotClassifier.load.",
    )


def _parsed(text: str | None) -> Any:
    try:
        return json.loads(text or "")
    except (ValueError, RecursionError):
        return None
