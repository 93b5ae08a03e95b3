"""Where the files lie that come with the package: models, demo clips and templates."""

from __future__ import annotations

from pathlib import Path

_HERE = Path(__file__).parent
DEFAULT_MODEL = _HERE / "default"
PERMISSIVE_MODEL = _HERE / "permissive"
DEMO = _HERE / "demo"
TEMPLATES = _HERE / "templates"

_BY_NAME = {"default": DEFAULT_MODEL, "permissive": PERMISSIVE_MODEL}


def model_folder(name: Path | str) -> Path:
    """Return the folder of a model of the package by its name; any other path, or a folder of that name, as it is."""
    folder = Path(name)
    return folder if folder.exists() else _BY_NAME.get(str(name), folder)
