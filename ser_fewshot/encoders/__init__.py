"""Encoders: frames (batch, frames, dim) with lengths in, one embedding (batch, width) a clip out.

An embedding depends neither on padding nor on the rest of the batch.
"""

from __future__ import annotations

from ser_fewshot.encoders._base import HEADS, Encoder, EncoderSettings, View
from ser_fewshot.encoders._discriminant import Discriminant
from ser_fewshot.encoders._fixed import LayerMix, PooledFeatures, layer_weights
from ser_fewshot.encoders._learned import Conv, Dense, fixed_features
from ser_fewshot.encoders._statistics import Mean, Statistics, moments
from ser_fewshot.encoders._transformer import (
    CHUNK,
    POSITIONS,
    STRIDE,
    Block,
    Transformer,
    normalise_level,
    sinusoids,
    windows,
)

__all__ = [
    "CHUNK",
    "HEADS",
    "POSITIONS",
    "STRIDE",
    "Block",
    "Conv",
    "Dense",
    "Discriminant",
    "Encoder",
    "EncoderSettings",
    "LayerMix",
    "Mean",
    "PooledFeatures",
    "Statistics",
    "Transformer",
    "View",
    "build_encoder",
    "layer_weights",
    "moments",
    "normalise_level",
    "sinusoids",
    "windows",
]


def build_encoder(dim: int, settings: EncoderSettings) -> Encoder:
    """Return a new encoder for frames of `dim` values."""
    mixes = settings.layers > 1 and not settings.pooled and settings.name != "blocks"
    encoder = _build(dim // settings.layers if mixes else dim, settings)
    if mixes:
        encoder = LayerMix(encoder, layers=settings.layers)
    if settings.discriminant:
        return Discriminant(
            encoder,
            n=settings.discriminant,
            view=settings.view,
            nuisance=settings.recording,
            components=settings.components,
        )
    return encoder


def _build(dim: int, settings: EncoderSettings) -> Encoder:
    if settings.name == "mean":
        return Mean(dim)
    if settings.name == "statistics":
        return fixed_features(dim, settings)
    if settings.name == "blocks":
        from ser_fewshot.encoders._blocks import Blocks  # noqa: PLC0415 - it loads transformers

        return Blocks(settings)
    return {"dense": Dense, "conv": Conv, "transformer": Transformer}[settings.name](dim, settings)
