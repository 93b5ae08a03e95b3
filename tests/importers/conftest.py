"""What the tests of importers share."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from ser_fewshot.importers import Checkpoint, Choice, KeyReport, read
from ser_fewshot.importers._model import build, frontend_settings
from ser_fewshot.importers._source import find
from ser_fewshot.models import Model


def built(path: Path, **choice) -> tuple[Checkpoint, Model, KeyReport]:
    """Import without taking measure on speech, which these tests do not need."""
    checkpoint = read(find(str(path)))
    asked = Choice(**{"layer": 2, "pooling": "frames", **choice})
    return checkpoint, *build(checkpoint, frontend_settings(checkpoint, asked, origin="here"), asked, origin="here")


def features(model: Model, wave: Tensor) -> Tensor:
    """(samples,) -> (frames, dim)."""
    with torch.no_grad():
        return model.frontend.analyse([wave])[0]
