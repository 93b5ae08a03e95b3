"""Novelty of a clip: its distance to the nearest class mean, relative to the distances within the support."""

from __future__ import annotations

import math

import pytest
import torch
from synthetic import batch
from tolerance import assert_near

from ser_fewshot.evaluation.novelty import Conditions, SupportStatistics
from ser_fewshot.frontends import stack
from ser_fewshot.learners import points


def on_a_line(*places: float) -> torch.Tensor:
    return torch.tensor(places)[:, None]


def test_the_usual_distance_in_a_support_leaves_each_clip_out_of_its_own_mean():
    around = SupportStatistics.of(stack(list(on_a_line(0, 2, 10))), torch.tensor([0, 0, 1]))
    assert around.means.squeeze().tolist() == [1, 10]
    assert around.typical == pytest.approx((2 + 2 + 9) / 3)  # the clip at 10 is alone: 9 from the mean of the others
    assert (around.conditions.n_way, around.conditions.k_shot) == (2, 1.5)
    # A support clip that is nearer to another class counts as that near.
    around = SupportStatistics.of(stack(list(on_a_line(0, 8, 9, 9))), torch.tensor([0, 0, 1, 1]))
    assert around.typical == pytest.approx((8 + 1 + 0 + 0) / 4)


def test_the_conditions_are_how_wide_the_classes_are_beside_their_distance_and_whether_one_speaker_is_known():
    clips, y = stack(list(on_a_line(0, 4, 8, 12))), torch.tensor([0, 0, 1, 1])  # means 2 and 10
    around = SupportStatistics.of(clips, y, speakers=["a", "b", "a", None])
    assert around.conditions.spread == pytest.approx(math.log(4 / 8))
    assert not around.conditions.one_speaker
    for names in (["a", "a", "a", "a"], ["a", None, None, "a"], [None] * 4, ()):
        assert SupportStatistics.of(clips, y, speakers=names).conditions.one_speaker
    same = SupportStatistics.of(stack(list(on_a_line(3, 3, 3, 3))), y)
    assert math.isfinite(same.conditions.spread)


def test_evidence_is_distances_to_the_nearest_mean_and_what_the_logits_leave_open():
    around = SupportStatistics(on_a_line(1, 10), typical=2.0, conditions=Conditions(n_way=2, k_shot=1))
    found = around.evidence(stack(list(on_a_line(5, 10, 18))), torch.tensor([[0.2, 1.5], [3.0, -1.0], [0.0, 0.0]]))
    ratio, largest, margin, nearest, rest = found.T
    assert largest.tolist() == [1.5, 3.0, 0.0]
    assert margin.tolist() == pytest.approx([1.3, 4.0, 0.0])
    assert ratio[[0, 2]].tolist() == pytest.approx([math.log(4 / 2), math.log(8 / 2)])
    assert nearest[[0, 2]].tolist() == pytest.approx([math.log(4), math.log(8)])
    assert rest.tolist() == [0, 0, 0]
    assert math.isfinite(ratio[1])
    assert ratio[1] < -10  # on the mean itself


def test_along_lda_directions_the_nearest_mean_may_be_another_than_along_the_rest():
    means = torch.tensor([[0.0, 0.0, 0.0], [3.0, 4.0, 10.0]])
    around = SupportStatistics(means, typical=1.0, conditions=Conditions(n_way=2, k_shot=1), n_directions=1)
    found = around.evidence(stack([torch.tensor([3.0, 3.0, 2.0])]), torch.zeros(1, 2))
    assert found[0, 3:].tolist() == pytest.approx([math.log(2), math.log(1)])


def test_a_clip_of_frames_is_at_the_mean_of_its_own_frames():
    clips = batch(3)
    expected = [clips.x[row, : clips.lengths[row]].mean(0) for row in range(3)]
    assert_near(points(clips), torch.stack(expected))
    assert_near(points(stack(expected)), torch.stack(expected))
