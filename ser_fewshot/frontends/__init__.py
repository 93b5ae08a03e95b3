"""Front-ends: from waveforms to frames of features; one file each."""

from ser_fewshot.frontends._cache import FeatureCache, clear, default_directory, size
from ser_fewshot.frontends._extract import (
    FeatureSet,
    FrontEnd,
    Normalization,
    analyse,
    check_frames,
    extract,
    normalize,
)
from ser_fewshot.frontends._features import Features, halved, stack

__all__ = [
    "FeatureCache",
    "FeatureSet",
    "Features",
    "FrontEnd",
    "Normalization",
    "analyse",
    "check_frames",
    "clear",
    "default_directory",
    "extract",
    "halved",
    "normalize",
    "size",
    "stack",
]
