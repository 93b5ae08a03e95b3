"""Speech to take measure on: an encoder that comes without training data still has to know what is near and far."""

from __future__ import annotations

import torch

from ser_fewshot import corpora
from ser_fewshot.assets import DEMO
from ser_fewshot.corpora import Utterance
from ser_fewshot.frontends import FeatureSet, extract
from ser_fewshot.models import Model

_DEMO = DEMO / "clips.csv"


def demo_features(model: Model) -> FeatureSet:
    """Return the features of clips that come with the package: one of every speaker and emotion."""
    first: dict[tuple[str | None, str | None], Utterance] = {}
    for utterance in corpora.read_manifest(_DEMO).utterances:
        first.setdefault((utterance.speaker, utterance.emotion), utterance)
    return extract(model.frontend, first.values())


def fit_scale(model: Model, features: FeatureSet) -> None:
    """Let a model's learner measure the scale of features; on an encoder that it was not trained on it knows none."""
    emotions = sorted({str(utterance.emotion) for utterance in features.utterances})
    y = torch.tensor([emotions.index(str(utterance.emotion)) for utterance in features.utterances])
    model.learner.fit_scale(features.batch(range(len(features))), y)
