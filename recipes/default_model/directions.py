"""Directions of emotions, meta-trained: a linear map of embeddings, learned through episodes and a closed-form head.

Each episode is solved by ridge regression on its support, and the loss of its queries is differentiated through the
solution: Bertinetto et al., "Meta-learning with differentiable closed-form solvers", 2019,
https://arxiv.org/abs/1805.08136. The encoder stays frozen, as in meta-transfer learning (Sun et al., 2019,
https://arxiv.org/abs/1812.02391), and what is learned stands beside its embedding.

Episodes are what a classifier will meet: other speakers or the same, supports of many speakers or of one, clean or
enrolled under recording conditions, queries through these, and with and without the offset of the query speaker.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from ser_fewshot.encoders import Discriminant
from ser_fewshot.episodes import Episode, EpisodeSampler, EpisodeSpec
from ser_fewshot.episodes.spec import class_numbers
from ser_fewshot.errors import EpisodeError
from ser_fewshot.frontends import Features, FeatureSet
from ser_fewshot.learners import SpeakerModel, augmented_support, build_learner, centred_support, without_voice
from ser_fewshot.learners.ridge import Ridge

WAYS, SHOTS = (3, 4, 6), (1, 3, 5)
_SHARE = 0.5  # of their weight that directions keep on corpora that they were not trained on
_FAST = 1e-2  # learning rate of two numbers
_QUERIES = (5, 2)  # of each class: the first that the clips allow
_KINDS: tuple[Mapping[str, object], ...] = (
    {},
    {"context": 1},
    {"context": 1, "support_speakers": "one"},
    {"query_speaker": "same"},
)
"""Queries of many speakers; of one; of one, and the support of another; all of one speaker."""
_SHARES = (1, 1, 1, 3)
"""How often each kind is drawn: a speaker who enrols and is then recognised is the main use."""


@dataclass(frozen=True, kw_only=True)
class DirectionSettings:
    """How directions are meta-trained.

    Attributes:
        n: directions.
        steps: of AdamW.
        tasks: episodes a step.
        rate: peak of the learning rate, which rises for 20 steps and falls along a cosine.
        noise: standard deviation of Gaussian noise on the inputs, relative to that of each value.
        dropout: share of values that are left out of a whole episode.
        smoothing: of the labels.
        voice: share of the episodes of one query speaker, whose offset is subtracted.
        augmented: share of the supports that hold their clips under recording conditions too.
        degraded: share of the episodes whose queries are under such a condition.
        penalty: of ridge regression.
        seed: of everything random.
    """

    n: int = 128
    steps: int = 1_200
    tasks: int = 4
    rate: float = 1e-3
    noise: float = 1.0
    dropout: float = 0.5
    smoothing: float = 0.1
    voice: float = 0.5
    augmented: float = 0.6
    degraded: float = 0.3
    penalty: float = 0.5
    seed: int = 0


class _Directions(nn.Module):
    """(n, width) -> (n, width + n_directions): an embedding at a learned weight, and its projections.

    Attributes:
        log_gain: logarithm of the weight of the embedding.
        map: (width, n_directions).
    """

    def __init__(self, width: int, n: int) -> None:
        super().__init__()
        self.log_gain = nn.Parameter(torch.zeros(()))
        self.map = nn.Parameter(0.5 * torch.randn(width, n) / math.sqrt(width))

    def forward(self, z: Tensor) -> Tensor:
        """(n, width) -> (n, width + n_directions), of a mean squared length near 1."""
        return torch.cat([z * self.log_gain.exp(), z @ self.map], 1) / math.sqrt(z.shape[1])

    @torch.no_grad()
    def copy_to(self, encoder: Discriminant) -> None:
        """Set what an encoder appends to an embedding, in half precision, in which it is stored."""
        encoder.mixup = 1.0  # as supports are in the training
        encoder.gain.copy_(self.log_gain.exp() / math.sqrt(len(self.map)))
        encoder.emotion.copy_((_SHARE * self.map / math.sqrt(len(self.map))).half())


def meta_train(sets: Mapping[str, FeatureSet], speakers: SpeakerModel, settings: DirectionSettings) -> Ridge:
    """Return ridge regression whose encoder appends directions, meta-trained on several corpora in turn at random.

    Args:
        sets: corpus -> its embeddings (width,), standardised, with deviations under each condition.
        speakers: of these embeddings.
        settings: of the training.

    Raises:
        EpisodeError: no corpus gives an episode.
    """
    width = len(next(iter(sets.values())).clips[0])
    encoder = {"name": "mean", "discriminant": settings.n}
    head = cast("Ridge", build_learner("ridge", width, {"encoder": encoder, "penalty": settings.penalty}))
    with torch.random.fork_rng():
        torch.manual_seed(settings.seed)
        directions = _Directions(width, settings.n)
        _train(directions, head, sets, speakers, settings)
    directions.copy_to(cast("Discriminant", head.encoder))
    return head.requires_grad_(False)


def _train(
    directions: _Directions,
    head: Ridge,
    sets: Mapping[str, FeatureSet],
    speakers: SpeakerModel,
    settings: DirectionSettings,
) -> None:
    """Train directions, and the sharpness of the head, in place."""
    clips = {name: _Clips(features) for name, features in sets.items()}
    tasks = _tasks(sets, settings.seed)
    groups: list[dict[str, Any]] = [
        {"params": [directions.map]},
        {"params": [directions.log_gain, head.log_sharpness], "lr": _FAST},
    ]
    optimiser = torch.optim.AdamW(groups, lr=settings.rate, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: _warm(step) * _cosine(step, settings.steps))
    for _ in range(settings.steps):
        optimiser.zero_grad()
        for _ in range(settings.tasks):
            name, kind, episode = next(tasks)
            task = clips[name].task(episode, one_voice="context" in kind)
            loss = _loss(directions, head, task, speakers, settings)
            (loss / settings.tasks).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()


def _warm(step: int) -> float:
    return min(1.0, (step + 1) / 20)


def _cosine(step: int, steps: int) -> float:
    return 0.5 * (1 + math.cos(math.pi * step / max(1, steps)))


@dataclass(frozen=True)
class _Task:
    """The embeddings of an episode, (n, width) each, with class numbers.

    Attributes:
        names: (n_support,) speakers.
        deviations: (n_support,) of (n_conditions, width).
        degraded: (n_conditions, n_query, width), the queries under each condition.
        one_voice: whether one speaker speaks all queries.
    """

    support: Tensor
    y: Tensor
    names: Sequence[str | None]
    deviations: Sequence[Tensor]
    query: Tensor
    query_y: Tensor
    degraded: Tensor
    one_voice: bool


class _Clips:
    """The embeddings of a corpus."""

    def __init__(self, features: FeatureSet) -> None:
        self.z, self.deviations = torch.stack(list(features.clips)), features.deviations
        self.names = [clip.speaker_key for clip in features.utterances]
        self.row = {clip.id: number for number, clip in enumerate(features.utterances)}

    def task(self, episode: Episode, *, one_voice: bool) -> _Task:
        """Return the embeddings of an episode."""
        support, query = (
            [self.row[clip] for part in side for clip in part] for side in (episode.support, episode.query)
        )
        return _Task(
            support=self.z[support],
            y=class_numbers(episode.support),
            names=[self.names[row] for row in support],
            deviations=[self.deviations[row] for row in support],
            query=self.z[query],
            query_y=class_numbers(episode.query),
            degraded=torch.stack([self.z[row] + self.deviations[row] for row in query], 1),
            one_voice=one_voice,
        )


def _loss(
    directions: _Directions, head: Ridge, task: _Task, speakers: SpeakerModel, settings: DirectionSettings
) -> Tensor:
    """Return the cross-entropy of the queries of a task."""
    support, query = _pooled(task.support), task.query
    if torch.rand(()) < settings.degraded:
        query = task.degraded[int(torch.randint(len(task.degraded), ()))]
    support, means = centred_support(support, task.y, task.names, speakers)
    if task.one_voice and torch.rand(()) < settings.voice:
        session = _pooled(query)
        query = without_voice(session, session, means, speakers, n_support=len(task.y), session=True).x
    x, y = support.x, task.y
    if torch.rand(()) < settings.augmented:
        whole, y = augmented_support(support, task.y, task.deviations)
        x = whole.x
    kept = (torch.rand(x.shape[1]) >= settings.dropout) / (1 - settings.dropout)
    x, query = ((part + settings.noise * torch.randn_like(part)) * kept for part in (x, query))
    classify = head.fit_head(directions(x), y, int(y.max()) + 1)
    return nn.functional.cross_entropy(classify(directions(query)), task.query_y, label_smoothing=settings.smoothing)


def _pooled(x: Tensor) -> Features:
    return Features(x, torch.ones(len(x), dtype=torch.int64))


def _tasks(sets: Mapping[str, FeatureSet], seed: int) -> Iterator[tuple[str, Mapping[str, object], Episode]]:
    """Yield corpora in turn at random, each with an episode of a random kind and size that its clips allow."""
    samplers = {name: found for name, features in sets.items() if (found := _samplers(features, seed))}
    if not samplers:
        raise EpisodeError(
            "directions", found="no corpus that gives an episode", expected="labelled clips of several speakers",
            remedy="Add a corpus.",
        )  # fmt: skip
    rng = np.random.default_rng(seed)
    number = 0
    while True:
        name = list(samplers)[rng.integers(len(samplers))]
        shares = np.array([_SHARES[kind] for kind in samplers[name]])
        kind = rng.choice(list(samplers[name]), p=shares / shares.sum())
        sizes = samplers[name][kind]
        yield name, _KINDS[kind], sizes[rng.integers(len(sizes))].draw(number)
        number += 1


def _samplers(features: FeatureSet, seed: int) -> dict[int, list[EpisodeSampler]]:
    """Return number of a kind -> samplers of all sizes that the clips allow."""
    found: dict[int, list[EpisodeSampler]] = {}
    for number, kind in enumerate(_KINDS):
        failed: list[tuple[int, int]] = []
        for n_way, k_shot in product(WAYS, SHOTS):
            if any(n_way >= ways and k_shot >= shots for ways, shots in failed):  # to draw in vain takes seconds
                continue
            specs = [EpisodeSpec(n_way=n_way, k_shot=k_shot, n_query=n, **kind) for n in _QUERIES]  # type: ignore[arg-type]
            sampler = next((one for spec in specs if (one := _possible(features, spec, seed))), None)
            if sampler:
                found.setdefault(number, []).append(sampler)
            else:
                failed.append((n_way, k_shot))
    return found


def _possible(features: FeatureSet, spec: EpisodeSpec, seed: int) -> EpisodeSampler | None:
    """Return the sampler of a spec; None where the clips do not allow an episode."""
    try:
        sampler = EpisodeSampler(features.utterances, spec, seed=seed)
        sampler.draw(0)
    except EpisodeError:
        return None
    return sampler
