"""Cached features of clips for a model, and embeddings under recording conditions, as clips are enrolled."""

from __future__ import annotations

from collections.abc import Sequence

from ser_fewshot import models
from ser_fewshot.audio.conditions import Condition
from ser_fewshot.corpora import Utterance
from ser_fewshot.frontends import FeatureCache, FeatureSet, default_directory, extract
from ser_fewshot.models import Model


def features_of(model: Model, clips: Sequence[Utterance], *, condition: Condition | None = None) -> FeatureSet:
    """Return the features of clips, under a condition if one is given, from the user's cache or computed."""
    normalization = model.config.normalization
    return extract(model.frontend, clips, cache=_cache(model), normalization=normalization, condition=condition)


def as_enrolled(model: Model, embedded: FeatureSet) -> FeatureSet:
    """Return embedded clean clips with their deviations, by `models.as_enrolled` with the user's cache."""
    return models.as_enrolled(model, embedded, cache=_cache(model))


def _cache(model: Model) -> FeatureCache:
    return FeatureCache(default_directory(), model.frontend.identity)
