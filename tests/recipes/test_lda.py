"""LDA directions tell classes apart, whatever the speaker, and stand beside the embedding."""

from __future__ import annotations

from itertools import product

import torch
from default_model.lda import with_lda
from tolerance import assert_near
from torch import Tensor

WIDTH, EMOTION, VOICE = 12, 3, 7  # emotions differ in one value, voices, further apart, in another


def clips(seed: int = 0) -> tuple[Tensor, list[str], list[str]]:
    generator = torch.Generator().manual_seed(seed)
    rows, emotions, speakers = [], [], []
    for emotion, speaker, _ in product(range(3), range(8), range(20)):
        x = 0.3 * torch.randn(WIDTH, generator=generator)
        x[EMOTION] += emotion
        x[VOICE] += speaker
        rows.append(x)
        emotions.append(f"e{emotion}")
        speakers.append(f"s{speaker}")
    return torch.stack(rows), emotions, speakers


def separation(values: Tensor, classes: list[str]) -> float:
    """How far class means of values (n,) lie apart, in standard deviations within a class."""
    groups = [values[[name == one for name in classes]] for one in sorted(set(classes))]
    within = torch.stack([group.var() for group in groups]).mean()
    return float(torch.stack([group.mean() for group in groups]).var() / within)


def test_directions_separate_emotions_and_hardly_speakers_on_clips_they_were_not_fitted_to():
    (z, emotions, speakers), (other, _, _) = clips(), clips(seed=1)
    found = with_lda(torch.cat([z, other]), torch.arange(len(z)), emotions=emotions, speakers=speakers)
    assert found.shape == (2 * len(z), WIDTH + 2)
    first = found[len(z) :, WIDTH]
    assert separation(first, emotions) > 5
    assert separation(first, speakers) < 0.1


def test_both_parts_are_of_length_one_on_average_and_the_embedding_stands_first():
    z, emotions, speakers = clips()
    found = with_lda(z, torch.arange(len(z)), emotions=emotions, speakers=speakers)
    for part in (found[:, :WIDTH], found[:, WIDTH:]):
        assert_near(part.norm(dim=1).mean(), torch.tensor(1.0))
    assert_near(found[:, :WIDTH] * z.norm(dim=1).mean(), z)


def test_classes_of_one_clip_change_nothing():
    z, emotions, speakers = clips()
    odd = 100 * torch.randn(5, WIDTH, generator=torch.Generator().manual_seed(1))
    names = [f"once {row}" for row in range(5)]
    plain = with_lda(z, torch.arange(len(z)), emotions=emotions, speakers=speakers)
    more = torch.cat([z, odd])
    found = with_lda(more, torch.arange(len(more)), emotions=[*emotions, *names], speakers=[*speakers, *names])
    cosine = torch.nn.functional.cosine_similarity(found[: len(z), WIDTH], plain[:, WIDTH], dim=0)
    assert cosine.abs() > 0.999
