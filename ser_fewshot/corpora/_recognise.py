"""Recognise a corpus by the names of its files: every mirror calls the folder otherwise."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from ser_fewshot import plugins
from ser_fewshot.corpora._coded import FileNames


def looks_like(files: Collection[Path]) -> str | None:
    """Return the corpus whose file names more than half of the files have, None if there is none."""
    fits = {name: sum(names.parse(path) is not None for path in files) for name, names in _file_names().items()}
    best = max(fits, key=fits.__getitem__)
    return best if fits[best] > len(files) / 2 else None


def _file_names() -> dict[str, FileNames]:
    found = {name: getattr(plugins.load("corpora", name), "NAMES", None) for name in plugins.names("corpora")}
    return {name: names for name, names in found.items() if isinstance(names, FileNames)}
