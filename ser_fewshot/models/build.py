"""Build a model from its config, or from another model: with another learner, view or trained encoder."""

from __future__ import annotations

import copy
from dataclasses import asdict, replace
from typing import Any

import torch

from ser_fewshot import plugins
from ser_fewshot.encoders import Discriminant, View
from ser_fewshot.errors import SettingsError
from ser_fewshot.frontends import FrontEnd, check_frames
from ser_fewshot.learners import LARGEST_SIZE, EmbeddingLearner, build_learner, settings_of
from ser_fewshot.models.config import Model, ModelConfig
from ser_fewshot.models.training_set import TrainingSet
from ser_fewshot.settings import check_choice, fill
from ser_fewshot.storage.tensors import load_weights


def build_model(config: ModelConfig, *, frontend: FrontEnd | None = None, seed: int = 0) -> Model:
    """Return an untrained model, whose random weights depend on the seed alone; the global generator is left as it was.

    A `frontend` that was built from this config already is used with its weights.

    Raises:
        SettingsError: a name or a setting of the config is not legal.
    """
    ready: Any = _build_frontend(config, seed=seed) if frontend is None else frontend
    check_frames(ready, config.normalization)
    settings = _learner_settings(config, ready)
    learner = build_learner(config.learner, ready.dim, settings, seed=seed)
    # Kept in full, so that a saved model does not change when a default does.
    full = replace(config, settings=settings, frontend_settings=asdict(ready.settings))
    elsewhere = getattr(ready, "trained_elsewhere", ready.network is not None)
    return Model(full, ready, learner.eval(), TrainingSet(complete=not elsewhere))


def _build_frontend(config: ModelConfig, *, seed: int) -> Any:
    module = plugins.load("frontends", config.frontend)
    settings = fill(module.Settings, config.frontend_settings, where=config.frontend, largest=LARGEST_SIZE)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return module.FRONTEND(settings)


def _learner_settings(config: ModelConfig, frontend: Any) -> dict[str, Any]:
    """Return a learner's settings in full; those of its encoder that depend on the front-end follow it.

    Where a clip is one frame, a default network over time becomes one over values.
    """
    given, encoder = config.settings, config.settings.get("encoder", {})
    default = getattr(settings_of(config.learner, {}), "encoder", None)
    if frontend.pooled and default is not None and default.name == "conv" and "name" not in encoder:
        given = {**given, "encoder": {**encoder, "name": "dense"}}
    settings: Any = settings_of(config.learner, given)
    if hasattr(settings, "encoder"):
        continues = asdict(frontend.settings) if settings.encoder.name == "blocks" else {}
        encoder = replace(settings.encoder, layers=frontend.layers, pooled=frontend.pooled, continues=continues)
        settings = replace(settings, encoder=encoder)
    return asdict(settings)


def swap_learner(model: Model, name: str) -> Model:
    """Return a model with the same trained encoder and another head on it; the model itself if it is that learner.

    Raises:
        SettingsError: the other learner has no encoder of this kind to take over, or must be trained itself.
    """
    if name == model.config.learner:
        return model
    swapped = build_model(model.config.with_learner(name), frontend=model.frontend)
    if swapped.learner.must_learn:
        raise SettingsError(
            name,
            found=f"a model that was trained as {model.config.learner}",
            expected=f"one whose comparison was trained too, which {name} makes by a network of its own",
            remedy=f"Train it: ser-fewshot train --learner {name}.",
        )
    return take_encoder(swapped, model)


def take_encoder(target: Model, source: Model) -> Model:
    """Copy the encoder's weights from one model into another, in place; return that one with the training set of both.

    Raises:
        SettingsError: their learners are not on the same encoder.
    """
    own, encoder = (
        {key: value for key, value in model.learner.state_dict().items() if key.startswith("encoder.")}
        for model in (target, source)
    )
    if {key: value.shape for key, value in own.items()} != {key: value.shape for key, value in encoder.items()}:
        raise SettingsError(
            target.config.learner,
            found=f"an encoder that {source.config.learner} does not have",
            expected="two learners on the same encoder",
            remedy="Train this learner by itself.",
        )
    load_weights(target.learner, {**target.learner.state_dict(), **encoder}, origin=source.config.learner)
    # Statistics of speakers are of one embedding: a learner that changes the encoder's has another.
    same = all(type(one.learner).embed is EmbeddingLearner.embed for one in (source, target))
    speakers = source.speakers if same else None
    return replace(target, training_set=target.training_set | source.training_set, speakers=speakers)


def with_view(model: Model, view: View) -> Model:
    """Return a model that embeds clips for telling emotions, or speakers, apart; weights are shared.

    It is the model itself where it has that view, or a single one. Another view is not calibrated.

    Raises:
        SettingsError: there is no such view.
    """
    check_choice("view", view, View)
    if model.config.view in (None, view):
        return model
    tensors = (*model.learner.parameters(), *model.learner.buffers())
    learner = copy.deepcopy(model.learner, {id(tensor): tensor for tensor in tensors})
    for module in learner.modules():
        if isinstance(module, Discriminant):
            module.show(view)
    settings = {**model.config.settings, "encoder": {**model.config.settings["encoder"], "view": view}}
    config = replace(model.config, settings=settings, calibration=None)
    return replace(model, config=config, learner=learner, speakers=None)
