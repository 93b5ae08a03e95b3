"""Models on disk: tensors as safetensors, everything else as JSON, never pickle.

A model is a folder with `config.json`, `model.safetensors` and `README.md`, the layout of the Hugging Face libraries.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, get_args

import safetensors.torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from ser_fewshot import plugins
from ser_fewshot._files import write_atomically
from ser_fewshot._settings import fill
from ser_fewshot.errors import CheckpointError, SettingsError
from ser_fewshot.frontends import FrontEnd, Normalization
from ser_fewshot.learners import LARGEST_SIZE, Learner, build_learner, settings_of

FORMAT = 1
_CONFIG_BYTES = 1_000_000  # a config is a page of text


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """What is needed, beside the weights, to build a model again.

    Attributes:
        learner: its name, and `settings` what it was told.
        frontend: its name, and `frontend_settings` what it was told.
        normalization: what was done to features between the two.
    """

    learner: str
    settings: dict[str, Any] = field(default_factory=dict)
    frontend: str = "logmel"
    frontend_settings: dict[str, Any] = field(default_factory=dict)
    normalization: Normalization = "none"

    def __post_init__(self) -> None:
        if self.normalization not in get_args(Normalization):
            raise SettingsError(
                "normalization",
                found=repr(self.normalization),
                expected=" | ".join(get_args(Normalization)),
                remedy="Choose one of these.",
            )

    def with_learner(self, name: str) -> ModelConfig:
        """Return the same front-end with another learner that keeps this one's encoder."""
        encoder = {"encoder": self.settings["encoder"]} if "encoder" in self.settings else {}
        return ModelConfig(
            learner=name,
            settings=encoder,
            frontend=self.frontend,
            frontend_settings=self.frontend_settings,
            normalization=self.normalization,
        )


@dataclass(frozen=True, eq=False)
class Model:
    """A front-end and a learner that belong together."""

    config: ModelConfig
    frontend: FrontEnd
    learner: Learner


def build_model(config: ModelConfig, *, seed: int = 0) -> Model:
    """Return an untrained model, whose random weights depend on the seed alone.

    Raises:
        SettingsError: a name or a setting of the config is not legal.
    """
    frontend = _build_frontend(config)
    learner = build_learner(config.learner, frontend.dim, config.settings, seed=seed)
    # Kept in full, so that a saved model does not change when a default does.
    full = replace(
        config,
        settings=asdict(settings_of(config.learner, config.settings)),
        frontend_settings=asdict(frontend.settings),
    )
    return Model(full, frontend, learner.eval())


def _build_frontend(config: ModelConfig) -> Any:
    module = plugins.load("frontends", config.frontend)
    return module.FRONTEND(fill(module.Settings, config.frontend_settings, where=config.frontend, largest=LARGEST_SIZE))


def swap_learner(model: Model, name: str) -> Model:
    """Return a model with the same trained encoder and another head on it; the model itself if it is that learner.

    Raises:
        SettingsError: the other learner has no encoder of this kind to take over, or must be trained itself.
    """
    if name == model.config.learner:
        return model
    swapped = build_model(model.config.with_learner(name))
    if swapped.learner.must_learn:
        raise SettingsError(
            name,
            found=f"a model that was trained as {model.config.learner}",
            expected=f"one whose comparison was trained too, which {name} makes by a network of its own",
            remedy=f"Train it: ser-fewshot train --learner {name}.",
        )
    encoder = {key: value for key, value in model.learner.state_dict().items() if key.startswith("encoder.")}
    takes = {key for key in swapped.learner.state_dict() if key.startswith("encoder.")}
    if takes != set(encoder):
        raise SettingsError(
            name,
            found=f"an encoder that {model.config.learner} does not have",
            expected="two learners on the same encoder",
            remedy="Train this learner by itself.",
        )
    swapped.learner.load_state_dict(encoder, strict=False)
    return swapped


def save_model(model: Model, folder: Path, *, card: str) -> None:
    """Write a model to a folder; each file is there whole or not at all.

    Args:
        model: what to write.
        folder: made if it is missing.
        card: the README.md: what the model is, what it was trained on, under which licence.
    """
    tensors = {name: tensor.contiguous() for name, tensor in model.learner.state_dict().items()}
    write_atomically(folder / "model.safetensors", safetensors.torch.save(tensors))
    config = {"format": FORMAT, "model_type": "ser_fewshot", **asdict(model.config)}
    write_atomically(folder / "config.json", json.dumps(config, indent=2) + "\n")
    write_atomically(folder / "README.md", card)


def load_model(folder: Path) -> Model:
    """Read a model that `save_model` wrote.

    Raises:
        CheckpointError: the folder is no such model, a file is damaged, or weights and config do not fit.
    """
    config = read_config(folder / "config.json")
    tensors, _ = read_tensors(folder / "model.safetensors")
    return assemble(config, tensors, origin=str(folder))


def assemble(config: Mapping[str, Any], tensors: Mapping[str, Tensor], *, origin: str) -> Model:
    """Return the model of a config and its weights; every weight must be there, and no other.

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
        with _parameters_limited(sum(tensor.numel() for tensor in tensors.values())):
            model = build_model(fill(ModelConfig, told, where="config", largest=LARGEST_SIZE))
    except SettingsError as error:
        raise CheckpointError(
            origin,
            found=f"a config that cannot be built: {error}",
            expected="a config as this program writes it",
            remedy="Take the model from its source again.",
        ) from error
    load_weights(model.learner, tensors, origin=origin)
    return model


@contextmanager
def _parameters_limited(stored: int) -> Iterator[None]:
    """Refuse a learner with far more parameters than are stored, before its memory is touched.

    Raises:
        SettingsError: the config asks for more than twice as many.
    """
    thread, total = threading.get_ident(), 0

    def count(_module: nn.Module, name: str, parameter: nn.Parameter | None) -> None:
        nonlocal total
        if parameter is None or threading.get_ident() != thread:
            return
        total += parameter.numel()
        if total > 2 * stored:
            raise SettingsError(
                "config",
                found=f"{name} of {parameter.numel()} values",
                expected=f"a model of {stored} values, as many as are stored",
                remedy="Take weights and config from one source.",
            )

    hook = register_module_parameter_registration_hook(count)
    try:
        yield
    finally:
        hook.remove()


def load_weights(module: nn.Module, tensors: Mapping[str, Tensor], *, origin: str) -> None:
    """Copy weights into a learner or another module, all of them and no others.

    Raises:
        CheckpointError: a weight is missing, left over, of another shape or type, or not finite; the error lists them.
    """
    _check_fit(module.state_dict(), tensors, origin=origin)
    damaged = sorted(name for name, tensor in tensors.items() if not bool(tensor.isfinite().all()))
    if damaged:
        raise CheckpointError(
            origin,
            found=f"NaN or infinite values in {_some(damaged)}",
            expected="finite weights",
            remedy="The training that made them failed, or the file was changed: take another checkpoint.",
        )
    module.load_state_dict(dict(tensors))


def _check_fit(expected: Mapping[str, Tensor], tensors: Mapping[str, Tensor], *, origin: str) -> None:
    shared = sorted(set(expected) & set(tensors))
    faults = {
        "missing": sorted(set(expected) - set(tensors)),
        "unexpected": sorted(set(tensors) - set(expected)),
        "of wrong shape": [name for name in shared if expected[name].shape != tensors[name].shape],
        "of wrong type": [name for name in shared if expected[name].dtype != tensors[name].dtype],
    }
    if any(faults.values()):
        raise CheckpointError(
            origin,
            found="; ".join(f"{fault}: {_some(names)}" for fault, names in faults.items() if names),
            expected=f"exactly the {len(expected)} tensors of its config",
            remedy="Weights and config are not from one model: take both from one source.",
        )


def read_config(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        CheckpointError: the file is missing, too large or no JSON object.
    """
    try:
        _check_is_file(path)
        if path.stat().st_size > _CONFIG_BYTES:
            raise ValueError(f"{path.stat().st_size} bytes")
        config = json.loads(path.read_text(encoding="utf-8-sig"))  # an editor on Windows may have put a BOM there
        if not isinstance(config, dict):
            raise ValueError(f"a JSON {type(config).__name__}")
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(
            str(path),
            found=_reason(error),
            expected="a JSON object of a saved model: a folder with config.json and model.safetensors",
            remedy="Check the path, or save the model again.",
        ) from error
    return config


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read the tensors of a safetensors file and the strings beside them.

    Raises:
        CheckpointError: the file is missing, truncated or not safetensors.
    """
    try:
        _check_is_file(path)
        with safe_open(str(path), framework="pt") as file:
            # Cloned, because they are views of the file: who writes into it would change them.
            return {name: file.get_tensor(name).clone() for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except (OSError, SafetensorError, ValueError) as error:
        raise CheckpointError(
            str(path),
            found=_reason(error),
            expected="a whole safetensors file",
            remedy="Check the path, or take the file from its source again.",
        ) from error


def _check_is_file(path: Path) -> None:
    """Refuse what would be read for ever, such as a pipe, or not at all."""
    if not path.is_file():
        raise OSError("a folder" if path.is_dir() else "no such file")


def _reason(error: Exception) -> str:
    return str(error) if isinstance(error, OSError) else f"{type(error).__name__}: {error}"


def _some(names: list[str]) -> str:
    return (
        ", ".join(f"{name:.80}" for name in names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
        or "none"
    )
