"""Embeddings of clips under recording conditions, through the feature cache: supports as they are enrolled."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from ser_fewshot.corpora import Utterance
from ser_fewshot.frontends import HELD_BYTES, FeatureCache, FeatureSet, FrontEnd, Normalization, Track, extract
from ser_fewshot.learners import Learner, embed_clips, is_augmented
from ser_fewshot.models.config import Model

if TYPE_CHECKING:
    from ser_fewshot.audio.conditions import Condition


def under_conditions(
    frontend: FrontEnd,
    utterances: Iterable[Utterance],
    *,
    cache: FeatureCache | None = None,
    normalization: Normalization = "none",
    track: Track = iter,
) -> dict[Condition, FeatureSet]:
    """Return the features of clips under each recording condition that clips are enrolled under; see `extract`."""
    from ser_fewshot.audio.conditions import CONDITIONS  # noqa: PLC0415 - few need torchaudio

    clips, hold = tuple(utterances), HELD_BYTES // len(CONDITIONS)
    return {
        condition: extract(
            frontend, clips, cache=cache, normalization=normalization, hold=hold, track=track, condition=condition
        )
        for condition in CONDITIONS
    }


def with_deviations(learner: Learner, features: FeatureSet, under: Mapping[Condition, FeatureSet]) -> FeatureSet:
    """Return clips as a learner embeds them, with their deviations, so that supports of them are augmented.

    Args:
        learner: if its support is not augmented (`is_augmented`), the features are returned as they are.
        features: of clean clips, or their embeddings.
        under: features of the same clips under each condition; none leaves the features as they are too.
    """
    if not under or not len(features) or not is_augmented(learner, embed_clips(learner, features.clips[:1])[0]):
        return features
    clean = torch.stack(embed_clips(learner, features.clips))  # (n_clips, width)
    others = torch.stack([torch.stack(embed_clips(learner, one.clips)) for one in under.values()], 1)
    return replace(features, clips=tuple(clean), deviations=(others - clean[:, None]).unbind())


def as_enrolled(model: Model, features: FeatureSet, *, cache: FeatureCache | None = None) -> FeatureSet:
    """Return clips with their deviations, so that `evaluate` adapts to a support as `FewShotClassifier.enroll` does.

    Args:
        model: embeds the clips; if its learner's support is not augmented, they are returned as they are.
        features: of clean clips by the model's front-end and normalisation, or their embeddings.
        cache: of the model's front-end; None analyses everything anew.
    """
    if not len(features) or not is_augmented(model.learner, embed_clips(model.learner, features.clips[:1])[0]):
        return features
    normalization = model.config.normalization
    under = under_conditions(model.frontend, features.utterances, cache=cache, normalization=normalization)
    return with_deviations(model.learner, features, under)
