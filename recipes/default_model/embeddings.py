"""Embeddings of clean and augmented clips."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import cast

import torch
from torch import Tensor

from ser_fewshot.audio.acoustics import VARIATIONS
from ser_fewshot.corpora import Utterance
from ser_fewshot.encoders import Discriminant, Statistics, Transformer, normalise_level
from ser_fewshot.episodes import Episode
from ser_fewshot.frontends import FeatureSet, stack
from ser_fewshot.learners import embed_clips
from ser_fewshot.models import Model, build_model
from ser_fewshot.storage.tensors import load_weights

_AUGMENTED = "\N{SINGLE RIGHT-POINTING ANGLE QUOTATION MARK}augmented"  # after the id of a clip
_BATCH_CLIPS = 256
_SMALLEST_SPREAD = 1e-3
_SCALE_STEP = 2  # every other clip is enough for a normalisation
_SCALE_FRAMES = 600  # one long clip must not pad all the others


@dataclass(frozen=True, eq=False)
class EmbeddingPair:
    """Embeddings of the same clips, clean and augmented by a room, noise or a telephone."""

    clean: FeatureSet
    augmented: FeatureSet

    def subset(self, utterances: Collection[Utterance]) -> EmbeddingPair:
        """Return some of the clips."""
        return EmbeddingPair(self.clean.subset(utterances), self.augmented.subset(utterances))

    def both(self) -> FeatureSet:
        """Return clean and augmented clips in one set, for `augmented` episodes."""
        renamed = tuple(replace(item, id=item.id + _AUGMENTED) for item in self.augmented.utterances)
        return FeatureSet((*self.clean.utterances, *renamed), (*self.clean.clips, *self.augmented.clips))


def augmented(episode: Episode) -> Episode:
    """Return an episode with the same support and augmented queries."""
    return replace(episode, query=tuple(tuple(clip + _AUGMENTED for clip in members) for members in episode.query))


@dataclass(frozen=True, eq=False)
class Embeddings:
    """Embeddings of clips and functionals of equal weight, to be concatenated.

    Attributes:
        utterances: of the clips.
        learned, learned_augmented: (n_clips, width) by the distilled encoder, standardised over the clean clips.
        functionals, functionals_augmented: (n_clips, ...).
        mean, scale: (width,) of the standardisation.
        statistics: the state of the functionals' encoder.
    """

    utterances: tuple[Utterance, ...]
    learned: Tensor
    learned_augmented: Tensor
    functionals: Tensor
    functionals_augmented: Tensor
    mean: Tensor
    scale: Tensor
    statistics: Mapping[str, Tensor]

    def concatenated(self, weight: float) -> EmbeddingPair:
        """Return both parts with a weight of the functionals, which are left out at 0."""
        pairs = ((self.learned, self.functionals), (self.learned_augmented, self.functionals_augmented))
        whole = [torch.cat([learned, weight * other], 1) if weight else learned for learned, other in pairs]
        clean, augmented_ = (FeatureSet(self.utterances, tuple(z)) for z in whole)
        return EmbeddingPair(clean, augmented_)

    def feature_weights(self, functionals: float, width: int) -> Tensor:
        """Return weights (width,): 1 for the learned part, `functionals` for the rest."""
        n_learned = self.learned.shape[1]
        return torch.cat([torch.ones(n_learned), torch.full((width - n_learned,), functionals)])


def embed(model: Model, features: FeatureSet) -> Embeddings:
    """Return the embeddings by a model's distilled encoder, and functionals, of clean and augmented clips."""
    extended = extend(model, functionals=1.0, discriminant=1, recording=0, penalty=1.0)
    inner = cast("Transformer", discriminant_of(extended).inner)
    clips = [features.clips[row][:_SCALE_FRAMES] for row in range(0, len(features), _SCALE_STEP)]
    statistics = cast("Statistics", inner.statistics)
    statistics.fit_scale(normalise_level(stack(clips)))
    sizes = [len(inner.mean), inner.width]
    learned, functionals, _ = torch.stack(embed_clips(extended.learner, features.clips)).tensor_split(sizes, 1)
    other = [
        embed_clips(extended.learner, _augment(features, range(start, min(start + _BATCH_CLIPS, len(features)))))
        for start in range(0, len(features), _BATCH_CLIPS)
    ]
    learned_augmented, functionals_augmented, _ = torch.stack(list(chain.from_iterable(other))).tensor_split(sizes, 1)
    mean, scale = learned.mean(0), learned.std(0, correction=0).clamp_min(_SMALLEST_SPREAD)
    return Embeddings(
        features.utterances,
        (learned - mean) / scale,
        (learned_augmented - mean) / scale,
        functionals,
        functionals_augmented,
        mean,
        scale,
        statistics.state_dict(),
    )


def extend(model: Model, *, functionals: float, discriminant: int, recording: int, penalty: float) -> Model:
    """Return a ridge model with the distilled encoder, functionals and LDA directions yet to be fitted.

    Weights are rounded to half precision, in which they are shipped, so that evaluation is of the shipped model.
    """
    encoder = {**model.config.settings["encoder"], "functionals": functionals}
    encoder |= {"discriminant": discriminant, "recording": recording}
    settings = {**model.config.settings, "encoder": encoder, "penalty": penalty}
    extended = build_model(replace(model.config, settings=settings), frontend=model.frontend)
    distilled = model.learner.get_submodule("encoder").state_dict()
    halves = {name: tensor.half().float() for name, tensor in distilled.items()}
    inner = discriminant_of(extended).inner
    own = {name: tensor for name, tensor in inner.state_dict().items() if name.startswith("statistics.")}
    load_weights(inner, {**own, **halves}, origin="distilled encoder")
    return extended


def standardise(model: Model, embeddings: Embeddings) -> Model:
    """Set the standardisation of an extended model, in place, and return it."""
    inner = cast("Transformer", discriminant_of(model).inner)
    with torch.no_grad():
        inner.mean.copy_((inner.mean + embeddings.mean * inner.scale).half())
        inner.scale.copy_((embeddings.scale * inner.scale).half())
    if inner.statistics is not None:
        inner.statistics.load_state_dict(embeddings.statistics)
    return model


def discriminant_of(model: Model) -> Discriminant:
    """Return the encoder of an extended model."""
    encoder = model.learner.get_submodule("encoder")
    if not isinstance(encoder, Discriminant):
        raise TypeError(f"{type(encoder).__name__} has no LDA directions")
    return encoder


def _augment(features: FeatureSet, rows: Sequence[int]) -> list[Tensor]:
    """Augment clips of (frames, bands), each by one of VARIATIONS, seeded by its id alone."""
    seeds = [features.utterances[row].seed for row in rows]
    return [
        VARIATIONS[seed % len(VARIATIONS)](features.clips[row], torch.Generator().manual_seed(seed))
        for row, seed in zip(rows, seeds, strict=True)
    ]
