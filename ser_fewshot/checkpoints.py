"""Models on disk: tensors as safetensors, everything else as JSON, never pickle.

A model is a folder with `config.json`, `model.safetensors` and `README.md`, the layout of the Hugging Face libraries.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, get_args

import safetensors.torch
import torch
from torch import Tensor, nn

from ser_fewshot import plugins
from ser_fewshot._files import write_atomically
from ser_fewshot._settings import fill
from ser_fewshot._stored import (
    in_single,
    load_weights,
    model_folder,
    parameters_limited,
    read_config,
    read_header,
    read_tensors,
)
from ser_fewshot.calibration import Calibration
from ser_fewshot.encoders import Discriminant, View
from ser_fewshot.errors import CheckpointError, SettingsError
from ser_fewshot.frontends import FrontEnd, Normalization, check_frames, halved
from ser_fewshot.learners import LARGEST_SIZE, Learner, build_learner, settings_of
from ser_fewshot.training_set import RECORD, UNKNOWN, TrainingSet, by_card, parsed

__all__ = [
    "FORMAT",
    "Model",
    "ModelConfig",
    "assemble",
    "build_model",
    "load_model",
    "load_weights",
    "read_config",
    "read_header",
    "read_tensors",
    "save_model",
    "swap_learner",
    "take_encoder",
    "to_store",
    "with_view",
]

FORMAT = 1
_FRONTEND = "frontend."  # before the names of a front-end's weights


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """What is needed, beside the weights, to build a model again.

    Attributes:
        learner: its name, and `settings` what it was told.
        frontend: its name, and `frontend_settings` what it was told.
        normalization: what was done to features between the two.
        calibration: how sure its answers are; None where that was not fitted.
    """

    learner: str
    settings: dict[str, Any] = field(default_factory=dict)
    frontend: str = "logmel"
    frontend_settings: dict[str, Any] = field(default_factory=dict)
    normalization: Normalization = "none"
    calibration: Calibration | None = None

    def __post_init__(self) -> None:
        if self.normalization not in get_args(Normalization):
            raise SettingsError(
                "normalization",
                found=repr(self.normalization),
                expected=" | ".join(get_args(Normalization)),
                remedy="Choose one of these.",
            )
        if self.normalization != "none" and self.encoder_name == "blocks":
            raise SettingsError(
                "normalization",
                found=f"{self.normalization!r} before blocks of a pretrained encoder",
                expected="none: they were trained on frames as they are",
                remedy="Leave it out.",
            )

    @property
    def encoder_name(self) -> str | None:
        """What the settings call the encoder; None where they leave it to the learner."""
        encoder = self.settings.get("encoder")
        return encoder.get("name") if isinstance(encoder, Mapping) else None

    @property
    def view(self) -> View | None:
        """What the directions beside the embedding tell apart; None where there are none."""
        encoder = self.settings.get("encoder", {})
        return encoder.get("view", "emotion") if encoder.get("discriminant") else None

    def with_learner(self, name: str) -> ModelConfig:
        """Return the same front-end with another learner that keeps this one's encoder, and is not calibrated yet."""
        encoder = {"encoder": self.settings["encoder"]} if "encoder" in self.settings else {}
        return replace(self, learner=name, settings=encoder, calibration=None)


@dataclass(frozen=True, eq=False)
class Model:
    """A front-end and a learner that belong together, and what both were trained on."""

    config: ModelConfig
    frontend: FrontEnd
    learner: Learner
    training_set: TrainingSet = UNKNOWN  # so of what version 0.1.0 pickled


def build_model(config: ModelConfig, *, frontend: FrontEnd | None = None, seed: int = 0) -> Model:
    """Return an untrained model, whose random weights depend on the seed alone.

    Args:
        config: what to build.
        frontend: one that was built of this config already, which is taken over with its weights.
        seed: of the random weights; the global generator is left as it was.

    Raises:
        SettingsError: a name or a setting of the config is not legal.
    """
    ready: Any = _build_frontend(config, seed=seed) if frontend is None else frontend
    check_frames(ready, config.normalization)
    settings = _following(settings_of(config.learner, _fitting(config, ready)), ready)
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


def _fitting(config: ModelConfig, frontend: FrontEnd) -> dict[str, Any]:
    """Return a learner's settings; where a clip is one frame, a default network over time becomes one over values."""
    encoder = config.settings.get("encoder", {})
    default = getattr(settings_of(config.learner, {}), "encoder", None)
    if not frontend.pooled or default is None or default.name != "conv" or "name" in encoder:
        return config.settings
    return {**config.settings, "encoder": {**encoder, "name": "dense"}}


def _following(settings: Any, frontend: Any) -> dict[str, Any]:
    """Return a learner's settings in full, its encoder told what the front-end hands over."""
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


def take_encoder(taker: Model, giver: Model) -> Model:
    """Copy the encoder's weights from one model into another, in place; return that one with the record of both.

    Raises:
        SettingsError: their learners are not on the same encoder.
    """
    takes, encoder = (
        {key: value for key, value in model.learner.state_dict().items() if key.startswith("encoder.")}
        for model in (taker, giver)
    )
    if {key: value.shape for key, value in takes.items()} != {key: value.shape for key, value in encoder.items()}:
        raise SettingsError(
            taker.config.learner,
            found=f"an encoder that {giver.config.learner} does not have",
            expected="two learners on the same encoder",
            remedy="Train this learner by itself.",
        )
    load_weights(taker.learner, {**taker.learner.state_dict(), **encoder}, origin=giver.config.learner)
    return replace(taker, training_set=taker.training_set | giver.training_set)


def with_view(model: Model, view: View) -> Model:
    """Return a model with the directions of emotions, or of speakers, beside its embedding; weights are shared.

    It is the model itself where it has that view, or no directions. Another view is not calibrated.

    Raises:
        SettingsError: there is no such view.
    """
    if view not in get_args(View):
        raise SettingsError(
            "view", found=f"{view!r:.40}", expected=" | ".join(get_args(View)), remedy="Choose one of these."
        )
    if model.config.view in (None, view):
        return model
    tensors = (*model.learner.parameters(), *model.learner.buffers())
    learner = copy.deepcopy(model.learner, {id(tensor): tensor for tensor in tensors})
    for module in learner.modules():
        if isinstance(module, Discriminant):
            module.view = view
    settings = {**model.config.settings, "encoder": {**model.config.settings["encoder"], "view": view}}
    return replace(model, config=replace(model.config, settings=settings, calibration=None), learner=learner)


def save_model(model: Model, folder: Path, *, card: str) -> None:
    """Write a model to a folder; each file is there whole or not at all.

    Args:
        model: what to write.
        folder: made if it is missing.
        card: the README.md: what the model is, what it was trained on, under which licence.
    """
    tensors = to_store(model, learner="", frontend=_FRONTEND)
    record = {RECORD: model.training_set.as_text()}
    write_atomically(folder / "model.safetensors", safetensors.torch.save(tensors, record))
    config = {"format": FORMAT, "model_type": "ser_fewshot", **asdict(model.config)}
    write_atomically(folder / "config.json", json.dumps(config, indent=2) + "\n")
    write_atomically(folder / "README.md", card)


def to_store(model: Model, *, learner: str, frontend: str) -> dict[str, Tensor]:
    """Return all weights of a model under prefixes, in half precision where that loses nothing; in memory it is single.

    Published encoders are often in half precision.
    """
    tensors = {f"{learner}{name}": tensor for name, tensor in model.learner.state_dict().items()}
    if model.frontend.network is not None:
        tensors |= {f"{frontend}{name}": tensor for name, tensor in model.frontend.network.state_dict().items()}
    return {name: halved(tensor).contiguous() for name, tensor in tensors.items()}


def load_model(folder: Path | str) -> Model:
    """Read a model that `save_model` wrote; where it has no record of its training set, its card names the corpora.

    Raises:
        CheckpointError: the folder is no such model, a file is damaged, or weights and config do not fit.
    """
    folder = model_folder(folder)
    config = read_config(folder / "config.json")
    tensors, told = read_tensors(folder / "model.safetensors")
    record = parsed(told[RECORD], origin=str(folder)) if RECORD in told else by_card(folder)
    frontend = {name.removeprefix(_FRONTEND): x for name, x in tensors.items() if name.startswith(_FRONTEND)}
    learner = {name: tensor for name, tensor in tensors.items() if not name.startswith(_FRONTEND)}
    return assemble(config, learner, frontend, training_set=record, origin=str(folder))


def assemble(
    config: Mapping[str, Any],
    learner: Mapping[str, Tensor],
    frontend: Mapping[str, Tensor],
    *,
    training_set: TrainingSet,
    origin: str,
) -> Model:
    """Return the model of a config and the weights of its two parts; every weight must be there, and no other.

    Raises:
        CheckpointError: they do not fit, or this version cannot read them; `origin` says where they are from.
    """
    if config.get("format") != FORMAT or config.get("model_type") != "ser_fewshot":
        raise CheckpointError(
            origin,
            found=f"model_type {config.get('model_type')!r}, format {config.get('format')!r}",
            expected=f"model_type 'ser_fewshot', format {FORMAT}",
            remedy="Use a model of this program; a newer one needs a newer program.",
        )
    told = {key: value for key, value in config.items() if key not in ("format", "model_type")}
    try:
        with parameters_limited(sum(tensor.numel() for tensor in (*learner.values(), *frontend.values()))):
            model = build_model(fill(ModelConfig, told, where="config", largest=LARGEST_SIZE))
    except SettingsError as error:
        raise CheckpointError(
            origin,
            found=f"a config that cannot be built: {error}",
            expected="a config as this program writes it",
            remedy="Take the model from its source again.",
        ) from error
    network = nn.Module() if model.frontend.network is None else model.frontend.network
    for module, tensors in ((model.learner, learner), (network, frontend)):
        load_weights(module, in_single(tensors, module.state_dict()), origin=origin)
    return replace(model, training_set=training_set)
