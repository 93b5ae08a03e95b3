"""A Hugging Face folder: config.json, the settings of the feature extractor, and weights as safetensors or .bin.

The settings stand in processor_config.json or preprocessor_config.json, the weights in one file or several. Only
numbers are taken from its configuration: `auto_map`, by which some models bring code of their own, is ignored.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ser_fewshot.errors import CheckpointError
from ser_fewshot.frontends.pretrained.architectures import KNOWN
from ser_fewshot.importers._checkpoint import Checkpoint, Head
from ser_fewshot.importers._files import read_folder
from ser_fewshot.importers._names import KeyMap, translate
from ser_fewshot.importers._source import Source

_PADDED = "whisper"  # its head averages over 30 s, padding included, where the front-end takes a clip as it is
_HEAD = ("projector.weight", "projector.bias", "classifier.weight", "classifier.bias")
_MOST_WEIGHTS = 100_000_000  # of a head; the product of two thin matrices can be far larger than both
_UNSTATED = "it has no preprocessor_config.json: clips are prepared as is usual for its family"
_ONE_OF_SEVERAL = (None, "single_label_classification")
"""The problem_type of a head whose softmax chooses one of several labels; None where it is not stated."""
_DIMENSIONS = {"activation", "arousal", "dominance", "valence"}
_CODE = "it brings code of its own (auto_map), which is not run: its weights go into the architecture of transformers"


def recognises(source: Source) -> bool:
    """Whether it is a folder with a configuration of transformers."""
    return source.path.is_dir() and bool(source.config) and source.state_file is None


def read(source: Source) -> Checkpoint:
    """Return its encoder, and its emotion head if that is affine.

    Raises:
        CheckpointError: the family is unknown, or a file is damaged or dangerous.
    """
    model_type = source.config.get("model_type")
    if model_type not in KNOWN:
        found, remedy = f"the model_type {model_type!r:.80}", "Import an encoder of one of these families."
        if model_type == "ser_fewshot":
            remedy = "It is a model of this program: use it as it is, with 'enroll --model' or 'train --model'."
        raise CheckpointError(source.name, found=found, expected=" | ".join(KNOWN), remedy=remedy)
    raw = read_folder(source.path)
    tensors, dropped = translate(raw, KeyMap(prefix=prefix_of(str(model_type))), origin=source.name)
    other = _other_purpose(source.config, raw)
    head = None if other else _head(source.config, raw)
    notes = (_CODE,) * ("auto_map" in source.config) + (_UNSTATED,) * (not source.preprocessor) + source.contradictions
    if head is None and any(name.startswith("classifier.") for name in raw):
        why = other or "is not one that averages over the clip and is affine"
        notes += (f"its head {why}: only its encoder is imported",)
    return Checkpoint("huggingface", source.config, source.preprocessor, tensors, dropped, head, notes)


def prefix_of(model_type: str) -> str:
    """Return the pattern that the names of an encoder begin with inside a model that has a head."""
    if model_type == "whisper":
        return r"(?:model\.)?encoder\."
    return rf"{model_type.replace('-', '_')}\."


def _other_purpose(config: Mapping[str, Any], raw: Mapping[str, Tensor]) -> str:
    """Return what a head does instead of choosing one of several labels; nothing for one that may be a classifier."""
    problem, names = config.get("problem_type"), config.get("id2label")
    labels = {str(label).strip().lower() for label in names.values()} if isinstance(names, dict) else set()
    classify = raw.get("classifier.weight")
    if problem not in _ONE_OF_SEVERAL:
        return f"was trained for {problem!r:.60}, not for one label out of several"
    if labels & _DIMENSIONS:
        return f"gives values ({', '.join(sorted(labels))[:60]}), not one label out of several"
    if classify is not None and classify.shape[:1] == (1,):
        return "gives one value, not one label out of several"
    if any(name.startswith(("tdnn.", "objective.")) for name in raw):
        return "makes embeddings of speakers"
    architectures = config.get("architectures")
    listed = [str(name) for name in architectures] if isinstance(architectures, list) else []
    if listed and not any(name.endswith("ForSequenceClassification") for name in listed):
        return f"is that of a {listed[0]:.60}, not of a ...ForSequenceClassification"
    return ""


def _head(config: Mapping[str, Any], raw: Mapping[str, Tensor]) -> Head | None:
    """Return the head of a ...ForSequenceClassification: the classifier of the mean of the projected last layer.

    Its mean over time and its two linear maps can change places, since both are affine.
    """
    present = {name for name in raw if name.startswith(("projector.", "classifier."))}
    if present != set(_HEAD) or config.get("add_adapter") or config.get("model_type") == _PADDED:
        return None
    project, shift, classify, bias = (raw[name].double() for name in _HEAD)
    layers = raw.get("layer_weights") if config.get("use_weighted_layer_sum") else None
    fits = project.ndim == classify.ndim == 2 and shift.shape == project.shape[:1] == classify.shape[1:]
    if not fits or bias.shape != classify.shape[:1] or len(classify) * project.shape[1] > _MOST_WEIGHTS:
        return None
    labels = _labels(config, len(classify))
    if labels is None or len(labels) < 2:
        return None
    return Head((classify @ project).float(), torch.addmv(bias, classify, shift).float(), labels, layers)


def _labels(config: Mapping[str, Any], n: int) -> tuple[str, ...] | None:
    """Return the words for the rows of a classifier; None where the configuration does not name each."""
    names = config.get("id2label")
    if not isinstance(names, dict) or set(names) != {str(row) for row in range(n)}:
        return None
    labels = tuple(names[str(row)] for row in range(n))
    return labels if all(isinstance(label, str) for label in labels) else None
