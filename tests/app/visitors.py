"""Visitors of the page, with a small model and tones, which no check refuses."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from conftest import tone
from numpy.typing import NDArray
from synthetic import small_model

from app import handlers
from app.clips import ClipInput
from app.models import Models
from app.notes import Code
from app.session import History, Session
from ser_fewshot.models import save_model

TONES = {"low": 110.0, "high": 500.0, "shrill": 900.0}
"""Hertz of the tones that stand for emotions."""


@functools.cache
def models() -> Models:
    """A page's models: small, untrained, fitted to tones."""
    with tempfile.TemporaryDirectory() as folder:
        save_model(small_model(), Path(folder), card="small")
        shared = Models(Path(folder))
        shared.empty("emotion")
    return shared


@functools.cache
def packaged() -> Models:
    """The models of the package."""
    return Models()


def recording(name: str, number: int = 0, *, seconds: float = 0.6) -> tuple[int, NDArray[np.int16]]:
    """A recording of a tone as gradio gives it; another number is another take."""
    wave = tone(seconds, hertz=TONES[name] * (1 + 0.01 * number), peak=0.3 - 0.01 * number)
    return 16_000, (wave * 32767).astype(np.int16)


def enrolled(counts: Mapping[str, int], session: Session | None = None, *, by: Models | None = None) -> Session:
    """A session with so many clips of each tone."""
    session = session or Session()
    for name, count in counts.items():
        clips: Sequence[ClipInput] = [recording(name, number) for number in range(count)]
        session = handlers.add_clips(session, name, clips, models=by or models())
    return session


def codes(state: Session | History) -> list[Code]:
    """The codes of a state's notes."""
    return [note.code for note in state.notes]
