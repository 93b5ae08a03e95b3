"""Encoders: frames (batch, frames, dim) with lengths in, one embedding (batch, width) a clip out.

All of them look at a clip's own frames only: padding, and the other clips of a batch, change nothing.
"""

from __future__ import annotations

from ser_fewshot.encoders._base import HEADS, Encoder, EncoderSettings, View
from ser_fewshot.encoders._description import Given, Mixed, shares_of
from ser_fewshot.encoders._lda import Discriminant
from ser_fewshot.encoders._learned import Conv, Dense, describe
from ser_fewshot.encoders._statistics import Mean, Statistics, moments
from ser_fewshot.encoders._transformer import PIECE, POSITIONS, STRIDE, Block, Transformer, levelled, positions, windows

__all__ = [
    "HEADS",
    "PIECE",
    "POSITIONS",
    "STRIDE",
    "Block",
    "Conv",
    "Dense",
    "Discriminant",
    "Encoder",
    "EncoderSettings",
    "Given",
    "Mean",
    "Mixed",
    "Statistics",
    "Transformer",
    "View",
    "build_encoder",
    "levelled",
    "moments",
    "positions",
    "shares_of",
    "windows",
]


def build_encoder(dim: int, settings: EncoderSettings) -> Encoder:
    """Return a new encoder for frames of `dim` values."""
    encoder = _mixed(dim, settings)
    if not settings.discriminant:
        return encoder
    return Discriminant(encoder, n=settings.discriminant, view=settings.view, recording=settings.recording)


def _mixed(dim: int, settings: EncoderSettings) -> Encoder:
    if settings.layers > 1 and not settings.pooled and settings.name != "blocks":
        return Mixed(_build(dim // settings.layers, settings), layers=settings.layers)
    return _build(dim, settings)


def _build(dim: int, settings: EncoderSettings) -> Encoder:
    if settings.name == "mean":
        return Mean(dim)
    if settings.name == "blocks":
        from ser_fewshot.encoders._blocks import Blocks  # noqa: PLC0415 - it loads transformers

        return Blocks(settings)
    if settings.name == "transformer":
        return Transformer(dim, settings)
    if settings.name == "statistics":
        return describe(dim, settings)
    return Dense(dim, settings) if settings.name == "dense" else Conv(dim, settings)
