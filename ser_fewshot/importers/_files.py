"""Reading weights from untrusted files: sizes and paths are checked first, and nothing in a file is ever run."""

from __future__ import annotations

import re
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ser_fewshot.errors import CheckpointError
from ser_fewshot.storage.paths import check_is_file
from ser_fewshot.storage.tensors import read_config, read_tensors

_ZIP = b"PK"  # how a file begins that torch.save wrote since version 1.6
_MOST_ENTRIES = 100_000  # of such a file; one a tensor, and a few more
_MOST_SHARED = 2  # times its own size that a file may claim, since tensors that share their values are copied


class Plain:
    """A stand-in for a class that a file names: it keeps the attributes and does nothing.

    fairseq keeps its options in an argparse.Namespace and HuBERT's letters in a Dictionary. Neither is imported, built
    or called.
    """

    def __setstate__(self, state: object) -> None:
        # Only what could be attributes of a namespace; all else is dropped.
        self.__dict__.update(state if isinstance(state, dict) else {})


_STANDINS: list[Any] = [(Plain, "argparse.Namespace"), (Plain, "fairseq.data.dictionary.Dictionary")]


def inside(folder: Path, name: str) -> Path:
    """Return the path of a file of a folder, after making sure that it lies there.

    A snapshot in the cache of huggingface_hub consists of links to the folder `blobs` beside it; those are followed.
    """
    root = folder.resolve()
    if root.parent.name == "snapshots" and (root.parent.parent / "blobs").is_dir():
        root = root.parent.parent
    path = folder / name
    if "\0" in name or Path(name).name != name or not path.resolve().is_relative_to(root):
        raise CheckpointError(
            str(folder),
            found=f"the file {name!a:.100}, which leads out of the folder",
            expected="weights that lie in the folder itself",
            remedy="Do not trust this source; copy the weights into the folder if they are your own.",
        )
    return path


def read_folder(folder: Path) -> dict[str, Tensor]:
    """Return the weights of a Hugging Face folder: safetensors where it has them, else .bin; in one file or several."""
    for name in ("model.safetensors", "pytorch_model.bin"):
        if (folder / name).is_file():
            return _read_file(inside(folder, name))
        if (folder / f"{name}.index.json").is_file():
            return _read_sharded(folder, f"{name}.index.json")
    raise CheckpointError(
        str(folder),
        found="no weights",
        expected="model.safetensors or pytorch_model.bin, or the index of several such files",
        remedy="Download the weights too, or name their file.",
    )


def _read_file(path: Path) -> dict[str, Tensor]:
    if path.suffix == ".safetensors":
        tensors, _ = read_tensors(path)
        return as_tensors(tensors, path)
    return as_tensors(read_pickled(path), path)


def _read_sharded(folder: Path, index: str) -> dict[str, Tensor]:
    places = read_config(inside(folder, index)).get("weight_map")
    if not isinstance(places, dict) or not all(isinstance(name, str) for name in places.values()):
        raise _damaged(folder / index, "no weight_map from names to files", "the index of weights in several files")
    paths = [inside(folder, name) for name in sorted(set(places.values()))]  # all of them before the first is opened
    tensors: dict[str, Tensor] = {}
    for path in paths:
        tensors |= _read_file(path)
    if lost := sorted(set(places) - set(tensors)):
        found = f"{len(lost)} names without a tensor, such as {lost[0]:.80}"
        raise _damaged(folder / index, found, "a tensor for each")
    return tensors


def read_pickled(path: Path) -> Any:
    """Return what torch.save wrote, as far as it is tensors, numbers, texts, lists and dictionaries."""
    try:
        _check_unpacked_size(path)
        with torch.serialization.safe_globals(_STANDINS), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of old protocols; what matters is refused below
            return torch.load(path, map_location="cpu", weights_only=True)
    except CheckpointError:
        raise
    except Exception as error:  # untrusted bytes can raise anything
        raise _unreadable(path, error) from error


def _check_unpacked_size(path: Path) -> None:
    """Refuse a zip that claims more than its own size: torch stores, never compresses."""
    check_is_file(path)
    with path.open("rb") as file:
        if file.read(len(_ZIP)) != _ZIP:
            return
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
    size, claimed = path.stat().st_size, sum(entry.file_size for entry in entries)
    packed = any(entry.compress_type != zipfile.ZIP_STORED for entry in entries)
    if claimed > size or packed or len(entries) > _MOST_ENTRIES:
        found = f"{len(entries)} parts that unpack to {claimed} bytes, in a file of {size}"
        raise _damaged(path, found, "parts that are stored as they are, as torch.save does")


def _unreadable(path: Path, error: Exception) -> CheckpointError:
    """Return the error that names the object that a file holds, or says that the file is damaged."""
    named = re.search(r"GLOBAL (\S+)", str(error))
    if named is None:
        return _damaged(path, f"{type(error).__name__}: {error!s:.150}", "a whole file that torch.save wrote")
    return CheckpointError(
        str(path),
        found=f"the pickled object {named[1]:.80}, which could run code",
        expected="tensors, numbers, texts, lists and dictionaries only; nothing else is unpickled",
        remedy="If you trust it, save its state dict alone as .safetensors, in the environment that it was made in.",
    )


def as_tensors(state: object, path: Path) -> dict[str, Tensor]:
    """Return a state dict with its floating point values as float32."""
    named = isinstance(state, dict) and all(isinstance(name, str) for name in state)
    if not isinstance(state, dict) or not named or not state:
        raise _damaged(path, f"a {type(state).__name__} that does not name tensors", "a state dict")
    size, claimed = path.stat().st_size, 0
    for name, tensor in state.items():
        plain = isinstance(tensor, Tensor) and tensor.layout == torch.strided and not tensor.is_quantized
        if not plain or tensor.numel() * tensor.element_size() > size:
            raise _damaged(path, f"{name!a:.80}, which is no tensor of its own values", "a state dict of plain tensors")
        claimed += tensor.numel() * tensor.element_size()
    if claimed > _MOST_SHARED * size:
        found = f"{len(state)} tensors of {claimed} bytes in a file of {size}"
        raise _damaged(path, found, "tensors that share no more than half of their values")
    return {name: x.detach().float() if x.is_floating_point() else x.detach() for name, x in state.items()}


def _damaged(path: Path, found: str, expected: str) -> CheckpointError:
    remedy = "The file is damaged or dangerous: take it from its source again."
    return CheckpointError(str(path), found=found, expected=expected, remedy=remedy)
