"""Front-ends: from waveforms to frames of features; one file each."""

from ser_fewshot.frontends._cache import FeatureCache, clear, default_directory, size
from ser_fewshot.frontends._extract import FeatureSet, FrontEnd, Normalization, analyse, extract, normalize
from ser_fewshot.frontends._features import Features, stack

__all__ = [
    "FeatureCache",
    "FeatureSet",
    "Features",
    "FrontEnd",
    "Normalization",
    "analyse",
    "clear",
    "default_directory",
    "extract",
    "normalize",
    "size",
    "stack",
]
