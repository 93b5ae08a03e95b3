"""Cached features of clips for a model."""

from __future__ import annotations

from collections.abc import Sequence

from ser_fewshot.corpora import Utterance
from ser_fewshot.frontends import FeatureCache, FeatureSet, default_directory, extract
from ser_fewshot.models import Model


def features_of(model: Model, clips: Sequence[Utterance]) -> FeatureSet:
    """Return the features of clips, from the user's cache or computed."""
    cache = FeatureCache(default_directory(), model.frontend.identity)
    return extract(model.frontend, clips, cache=cache, normalization=model.config.normalization)
