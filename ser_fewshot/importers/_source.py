"""The source of an import: a folder, a file, or a model on the Hugging Face hub."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import Tensor

from ser_fewshot.errors import CheckpointError
from ser_fewshot.importers._files import as_tensors, inside, read_pickled
from ser_fewshot.storage.hub import fetch, is_id
from ser_fewshot.storage.paths import url_in
from ser_fewshot.storage.tensors import read_config

_SUFFIXES = (".pt", ".pth", ".ckpt", ".bin")
_SPEECHBRAIN = ("wav2vec2.ckpt", "hubert.ckpt", "wavlm.ckpt")


@dataclass(frozen=True)
class Source:
    """A place to import from; its files are read when they are first needed.

    Attributes:
        name: as the user gave it.
        path: a folder or a file.
    """

    name: str
    path: Path

    @property
    def folder(self) -> Path:
        """Where the files beside the weights are."""
        return self.path if self.path.is_dir() else self.path.parent

    @cached_property
    def config(self) -> dict[str, Any]:
        """config.json; empty where there is none."""
        return self._json("config.json")

    @cached_property
    def preprocessor(self) -> dict[str, Any]:
        """The settings of the feature extractor; empty where no file has them.

        transformers 5 stores them inside processor_config.json, which counts more than a preprocessor_config.json that
        an older version left beside it.
        """
        return self._inner or self._json("preprocessor_config.json")

    @cached_property
    def contradictions(self) -> tuple[str, ...]:
        """A sentence if both files describe the feature extractor, but differently."""
        outer = self._json("preprocessor_config.json")
        shared = [name for name in sorted(outer) if name in self._inner and isinstance(outer[name], int | float)]
        differing = [name for name in shared if outer[name] != self._inner[name]]
        if not differing:
            return ()
        return (f"processor_config.json counts, and preprocessor_config.json differs in {', '.join(differing)[:80]}",)

    @cached_property
    def _inner(self) -> dict[str, Any]:
        processor = self._json("processor_config.json")
        inner = processor.get("feature_extractor", processor.get("audio_processor"))
        return inner if isinstance(inner, dict) else {}

    @cached_property
    def state_file(self) -> Path | None:
        """The file of pickled weights: the one that was named, or that of a SpeechBrain folder."""
        if self.path.is_file():
            return self.path if self.path.suffix in _SUFFIXES else None
        found = (self.path / name for name in _SPEECHBRAIN)
        return next((inside(self.path, path.name) for path in found if path.is_file()), None)

    @cached_property
    def state(self) -> Any:
        """What the file of pickled weights holds; None where there is none."""
        return None if self.state_file is None else read_pickled(self.state_file)

    def weights(self, *path: str) -> dict[str, Tensor]:
        """Return the pickled weights, or those under some keys of what was pickled."""
        state = self.state
        for key in path:
            state = state[key]
        return as_tensors(state, self.state_file or self.path)

    @property
    def names(self) -> frozenset[str]:
        """The keys of the pickled weights, if they are a dictionary."""
        return frozenset(map(str, self.state)) if isinstance(self.state, dict) else frozenset()

    def _json(self, name: str) -> dict[str, Any]:
        return read_config(inside(self.folder, name)) if (self.folder / name).exists() else {}


def find(name: str, *, say: Callable[[str], None] = lambda _: None) -> Source:
    """Return the source of a name; what is no path here but looks like a hub id is downloaded."""
    path = Path(name).expanduser()
    if path.exists():
        return Source(name, path)
    if not is_id(name):
        remedy = "Name a model of the hub by its account and name, and download others first."
        raise CheckpointError(
            name,
            found="an address" if url_in(name) else "no such file or folder",
            expected="a folder, a .pt, .pth or .ckpt file, or a hub id such as facebook/wav2vec2-base",
            remedy=remedy if url_in(name) else "Check the path.",
        )
    say(f"{name} is no path here: asking the Hugging Face hub for the model of that name")
    folder = fetch(name, ["*.json", "*.safetensors"])
    if not any(folder.glob("*.safetensors")):  # only then, since most models have pickled weights too
        folder = fetch(name, ["*.json", "pytorch_model*.bin", *_SPEECHBRAIN])
    return Source(name, folder)
