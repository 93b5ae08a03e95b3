"""Encoders: frames (batch, frames, dim) with lengths in, one embedding (batch, width) a clip out.

All of them look at a clip's own frames only: padding, and the other clips of a batch, change nothing.
"""

from __future__ import annotations

from ser_fewshot.encoders._base import Encoder, EncoderSettings
from ser_fewshot.encoders._learned import Conv, Dense
from ser_fewshot.encoders._statistics import Mean, Statistics

__all__ = ["Conv", "Dense", "Encoder", "EncoderSettings", "Mean", "Statistics", "build_encoder"]


def build_encoder(dim: int, settings: EncoderSettings) -> Encoder:
    """Return a new encoder for frames of `dim` values."""
    if settings.name == "mean":
        return Mean(dim)
    if settings.name == "statistics":
        return Statistics(dim, whitening=settings.whitening)
    return Dense(dim, settings) if settings.name == "dense" else Conv(dim, settings)
