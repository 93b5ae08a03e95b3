"""What a taught encoder makes of clips, as they were recorded and as another microphone would have had them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import cast

import torch
from torch import Tensor

from ser_fewshot.audio.acoustics import VARIATIONS
from ser_fewshot.corpora import Utterance
from ser_fewshot.encoders import Discriminant, Statistics, Transformer, levelled
from ser_fewshot.episodes import Episode
from ser_fewshot.frontends import FeatureSet, stack
from ser_fewshot.learners import embed_clips
from ser_fewshot.models import Model, build_model
from ser_fewshot.storage.tensors import load_weights

_VARIED = "\N{SINGLE RIGHT-POINTING ANGLE QUOTATION MARK}varied"  # after the id of a clip
_AT_ONCE = 256  # clips that are varied before they are embedded
_SMALLEST_SPREAD = 1e-3
_SCALE_STEP = 2  # every other clip is enough for a scale
_SCALE_FRAMES = 600  # one clip of a minute must not pad all the others to a minute


@dataclass(frozen=True, eq=False)
class Recordings:
    """The same clips twice: as they were recorded, and through a room, a background or a telephone."""

    plain: FeatureSet
    varied: FeatureSet

    def subset(self, utterances: Collection[Utterance]) -> Recordings:
        """Return some of the clips, both ways."""
        return Recordings(self.plain.subset(utterances), self.varied.subset(utterances))

    def both(self) -> FeatureSet:
        """Return all of it as one set, for episodes whose queries are `varied`."""
        renamed = tuple(replace(item, id=item.id + _VARIED) for item in self.varied.utterances)
        return FeatureSet((*self.plain.utterances, *renamed), (*self.plain.clips, *self.varied.clips))


def varied(episode: Episode) -> Episode:
    """Return an episode with the same support whose queries come through another microphone."""
    return replace(episode, query=tuple(tuple(clip + _VARIED for clip in members) for members in episode.query))


@dataclass(frozen=True, eq=False)
class Parts:
    """What the encoder makes of clips, to be set side by side.

    Attributes:
        utterances: of the clips.
        seen, seen_varied: (n_clips, width) what it learned, each value in unit scale over the clips as recorded.
        functionals, functionals_varied: (n_clips, ...) weighing as much.
        mean, scale: (width,) what `seen` was before.
        statistics: the state of what makes the functionals.
    """

    utterances: tuple[Utterance, ...]
    seen: Tensor
    seen_varied: Tensor
    functionals: Tensor
    functionals_varied: Tensor
    mean: Tensor
    scale: Tensor
    statistics: Mapping[str, Tensor]

    def beside(self, functionals: float) -> Recordings:
        """Return both parts of each clip, the functionals with some weight; nothing of them where that is 0."""
        pairs = ((self.seen, self.functionals), (self.seen_varied, self.functionals_varied))
        whole = [torch.cat([seen, functionals * other], 1) if functionals else seen for seen, other in pairs]
        plain, varied_ = (FeatureSet(self.utterances, tuple(one)) for one in whole)
        return Recordings(plain, varied_)

    def weighing(self, emphasis: float, width: int) -> Tensor:
        """Return the weights of the values of both parts, (width,): 1 of what it learned, some of the functionals."""
        learned = self.seen.shape[1]
        return torch.cat([torch.ones(learned), torch.full((width - learned,), emphasis)])


def describe(model: Model, features: FeatureSet) -> Parts:
    """Return what the taught encoder of a model makes of clips, and fixed functionals of them."""
    built = widened(model, functionals=1.0, discriminant=1, recording=0, penalty=1.0)
    inner = cast("Transformer", metric_of(built).inner)
    clips = [features.clips[row][:_SCALE_FRAMES] for row in range(0, len(features), _SCALE_STEP)]
    statistics = cast("Statistics", inner.statistics)
    statistics.fit_scale(levelled(stack(clips)))
    sizes = [len(inner.mean), inner.width]
    seen, functionals, _ = torch.stack(embed_clips(built.learner, features.clips)).tensor_split(sizes, 1)
    other = [
        embed_clips(built.learner, _varied(features, range(start, min(start + _AT_ONCE, len(features)))))
        for start in range(0, len(features), _AT_ONCE)
    ]
    seen_varied, functionals_varied, _ = torch.stack(list(chain.from_iterable(other))).tensor_split(sizes, 1)
    mean, scale = seen.mean(0), seen.std(0, correction=0).clamp_min(_SMALLEST_SPREAD)
    return Parts(
        features.utterances,
        (seen - mean) / scale,
        (seen_varied - mean) / scale,
        functionals,
        functionals_varied,
        mean,
        scale,
        statistics.state_dict(),
    )


def widened(model: Model, *, functionals: float, discriminant: int, recording: int, penalty: float) -> Model:
    """Return the taught encoder with functionals and room for directions beside it, under ridge regression.

    Weights are rounded to half precision, in which they are shipped, so that what is measured is what is shipped.
    """
    chosen = {"functionals": functionals, "discriminant": discriminant, "recording": recording}
    settings = {
        **model.config.settings,
        "encoder": {**model.config.settings["encoder"], **chosen},
        "penalty": penalty,
    }
    built = build_model(replace(model.config, settings=settings), frontend=model.frontend)
    taught = model.learner.get_submodule("encoder").state_dict()
    halves = {name: tensor.half().float() for name, tensor in taught.items()}
    inner = metric_of(built).inner
    own = {name: tensor for name, tensor in inner.state_dict().items() if name.startswith("statistics.")}
    load_weights(inner, {**own, **halves}, origin="taught encoder")  # what makes functionals is not taught
    return built


def scaled(model: Model, parts: Parts) -> Model:
    """Give a widened model the unit scale of what it sees, in place, and return it."""
    inner = cast("Transformer", metric_of(model).inner)
    with torch.no_grad():
        inner.mean.copy_((inner.mean + parts.mean * inner.scale).half())
        inner.scale.copy_((parts.scale * inner.scale).half())
    if inner.statistics is not None:
        inner.statistics.load_state_dict(parts.statistics)
    return model


def metric_of(model: Model) -> Discriminant:
    """Return what sets directions beside the embedding of a model.

    Raises:
        TypeError: it has none.
    """
    metric = model.learner.get_submodule("encoder")
    if not isinstance(metric, Discriminant):
        raise TypeError(f"{type(metric).__name__} has no directions")
    return metric


def _varied(features: FeatureSet, rows: Sequence[int]) -> list[Tensor]:
    """Vary some clips of (frames, bands), each by one of VARIATIONS; how depends on the id of a clip alone."""
    seeds = [features.utterances[row].seed for row in rows]
    return [
        VARIATIONS[seed % len(VARIATIONS)](features.clips[row], torch.Generator().manual_seed(seed))
        for row, seed in zip(rows, seeds, strict=True)
    ]
