"""Cached features of clips for a model, and embeddings under recording conditions, as clips are enrolled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from ser_fewshot.audio.conditions import CONDITIONS, Condition
from ser_fewshot.corpora import Utterance
from ser_fewshot.frontends import FeatureCache, FeatureSet, default_directory, extract
from ser_fewshot.learners import embed_clips
from ser_fewshot.models import Model


def features_of(model: Model, clips: Sequence[Utterance], *, condition: Condition | None = None) -> FeatureSet:
    """Return the features of clips, under a condition if one is given, from the user's cache or computed."""
    cache = FeatureCache(default_directory(), model.frontend.identity)
    return extract(model.frontend, clips, cache=cache, normalization=model.config.normalization, condition=condition)


def as_enrolled(model: Model, embedded: FeatureSet) -> FeatureSet:
    """Return embedded clips with their deviations, so that a support is augmented as `FewShotClassifier.enroll` does.

    Args:
        model: embeds a clip as (width,).
        embedded: of clean clips.
    """
    clean = torch.stack(list(embedded.clips))
    under = [
        torch.stack(embed_clips(model.learner, features_of(model, embedded.utterances, condition=condition).clips))
        for condition in CONDITIONS
    ]
    return replace(embedded, deviations=(torch.stack(under, 1) - clean[:, None]).unbind())
