"""Novelty of a clip: its distance to the nearest class mean, relative to the distances within the support."""

from __future__ import annotations

import math

import pytest
import torch
from synthetic import batch
from tolerance import assert_near

from ser_fewshot.evaluation.novelty import SupportStatistics
from ser_fewshot.frontends import stack
from ser_fewshot.learners import points


def on_a_line(*places: float) -> torch.Tensor:
    return torch.tensor(places)[:, None]


def test_the_usual_distance_in_a_support_leaves_each_clip_out_of_its_own_mean():
    around = SupportStatistics.of(stack(list(on_a_line(0, 2, 10))), torch.tensor([0, 0, 1]))
    assert around.means.squeeze().tolist() == [1, 10]
    assert around.typical == pytest.approx((2 + 2 + 9) / 3)  # the clip at 10 is alone: 9 from the mean of the others
    assert (around.n_way, around.k_shot) == (2, 1.5)
    # A support clip that is nearer to another class counts as that near.
    around = SupportStatistics.of(stack(list(on_a_line(0, 8, 9, 9))), torch.tensor([0, 0, 1, 1]))
    assert around.typical == pytest.approx((8 + 1 + 0 + 0) / 4)


def test_evidence_is_the_relative_distance_and_the_largest_logit():
    around = SupportStatistics(on_a_line(1, 10), typical=2.0, k_shot=1)
    found = around.evidence(stack(list(on_a_line(5, 10, 18))), torch.tensor([[0.2, 1.5], [3.0, -1.0], [0.0, 0.0]]))
    assert found[:, 1].tolist() == [1.5, 3.0, 0.0]
    assert found[[0, 2], 0].tolist() == pytest.approx([math.log(4 / 2), math.log(8 / 2)])
    assert math.isfinite(found[1, 0])
    assert found[1, 0] < -10  # on the mean itself


def test_evidence_does_not_depend_on_the_unit_of_the_embedding():
    support, query = torch.randn(2, 6, 3, generator=torch.Generator().manual_seed(0))
    y, logits = torch.tensor([0, 0, 0, 1, 1, 2]), torch.zeros(6, 3)
    plain, scaled = (
        SupportStatistics.of(stack(list(factor * support)), y).evidence(stack(list(factor * query)), logits)
        for factor in (1.0, 100.0)
    )
    assert_near(scaled, plain)

    around = SupportStatistics.of(
        stack(list(on_a_line(3, 3, 3, 3))), torch.tensor([0, 0, 1, 1])
    )  # enrolled clips that are all the same
    assert around.evidence(stack(list(on_a_line(3, 4))), torch.zeros(2, 2)).isfinite().all()


def test_a_clip_of_frames_is_at_the_mean_of_its_own_frames():
    clips = batch(3)
    expected = [clips.x[row, : clips.lengths[row]].mean(0) for row in range(3)]
    assert_near(points(clips), torch.stack(expected))
    assert_near(points(stack(expected)), torch.stack(expected))
