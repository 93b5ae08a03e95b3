"""Reading the files of a model: a JSON object and a safetensors file."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from ser_fewshot.errors import CheckpointError, SettingsError
from ser_fewshot.storage.paths import check_is_file, remedy_for, what_is

_CONFIG_BYTES = 1_000_000  # a config is a page of text
_REMEDIES = {
    "a folder": "The folder of a saved model is opened with FewShotClassifier.from_pretrained, or given as --model.",
    "a sound file": "Give the file that 'enroll' wrote here, and sound files where clips are expected.",
}
"""Kind of a file that is given where an enrolment is needed -> remedy."""


def model_folder(folder: Path | str) -> Path:
    """Return the folder of a saved model.

    Raises:
        CheckpointError: there is no such folder.
    """
    path = Path(folder)
    kind = what_is(path)
    if kind == "a folder":
        return path
    remedy = f"Check the path; a model of the hub is fetched with: ser-fewshot pull {folder} --out DIR."
    if "file" in kind and kind != "no such file":
        remedy = "An enrolment file is opened with FewShotClassifier.load, or given to 'enroll --to' and 'predict'."
    expected = "the folder of a saved model, with config.json and model.safetensors"
    raise CheckpointError(str(folder), found=kind, expected=expected, remedy=remedy_for(path, remedy))


def read_config(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        CheckpointError: the file is missing, too large or no JSON object.
    """
    try:
        check_is_file(path)
        if path.stat().st_size > _CONFIG_BYTES:
            raise ValueError(f"{path.stat().st_size} bytes")
        config = json.loads(path.read_text(encoding="utf-8-sig"))  # an editor on Windows may have put a BOM there
        if not isinstance(config, dict):
            raise ValueError(f"a JSON {type(config).__name__}")
    except (OSError, ValueError, RecursionError) as error:
        expected = "a JSON object of a saved model: a folder with config.json and model.safetensors"
        remedy = "Check the path, or save the model again."
        raise CheckpointError(str(path), found=_reason(error), expected=expected, remedy=remedy) from error
    return config


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read the tensors of a safetensors file and the strings beside them.

    Raises:
        CheckpointError: the file is missing, truncated or not safetensors.
    """
    with _opened(path) as file:
        # Cloned, because they are views of the file, which may change.
        return {name: file.get_tensor(name).clone() for name in file.keys()}, file.metadata() or {}  # noqa: SIM118


def read_header(path: Path) -> tuple[dict[str, tuple[int, ...]], dict[str, str]]:
    """Read the shapes of the tensors of a safetensors file and the strings beside them, and no tensor.

    Raises:
        CheckpointError: the file is missing, truncated or not safetensors.
    """
    with _opened(path) as file:
        shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
        return shapes, file.metadata() or {}


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """Open a safetensors file."""
    try:
        check_is_file(path)
        with safe_open(str(path), framework="pt") as file:
            yield file
    except (OSError, SafetensorError, ValueError) as error:
        kind = what_is(path)
        raise CheckpointError(
            str(path),
            found=_reason(error) if kind.startswith("a safetensors") else kind,
            expected="a whole safetensors file, such as an enrolment",
            remedy=remedy_for(path, _REMEDIES.get(kind, "Check the path, or take the file from its source again.")),
        ) from error


@contextmanager
def parameters_limited(stored: int) -> Iterator[None]:
    """Refuse a model with far more parameters than are stored, before its memory is touched.

    Raises:
        SettingsError: the config asks for more than twice as many.
    """
    thread, total = threading.get_ident(), 0

    def count(_module: nn.Module, name: str, parameter: nn.Parameter | None) -> None:
        nonlocal total
        if parameter is None or parameter.is_meta or threading.get_ident() != thread:
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
    # All values are finite if their sum is, which takes one pass; but a sum may overflow.
    infinite = (name for name, x in tensors.items() if not (x.sum().isfinite() or x.isfinite().all()))
    if damaged := sorted(infinite):
        raise CheckpointError(
            origin,
            found=f"NaN or infinite values in {listed(damaged)}",
            expected="finite weights",
            remedy="The training that made them failed, or the file was changed: take another checkpoint.",
        )
    module.load_state_dict(dict(tensors))


def in_single(tensors: Mapping[str, Tensor], built: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return stored weights, those in half precision in single where the model that was built has them so."""
    single = {name for name, tensor in built.items() if tensor.dtype == torch.float32}
    halves = {name for name, tensor in tensors.items() if tensor.dtype == torch.float16}
    return {**tensors, **{name: tensors[name].float() for name in single & halves}}


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
            found="; ".join(f"{fault}: {listed(names)}" for fault, names in faults.items() if names),
            expected=f"exactly the {len(expected)} tensors of its config",
            remedy="Weights and config are not from one model: take both from one source.",
        )


def listed(names: Sequence[str]) -> str:
    """Return the first three names, and how many more there are."""
    return ", ".join(f"{name:.80}" for name in names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _reason(error: Exception) -> str:
    return str(error) if isinstance(error, OSError) else f"{type(error).__name__}: {error}"


def digest(module: nn.Module) -> str:
    """Return a digest of a module's weights by name."""
    content = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        content.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        content.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return content.hexdigest()
