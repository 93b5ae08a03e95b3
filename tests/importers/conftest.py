"""What the tests of importers share."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from ser_fewshot.frontends import extract
from ser_fewshot.importers import Checkpoint, Choice, KeyReport, _model, read
from ser_fewshot.importers._model import build, frontend_settings
from ser_fewshot.importers._source import find
from ser_fewshot.models import Model


@pytest.fixture(autouse=True)
def _few_demo_clips(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take measure on a fifth of the demo clips; the pages of the documentation import with all of them."""
    monkeypatch.setattr(_model, "extract", lambda frontend, clips: extract(frontend, [*clips][::5]))


def built(path: Path, **choice) -> tuple[Checkpoint, Model, KeyReport]:
    """Import without taking measure on speech, which these tests do not need."""
    checkpoint = read(find(str(path)))
    asked = Choice(**{"layer": 2, "pooling": "frames", **choice})
    return checkpoint, *build(checkpoint, frontend_settings(checkpoint, asked, origin="here"), asked, origin="here")


def features(model: Model, wave: Tensor) -> Tensor:
    """(samples,) -> (frames, dim)."""
    with torch.no_grad():
        return model.frontend.analyse([wave])[0]
