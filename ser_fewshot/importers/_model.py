"""From a checkpoint to a model: the encoder at a layer, a learner on top, and an account of every key."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ser_fewshot.errors import CheckpointError, SettingsError
from ser_fewshot.frontends.pretrained.frontend import FRONTEND, Pooling, Settings
from ser_fewshot.importers._checkpoint import Checkpoint, KeyReport, check_complete, compare
from ser_fewshot.learners import settings_of
from ser_fewshot.models import Model, ModelConfig, build_model
from ser_fewshot.settings import fill
from ser_fewshot.storage.tensors import load_weights

Layer = int | Literal["weighted"]

_BEYOND = "blocks and norms beyond the chosen layer"


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What the user asks for; None leaves it to the checkpoint and to the defaults of the front-end.

    Attributes:
        layer: which layer of the encoder; "weighted" for all of them.
        pooling: what a clip becomes.
        trim: whether clips lose the silence at their ends.
        learner: what is put on top.
        allow_partial: take what matches, and leave the rest of the weights random.
        tune: how many blocks, up to the layer, become the learner's encoder, so that they can be trained.
        lora: rank of the adapters that are trained in them instead of their weights; 0 for none.
    """

    layer: Layer | None = None
    pooling: Pooling | None = None
    trim: bool = True
    learner: str = "ridge"
    allow_partial: bool = False
    tune: int = 0
    lora: int = 0


def frontend_settings(checkpoint: Checkpoint, choice: Choice, *, origin: str) -> Settings:
    """Return what the front-end is told, if it runs the blocks that are to be trained too.

    Raises:
        CheckpointError: the architecture, or what is asked of it, is not legal.
        SettingsError: blocks are to be trained that it does not have, or that another choice leaves no place for.
    """
    asked: dict[str, Any] = {"layer": choice.layer, "pooling": choice.pooling, "trim": choice.trim}
    told: dict[str, Any] = {"architecture": checkpoint.architecture, "preprocessor": checkpoint.preprocessor}
    told |= {name: value for name, value in asked.items() if value is not None}
    try:
        settings = fill(Settings, told, where="pretrained")
    except SettingsError as error:
        raise _illegal(error, origin) from error
    return _tunable(settings, choice) if choice.tune or choice.lora else settings


def _tunable(settings: Settings, choice: Choice) -> Settings:
    """Return the settings for the frames of one layer, up to which blocks are to be trained."""
    most = settings.n_blocks
    if choice.layer == "weighted" or choice.pooling not in (None, "frames") or not 1 <= choice.tune <= most:
        raise SettingsError(
            "--tune",
            found=f"{choice.tune} blocks, layer {choice.layer}, pooling {choice.pooling}",
            expected=f"1 to {most} blocks, a number as the layer if any, and no pooling but 'frames'",
            remedy="Leave --layer and --pooling out to train the last blocks.",
        )
    return replace(settings, layer=most, pooling="frames")


def account(checkpoint: Checkpoint, settings: Settings, *, origin: str) -> KeyReport:
    """Return what becomes of every key, before any memory is taken for the model.

    Raises:
        CheckpointError: the architecture makes no encoder.
    """
    expected = _shapes(settings, origin=origin)
    full = _shapes(replace(settings, layer="weighted"), origin=origin)
    beyond = {name for name in checkpoint.tensors if name in full and name not in expected}
    tensors = {name: tensor for name, tensor in checkpoint.tensors.items() if name not in beyond}
    return compare(expected, tensors, dropped={**checkpoint.dropped, **dict.fromkeys(beyond, _BEYOND)})


def build(checkpoint: Checkpoint, settings: Settings, choice: Choice, *, origin: str) -> tuple[Model, KeyReport]:
    """Return the model with the checkpoint's encoder, and what became of every key.

    Raises:
        CheckpointError: a weight is missing or left over, unless that is allowed; or one is not finite.
        SettingsError: the learner does not exist, or does not fit such a front-end.
    """
    report = account(checkpoint, settings, origin=origin)
    check_complete(report, origin=origin, allow_partial=choice.allow_partial)
    settings = replace(settings, random_weights=checkpoint.random + len(report.missing))
    frozen = replace(settings, layer=settings.n_blocks - choice.tune) if choice.tune else settings
    config = ModelConfig(
        learner=choice.learner,
        settings=_learner_settings(choice, settings),
        frontend="pretrained",
        frontend_settings={name: getattr(frozen, name) for name in frozen.__dataclass_fields__},
    )
    model = build_model(config)
    network = model.frontend.network or nn.Module()
    known = {name: checkpoint.tensors[name] for name in report.matched}
    _load_known(network, {name: name for name in network.state_dict()}, known, origin=origin)
    if choice.tune:
        encoder: Any = model.learner.encoder
        _load_known(encoder.network, encoder.pretrained_names(), known, origin=origin)
    return model, report


def _load_known(network: nn.Module, names: Mapping[str, str], known: Mapping[str, Tensor], *, origin: str) -> None:
    """Copy weights into a network, by their names in it and among those known; the others stay random."""
    found = {own: known[name] for own, name in names.items() if name in known}
    load_weights(network, {**network.state_dict(), **found}, origin=origin)


def _learner_settings(choice: Choice, settings: Settings) -> dict[str, Any]:
    """Return what a learner is told: as usual, but a network over time has nothing to do where a clip is one frame."""
    if choice.tune:
        return {"encoder": {"name": "blocks", "blocks": choice.tune, "lora": choice.lora}}
    encoder = getattr(settings_of(choice.learner, {}), "encoder", None)
    if settings.pooling != "frames" and encoder is not None and encoder.name == "conv":
        return {"encoder": {"name": "dense"}}
    return {}


def _shapes(settings: Settings, *, origin: str) -> Mapping[str, torch.Size]:
    """Return the shape of every weight of a front-end, without its memory.

    Raises:
        CheckpointError: there is no such encoder.
    """
    try:
        with torch.device("meta"):
            weights: Mapping[str, Tensor] = FRONTEND(settings).network.state_dict()
    except SettingsError as error:
        raise _illegal(error, origin) from error
    return {name: tensor.shape for name, tensor in weights.items()}


def _illegal(error: SettingsError, origin: str) -> CheckpointError:
    return CheckpointError(
        f"{origin}, {error.subject}", found=error.found, expected=error.expected, remedy=error.remedy
    )
