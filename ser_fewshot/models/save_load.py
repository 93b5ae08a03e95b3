"""Models on disk: tensors as safetensors, everything else as JSON, never pickle.

A model is a folder with `config.json`, `model.safetensors` and `README.md`, the layout of the Hugging Face libraries.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from ser_fewshot.compute.threads import small_work
from ser_fewshot.errors import CheckpointError, SettingsError
from ser_fewshot.frontends import Features, halved
from ser_fewshot.learners import LARGEST_SIZE, SpeakerModel, evaluating, points
from ser_fewshot.models._renamed import renamed, without_threshold
from ser_fewshot.models.build import build_model
from ser_fewshot.models.config import FORMAT, Model, ModelConfig
from ser_fewshot.models.training_set import RECORD, TrainingSet, by_card, parsed
from ser_fewshot.settings import fill
from ser_fewshot.storage.files import write_atomically
from ser_fewshot.storage.tensors import (
    in_single,
    load_weights,
    model_folder,
    parameters_limited,
    read_config,
    read_tensors,
)

_FRONTEND, _SPEAKERS = "frontend.", "speakers."  # before the names of their tensors

_SILENT_FRAMES = 32
_TINY = 1e-12  # so that a covariance of zeros is one
_ROUNDING = 1e-4  # of the largest variance of a covariance: a negative eigenvalue of this size is zero


def save_model(model: Model, folder: Path, *, card: str) -> None:
    """Write a model to a folder, with `card` as its README.md; each file is there whole or not at all."""
    tensors = to_store(model, learner="", frontend=_FRONTEND, speakers=_SPEAKERS)
    record = {RECORD: model.training_set.as_text()}
    write_atomically(folder / "model.safetensors", safetensors.torch.save(tensors, record))
    config = {"format": FORMAT, "model_type": "ser_fewshot", **asdict(model.config)}
    write_atomically(folder / "config.json", json.dumps(config, indent=2) + "\n")
    write_atomically(folder / "README.md", card)


def to_store(model: Model, *, learner: str, frontend: str, speakers: str) -> dict[str, Tensor]:
    """Return all tensors of a model under prefixes, in half precision where that loses nothing.

    Published encoders are often in half precision; in memory all weights are in single.
    """
    tensors = {f"{learner}{name}": tensor for name, tensor in model.learner.state_dict().items()}
    if model.frontend.network is not None:
        tensors |= {f"{frontend}{name}": tensor for name, tensor in model.frontend.network.state_dict().items()}
    if model.speakers is not None:
        tensors |= {f"{speakers}{name}": tensor for name, tensor in vars(model.speakers).items()}
    return {name: halved(tensor).contiguous() for name, tensor in tensors.items()}


def split_by_prefix(tensors: Mapping[str, Tensor], *prefixes: str) -> list[dict[str, Tensor]]:
    """Return the tensors of each prefix, without it, and last those of none."""
    parts = [{name.removeprefix(one): x for name, x in tensors.items() if name.startswith(one)} for one in prefixes]
    return [*parts, {name: x for name, x in tensors.items() if not name.startswith(prefixes)}]


def load_model(folder: Path | str) -> Model:
    """Read a model that `save_model` wrote; where it has no record of its training set, its card names the corpora.

    Raises:
        CheckpointError: the folder is no such model, a file is damaged, or weights and config do not fit.
    """
    folder = model_folder(folder)
    config = read_config(folder / "config.json")
    tensors, metadata = read_tensors(folder / "model.safetensors")
    record = parsed(metadata[RECORD], origin=str(folder)) if RECORD in metadata else by_card(folder)
    frontend, speakers, learner = split_by_prefix(tensors, _FRONTEND, _SPEAKERS)
    return assemble(config, learner, frontend, speakers, training_set=record, origin=str(folder))


@small_work()
def assemble(
    config: Mapping[str, Any],
    learner: Mapping[str, Tensor],
    frontend: Mapping[str, Tensor],
    speakers: Mapping[str, Tensor],
    *,
    training_set: TrainingSet,
    origin: str,
) -> Model:
    """Return the model of a config and the tensors of its parts; every weight must be there, and no other.

    Raises:
        CheckpointError: they do not fit, or this version cannot read them; `origin` says where they are from.
    """
    stored = config.get("format")
    if stored not in range(1, FORMAT + 1) or config.get("model_type") != "ser_fewshot":
        raise CheckpointError(
            origin,
            found=f"model_type {config.get('model_type')!r}, format {stored!r}",
            expected=f"model_type 'ser_fewshot', format 1 to {FORMAT}",
            remedy="Use a model of this program; a newer one needs a newer program.",
        )
    given = {key: value for key, value in config.items() if key not in ("format", "model_type")}
    try:
        given = given if stored == FORMAT else without_threshold(given)
        with parameters_limited(sum(tensor.numel() for tensor in (*learner.values(), *frontend.values()))):
            model = build_model(fill(ModelConfig, given, where="config", largest=LARGEST_SIZE))
    except SettingsError as error:
        raise CheckpointError(
            origin,
            found=f"a config that cannot be built: {error}",
            expected="a config as this program writes it",
            remedy="Take the model from its source again.",
        ) from error
    if stored == 1:
        learner = renamed(learner, model.config.encoder_name)
    network = nn.Module() if model.frontend.network is None else model.frontend.network
    for module, tensors in ((model.learner, learner), (network, frontend)):
        load_weights(module, in_single(tensors, module.state_dict()), origin=origin)
    return replace(model, training_set=training_set, speakers=_speaker_model(model, speakers, origin=origin))


def _speaker_model(model: Model, tensors: Mapping[str, Tensor], *, origin: str) -> SpeakerModel | None:
    """Return what is stored of speakers; None of a model that has nothing."""
    if not tensors:
        return None
    like, rank = points(silence(model)), tensors.get("basis", torch.empty(0, 0)).shape[-1]
    shapes = {"basis": (like.shape[1], rank), **dict.fromkeys(("between", "within", "classes"), (rank, rank))}
    shapes["variances"] = (2, like.shape[1])
    found = {name: tuple(x.shape) for name, x in tensors.items()}
    if found != shapes or not _are_covariances({name: x.float() for name, x in tensors.items()}):
        raise CheckpointError(
            f"{origin}, speakers",
            found=f"tensors of the shapes {found}, or values that are no covariances",
            expected=f"{shapes}, finite and positive semidefinite",
            remedy="The file was damaged or changed: take the model from its source again.",
        )
    return SpeakerModel(**{name: x.float() for name, x in tensors.items()})


def _are_covariances(tensors: Mapping[str, Tensor]) -> bool:
    """Whether the statistics of speakers are finite, and their covariances are such."""
    if not all(bool(x.isfinite().all()) for x in tensors.values()) or bool((tensors["variances"] < 0).any()):
        return False
    matrices = [tensors["within"]]  # is inverted, the others may be of less than full rank
    for name in ("between", "classes"):
        x = tensors[name]
        matrices.append(x + _ROUNDING * x.diagonal().abs().max().clamp_min(_TINY) * torch.eye(len(x)))
    return not any(bool(torch.linalg.cholesky_ex(x)[1]) for x in matrices)


@small_work()
def silence(model: Model) -> Features:
    """Return what the model's learner keeps of one clip of zeros, for its shape and type."""
    zeros = Features(torch.zeros(1, _SILENT_FRAMES, model.frontend.dim), torch.tensor([_SILENT_FRAMES]))
    with evaluating(model.learner):
        return model.learner.embed(zeros)
