"""Components tell unseen speakers apart better than the embedding does, whatever emotion they speak with."""

from __future__ import annotations

from itertools import product

import torch
from default_model.speaker_view import N_COMPONENTS, speaker_components
from tolerance import assert_near
from torch import Tensor

WIDTH, LEARNED = 30, 20
VOICE, EMOTION, LOUD = slice(0, 4), 5, slice(10, 14)


def clips(n_speakers: int, *, seed: int) -> tuple[Tensor, list[str], list[str], list[str]]:
    """Voices differ in four values, emotions in one, and four others vary much within a speaker."""
    generator = torch.Generator().manual_seed(seed)
    voices = torch.randn(n_speakers, 4, generator=generator)
    rows, speakers, corpora, emotions = [], [], [], []
    for speaker, emotion, _ in product(range(n_speakers), range(3), range(8)):
        z = 0.5 * torch.randn(WIDTH, generator=generator)
        z[VOICE] += voices[speaker]
        z[EMOTION] += 4 * emotion
        z[LOUD] += 3 * torch.randn(4, generator=generator)
        corpus = "ab"[speaker % 2]
        rows.append(z + (corpus == "b"))
        speakers.append(f"{corpus}/{speaker}")
        corpora.append(corpus)
        emotions.append(f"e{emotion}")
    return torch.stack(rows), speakers, corpora, emotions


def components() -> Tensor:
    z, speakers, corpora, emotions = clips(16, seed=0)
    return speaker_components(z, learned=LEARNED, speakers=speakers, corpora=corpora, emotions=emotions)


def nearest(z: Tensor, speakers: list[str]) -> float:
    """How often the nearest other clip is of the same speaker."""
    distances = torch.cdist(z, z).fill_diagonal_(torch.inf)
    found = distances.argmin(1).tolist()
    return sum(speakers[row] == speakers[other] for row, other in enumerate(found)) / len(speakers)


def test_the_nearest_clip_of_unseen_speakers_is_more_often_their_own():
    z, speakers, _, _ = clips(12, seed=1)
    assert nearest(z @ components(), speakers) > nearest(z, speakers) + 0.3


def test_there_are_no_more_components_than_values():
    assert components().shape == (WIDTH, WIDTH)
    assert WIDTH < N_COMPONENTS


def test_speakers_differ_most_in_the_last_components():
    z, speakers, corpora, _ = clips(16, seed=0)
    x = z @ components()
    for corpus in "ab":
        names = sorted({name for name, of in zip(speakers, corpora, strict=True) if of == corpus})
        means = torch.stack([x[[name == one for name in speakers]].mean(0) for one in names])
        assert means.var(0)[-4:].min() > 2 * means.var(0)[:-4].mean()


def test_the_same_clips_give_the_same_components():
    assert_near(components(), components())
