"""Loading clips from files, bytes, file objects and arrays, as float32 mono at 16 kHz, or with an AudioError."""

from __future__ import annotations

from ser_fewshot.audio.checks import MIN_SECONDS, SAMPLE_RATE, SHORT_SECONDS
from ser_fewshot.audio.clip import (
    AUDIO_VERSION,
    CLIPPED,
    MAX_SECONDS,
    SHORT,
    TRIM_DB,
    Clip,
    Source,
    check_readable,
    content_key,
    length,
    load,
)

__all__ = [
    "AUDIO_VERSION",
    "CLIPPED",
    "MAX_SECONDS",
    "MIN_SECONDS",
    "SAMPLE_RATE",
    "SHORT",
    "SHORT_SECONDS",
    "TRIM_DB",
    "Clip",
    "Source",
    "check_readable",
    "content_key",
    "length",
    "load",
]
