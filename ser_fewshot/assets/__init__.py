"""Where the files lie that come with the package: the default model, demo clips and templates."""

from __future__ import annotations

from pathlib import Path

_HERE = Path(__file__).parent
DEFAULT_MODEL = _HERE / "default"
DEMO = _HERE / "demo"
TEMPLATES = _HERE / "templates"
