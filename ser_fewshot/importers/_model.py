"""From a checkpoint to a model: the encoder at a layer, a learner on top, and a report of every key."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ser_fewshot import corpora
from ser_fewshot.assets import DEMO
from ser_fewshot.episodes.partition import codes_of
from ser_fewshot.errors import CheckpointError, SettingsError
from ser_fewshot.frontends import FeatureSet, extract
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
    """How to import a checkpoint; None leaves it to the checkpoint and to the defaults of the front-end.

    Attributes:
        layer: which layer of the encoder; "weighted" for all of them.
        pooling: what a clip becomes.
        trim: whether clips lose the silence at their ends.
        learner: the learner on top.
        allow_partial: take the weights that match, and leave the others random.
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
    """Return the settings of a front-end that runs all blocks, those that are to be trained too."""
    chosen: dict[str, Any] = {"layer": choice.layer, "pooling": choice.pooling, "trim": choice.trim}
    values: dict[str, Any] = {"architecture": checkpoint.architecture, "preprocessor": checkpoint.preprocessor}
    values |= {name: value for name, value in chosen.items() if value is not None}
    try:
        settings = fill(Settings, values, where="pretrained")
    except SettingsError as error:
        raise _illegal(error, origin) from error
    if not choice.tune and not choice.lora:
        return settings
    most = settings.n_blocks
    if choice.layer == "weighted" or choice.pooling not in (None, "frames") or not 1 <= choice.tune <= most:
        raise SettingsError(
            "--tune",
            found=f"{choice.tune} blocks, layer {choice.layer}, pooling {choice.pooling}",
            expected=f"1 to {most} blocks, a number as the layer if any, and no pooling but 'frames'",
            remedy="Leave --layer and --pooling out to train the last blocks.",
        )
    return replace(settings, layer=most, pooling="frames")


def _report(checkpoint: Checkpoint, settings: Settings, *, origin: str) -> KeyReport:
    """Return what becomes of every key, before any memory is taken for the model."""
    expected = _shapes(settings, origin=origin)
    full = _shapes(replace(settings, layer="weighted"), origin=origin)
    beyond = {name for name in checkpoint.tensors if name in full and name not in expected}
    tensors = {name: tensor for name, tensor in checkpoint.tensors.items() if name not in beyond}
    return compare(expected, tensors, dropped={**checkpoint.dropped, **dict.fromkeys(beyond, _BEYOND)})


def build(checkpoint: Checkpoint, settings: Settings, choice: Choice, *, origin: str) -> tuple[Model, KeyReport]:
    """Return the model with the checkpoint's encoder, and what became of every key."""
    report = _report(checkpoint, settings, origin=origin)
    check_complete(report, origin=origin, allow_partial=choice.allow_partial)
    settings = replace(settings, random_weights=len(report.missing))
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
    """Copy weights into a network, by {its name: their name among those known}; the others stay random."""
    found = {own: known[name] for own, name in names.items() if name in known}
    load_weights(network, {**network.state_dict(), **found}, origin=origin)


def _learner_settings(choice: Choice, settings: Settings) -> dict[str, Any]:
    """Return a learner's settings: its defaults, but no network over time where a clip is one frame."""
    if choice.tune:
        return {"encoder": {"name": "blocks", "blocks": choice.tune, "lora": choice.lora}}
    encoder = getattr(settings_of(choice.learner, {}), "encoder", None)
    if settings.pooling != "frames" and encoder is not None and encoder.name == "conv":
        return {"encoder": {"name": "dense"}}
    return {}


def _shapes(settings: Settings, *, origin: str) -> Mapping[str, torch.Size]:
    """Return the shape of every weight of a front-end, without its memory."""
    try:
        with torch.device("meta"):
            weights: Mapping[str, Tensor] = FRONTEND(settings).network.state_dict()
    except SettingsError as error:
        raise _illegal(error, origin) from error
    return {name: tensor.shape for name, tensor in weights.items()}


def demo_features(model: Model) -> FeatureSet:
    """Return the features of demo clips, one of every speaker and emotion: speech to fit a scale to."""
    first: dict[tuple[str | None, str | None], corpora.Utterance] = {}
    for utterance in corpora.read_manifest(DEMO / "clips.csv").utterances:
        first.setdefault((utterance.speaker, utterance.emotion), utterance)
    return extract(model.frontend, first.values())


def fit_scale(model: Model, features: FeatureSet) -> None:
    """Fit the scale of a model's learner to features: on an encoder that it was not trained on it has none."""
    y = codes_of([str(utterance.emotion) for utterance in features.utterances])
    model.learner.fit_scale(features.batch(range(len(features))), torch.from_numpy(y))


def _illegal(error: SettingsError, origin: str) -> CheckpointError:
    return CheckpointError(
        f"{origin}, {error.subject}", found=error.found, expected=error.expected, remedy=error.remedy
    )
