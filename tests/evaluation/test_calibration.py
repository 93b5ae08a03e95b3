"""A calibration as a value: its temperature, where clips lie in an enrolment, and what becomes of damaged numbers."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, replace

import pytest
import torch
from synthetic import batch
from tolerance import assert_near

from ser_fewshot.errors import SettingsError
from ser_fewshot.evaluation.calibration import Calibration
from ser_fewshot.evaluation.novelty import SupportStatistics, points
from ser_fewshot.frontends import stack
from ser_fewshot.settings import fill

CALIBRATION = Calibration(
    temperature=(math.log(2), 1.0, -1.0), novelty=(1.0, 0.0, 0.0, 2.0, -1.0), threshold=0.6, most_ways=4, most_shots=2
)


def on_a_line(*places: float) -> torch.Tensor:
    return torch.tensor(places)[:, None]


@pytest.mark.parametrize(
    ("n_way", "k_shot", "expected"),
    [(2, 1, 4.0), (4, 1, 8.0), (4, 2, 4.0), (3, 1.5, 4.0), (8, 1, 8.0), (4, 10, 4.0), (50, 100, 4.0)],
)
def test_the_temperature_follows_ways_and_shots_as_far_as_they_were_fitted(n_way, k_shot, expected):
    assert CALIBRATION.temperature_at(n_way, k_shot) == pytest.approx(expected)


def test_novelty_is_the_logistic_function_of_what_was_seen():
    evidence = torch.tensor([[0.5, 2.0], [0.5, 0.0], [-1.0, 2.0]])  # log-odds 1 + 2a - b: 0, 2, -3
    found = CALIBRATION.novelty_of(evidence, n_way=2, k_shot=1)
    assert found.tolist() == pytest.approx([0.5, 1 / (1 + math.exp(-2)), 1 / (1 + math.exp(3))])


def test_novelty_depends_on_ways_and_shots():
    calibration = replace(CALIBRATION, novelty=(0.0, 1.0, -1.0, 0.0, 0.0))
    found = calibration.novelty_of(torch.zeros(1, 2), n_way=4, k_shot=2)
    assert found.item() == pytest.approx(2 / 3)  # log-odds log 4 - log 2


def test_the_usual_distance_in_a_support_leaves_each_clip_out_of_its_own_mean():
    around = SupportStatistics.of(stack(list(on_a_line(0, 2, 10))), torch.tensor([0, 0, 1]))
    assert around.means.squeeze().tolist() == [1, 10]
    assert around.typical == pytest.approx((2 + 2 + 9) / 3)  # the clip at 10 is alone: 9 from the mean of the others
    assert (around.n_way, around.k_shot) == (2, 1.5)


def test_a_support_clip_nearer_to_another_class_counts_as_that_near():
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


def test_enrolled_clips_that_are_all_the_same_leave_evidence_finite():
    around = SupportStatistics.of(stack(list(on_a_line(3, 3, 3, 3))), torch.tensor([0, 0, 1, 1]))
    assert around.evidence(stack(list(on_a_line(3, 4))), torch.zeros(2, 2)).isfinite().all()


def test_a_clip_of_frames_is_at_the_mean_of_its_own_frames():
    clips = batch(3)
    expected = [clips.x[row, : clips.lengths[row]].mean(0) for row in range(3)]
    assert_near(points(clips), torch.stack(expected))
    assert_near(points(stack(expected)), torch.stack(expected))


def test_a_calibration_comes_back_from_json():
    assert fill(Calibration, json.loads(json.dumps(asdict(CALIBRATION))), where="config") == CALIBRATION


@pytest.mark.parametrize(
    "change",
    [
        {"temperature": (1.0, 1.0)},
        {"temperature": (1.0, 1.0, 1.0, 1.0)},
        {"temperature": (21.0, 0.0, 0.0)},
        {"temperature": (0.0, 0.0, -40.0)},
        {"temperature": (math.nan, 0.0, 0.0)},
        {"novelty": (1.0,) * 4},
        {"novelty": (math.inf, 0.0, 0.0, 0.0, 0.0)},
        {"novelty": (1e7, 0.0, 0.0, 0.0, 0.0)},
        {"threshold": -0.1},
        {"threshold": 1.1},
        {"threshold": math.nan},
        {"most_ways": 1},
        {"most_shots": 0},
        {"most_shots": 1.5},
    ],
    ids=str,
)
def test_a_damaged_calibration_is_refused(change):
    with pytest.raises(SettingsError) as caught:
        replace(CALIBRATION, **change)
    assert "\n" not in str(caught.value)
