"""Directions learned through episodes tell classes apart that they were not learned from."""

from __future__ import annotations

import functools
from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest
import torch
from default_model import directions
from default_model.directions import DirectionSettings, meta_train
from torch import Tensor

from ser_fewshot.corpora import Utterance
from ser_fewshot.episodes import EpisodeSampler, EpisodeSpec
from ser_fewshot.errors import EpisodeError
from ser_fewshot.evaluation import evaluate
from ser_fewshot.frontends import FeatureSet
from ser_fewshot.learners import SpeakerModel, fit_speaker_model
from ser_fewshot.learners.ridge import Ridge

WIDTH, USEFUL = 40, 4
SETTINGS = DirectionSettings(n=8, steps=120, tasks=2, rate=0.05, noise=0.3, dropout=0.2)


@functools.cache
def clips(corpus: str, *, n_emotions: int = 6, seed: int = 0) -> FeatureSet:
    """Emotions differ in few values, which lie in the same place in every corpus, and everything else is noise."""
    generator = torch.Generator().manual_seed(seed)
    means = 1.5 * torch.randn(n_emotions, USEFUL, generator=generator)
    items, rows = [], []
    for emotion, speaker, take in product(range(n_emotions), range(4), range(6)):
        z = torch.randn(WIDTH, generator=generator)
        z[:USEFUL] += means[emotion]
        name = f"{corpus}/{emotion}-{speaker}-{take}"
        items.append(Utterance(name, Path(f"{name}.wav"), corpus, f"e{emotion}", speaker=f"{speaker}"))
        rows.append(z)
    deviations = 0.1 * torch.randn(len(rows), 2, WIDTH, generator=generator)
    return FeatureSet(tuple(items), tuple(rows), deviations=tuple(deviations))


def sets() -> dict[str, FeatureSet]:
    return {"one": clips("one"), "other": clips("other", seed=1)}


def speakers() -> SpeakerModel:
    every = list(sets().values())
    utterances = [clip for one in every for clip in one.utterances]
    found = fit_speaker_model(
        torch.stack([z for one in every for z in one.clips]),
        corpora=[clip.corpus for clip in utterances],
        classes=[str(clip.emotion) for clip in utterances],
        speakers=[clip.speaker_key for clip in utterances],
    )
    assert found is not None
    return found


def trained(settings: DirectionSettings = SETTINGS) -> Ridge:
    return meta_train(sets(), speakers(), settings)


def uar(head: Ridge, own: FeatureSet) -> float:
    projected = FeatureSet(own.utterances, tuple(head.encoder.project(torch.stack(list(own.clips)))))
    spec = EpisodeSpec(n_way=4, k_shot=2, n_query=4)
    episodes = EpisodeSampler(own.utterances, spec, seed=5).draw_many(40)
    return float(evaluate(head, projected, episodes, spec=spec).uar.mean())


def test_classes_of_another_corpus_are_told_apart_better_after_the_training_than_before():
    unseen = clips("unseen", seed=2)
    before, after = (uar(trained(replace(SETTINGS, steps=steps)), unseen) for steps in (0, SETTINGS.steps))
    assert after > before + 0.03
    z: Tensor = trained().encoder.emotion
    assert z[:USEFUL].norm() / USEFUL > 2 * z[USEFUL:].norm() / (WIDTH - USEFUL)


def test_the_same_seed_gives_the_same_directions_and_nothing_random_is_left_behind():
    state = torch.get_rng_state()
    first, again, other = (trained(replace(SETTINGS, steps=3, seed=seed)) for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(first.encoder.emotion, again.encoder.emotion)
    assert not torch.equal(first.encoder.emotion, other.encoder.emotion)


def test_directions_are_of_half_precision_and_do_not_train_any_further():
    head = trained(replace(SETTINGS, steps=1))
    assert torch.equal(head.encoder.emotion, head.encoder.emotion.half().float())
    assert not any(parameter.requires_grad for parameter in head.parameters())


def test_episodes_are_drawn_of_every_kind_that_the_clips_allow_and_half_of_them_within_a_speaker():
    tasks = directions._tasks(sets(), seed=0)
    drawn = [next(tasks) for _ in range(200)]
    assert {name for name, _, _ in drawn} == set(sets())
    same = [kind for _, kind, _ in drawn if kind.get("query_speaker") == "same"]
    assert 0.35 < len(same) / len(drawn) < 0.65
    for name, kind, episode in drawn:
        known = {clip.id: clip.speaker for clip in sets()[name].utterances}
        support, query = ({known[clip] for part in side for clip in part} for side in (episode.support, episode.query))
        assert support == query if kind.get("query_speaker") == "same" else not support & query


def test_corpora_without_an_episode_are_refused():
    one = clips("one")
    few = one.subset([clip for clip in one.utterances if clip.emotion == "e0"])
    with pytest.raises(EpisodeError, match="no corpus that gives an episode"):
        meta_train({"one": few}, speakers(), SETTINGS)
