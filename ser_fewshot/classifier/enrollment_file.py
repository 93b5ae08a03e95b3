"""Enrolment files: one safetensors file with the model and the embedding of each clip; no audio."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import safetensors.torch
from torch import Tensor

from ser_fewshot.classifier.enrollment import MOST_CLIPS, Enrolled, is_clean_only
from ser_fewshot.classifier.inputs import checked_label, one_line
from ser_fewshot.classifier.voice import LARGEST
from ser_fewshot.errors import CheckpointError, EnrollmentError
from ser_fewshot.models import FORMAT, Model, assemble, silence, split_by_prefix, to_store
from ser_fewshot.models.training_set import RECORD, UNKNOWN, parsed
from ser_fewshot.storage.files import write_atomically
from ser_fewshot.storage.tensors import read_tensors

_LEARNER, _FRONTEND, _SPEAKERS = "learner/", "frontend/", "speakers/"
_CLIP, _DEVIATIONS = "clip/", "deviations/"
_MOST_CONDITIONS = 8  # of a clip, so that a file cannot make a few of them take minutes to adapt to


def save_enrollment(path: Path, model: Model, enrolled: Mapping[str, Enrolled], *, clean_only: bool = False) -> None:
    """Write a model, the classes enrolled in it, and whether further clips are enrolled clean only.

    Raises:
        SettingsError: the file cannot be written.
    """
    tensors = to_store(model, learner=_LEARNER, frontend=_FRONTEND, speakers=_SPEAKERS)
    for number, members in enumerate(enrolled.values()):
        for position, (clip, deviations) in enumerate(zip(members.clips, members.deviations, strict=True)):
            tensors[f"{_CLIP}{number}/{position}"] = clip.contiguous()
            tensors |= {f"{_DEVIATIONS}{number}/{position}": deviations.contiguous()} if len(deviations) else {}
    config = {"format": FORMAT, "model_type": "ser_fewshot", **asdict(model.config)}
    classes = [
        {"label": label, "clips": members.names, "speakers": members.speakers} for label, members in enrolled.items()
    ]
    metadata = {
        "config": json.dumps(config),
        "classes": json.dumps(classes),
        "clean_only": json.dumps(clean_only),
        RECORD: model.training_set.as_text(),
    }
    write_atomically(path, safetensors.torch.save(tensors, metadata))


def load_enrollment(path: Path) -> tuple[Model, dict[str, Enrolled], bool]:
    """Read what `save_enrollment` wrote; a file of version 0.1.0 is clean only, as its clips are.

    Raises:
        CheckpointError: it is damaged, was changed, or is no enrolment.
    """
    tensors, metadata = read_tensors(path)
    learner, frontend, speakers, embeddings = split_by_prefix(tensors, _LEARNER, _FRONTEND, _SPEAKERS)
    try:
        config = json.loads(metadata["config"])
        enrolled = _classes(json.loads(metadata["classes"]), embeddings)
        if not isinstance(config, dict):
            raise ValueError(f"a config that is a {type(config).__name__}")
        clean_only = json.loads(metadata["clean_only"]) if "clean_only" in metadata else is_clean_only(enrolled)
        if not isinstance(clean_only, bool):
            raise ValueError(f"a value of clean_only that is a {type(clean_only).__name__}")
    except (KeyError, TypeError, ValueError, RecursionError, EnrollmentError) as error:
        raise CheckpointError(
            str(path),
            found="weights with nothing enrolled" if "classes" not in metadata else f"{type(error).__name__}: {error}",
            expected="an enrolment saved by this program",
            remedy="Enrol clips first, with 'ser-fewshot enroll' or FewShotClassifier.enroll, or save it again.",
        ) from error
    record = parsed(metadata[RECORD], origin=str(path)) if RECORD in metadata else UNKNOWN
    model = assemble(config, learner, frontend, speakers, training_set=record, origin=str(path))
    _check_embeddings(model, embeddings, origin=str(path))
    return model, enrolled, clean_only


def _classes(entries: Any, embeddings: Mapping[str, Tensor]) -> dict[str, Enrolled]:
    """Return the classes that a file describes; every clip must be in just one of them."""
    left, enrolled = dict(embeddings), dict[str, Enrolled]()
    for number, entry in enumerate(entries):
        label, names = entry["label"], entry["clips"]
        if checked_label(label) != label or label in enrolled:
            raise ValueError(f"the label {label!a:.80} twice, or with white space around it")
        if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
            raise ValueError(f"no clips in {label!a:.80}, or names of clips that are no text")
        places = [f"{number}/{position}" for position in range(len(names))]
        clips = tuple(left.pop(_CLIP + place) for place in places)
        none = clips[0].new_empty(0, *clips[0].shape[-1:])  # a file of version 0.1.0 has no deviations
        deviations = tuple(left.pop(_DEVIATIONS + place, none) for place in places)
        speakers = entry.get("speakers", [None] * len(names))  # version 0.1.0 kept none
        if (
            not isinstance(speakers, list)
            or len(speakers) != len(names)
            or not all(one is None or isinstance(one, str) for one in speakers)
        ):
            raise ValueError(f"names of speakers in {label!a:.80} that are no text, or not one a clip")
        named = tuple(map(one_line, names)), tuple(one and one_line(one) for one in speakers)
        enrolled[label] = Enrolled(clips, *named, deviations)
    described = sum(len(members.clips) for members in enrolled.values())
    if left or described > MOST_CLIPS:
        raise ValueError(f"{described} clips, of which {MOST_CLIPS} are the most, and {len(left)} that are in no class")
    return enrolled


def _check_embeddings(model: Model, embeddings: Mapping[str, Tensor], *, origin: str) -> None:
    """Refuse tensors that are no embeddings of this model; of a learner that keeps frames, no clip has deviations."""
    like = silence(model).x[0]
    for name, x in embeddings.items():
        of_clip = x.ndim == like.ndim and not name.startswith(_DEVIATIONS)
        of_conditions = x.ndim == 2 and like.ndim == 1 and name.startswith(_DEVIATIONS) and len(x) <= _MOST_CONDITIONS
        fits = (of_clip or of_conditions) and x.shape[-1] == like.shape[-1] and x.numel() > 0
        if not fits or x.dtype != like.dtype or not bool((x.abs() < LARGEST).all()):
            raise CheckpointError(
                f"{origin}, {name}",
                found=f"the shape {tuple(x.shape)} and type {x.dtype}, or values that no model makes",
                expected=f"values below {LARGEST:g} of type {like.dtype} and width {like.shape[-1]}",
                remedy="The file was damaged or changed: save the enrolment again.",
            )
