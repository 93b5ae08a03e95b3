"""Front-ends: from waveforms to frames of features; one file each."""

from ser_fewshot.frontends._cache import FeatureCache, clear, default_directory, size
from ser_fewshot.frontends._extract import HELD_BYTES, FrontEnd, Track, analyse, check_frames, extract, fill
from ser_fewshot.frontends._feature_set import FeatureSet, StoredClips, content_keys
from ser_fewshot.frontends._features import Features, halved, stack
from ser_fewshot.frontends._normalization import Normalization, normalize

__all__ = [
    "HELD_BYTES",
    "FeatureCache",
    "FeatureSet",
    "Features",
    "FrontEnd",
    "Normalization",
    "StoredClips",
    "Track",
    "analyse",
    "check_frames",
    "clear",
    "content_keys",
    "default_directory",
    "extract",
    "fill",
    "halved",
    "normalize",
    "size",
    "stack",
]
