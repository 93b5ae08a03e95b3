"""The nearest centroid against what is known of it, in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from each import each
from sklearn.neighbors import KNeighborsClassifier, NearestCentroid
from tolerance import assert_near
from torch import Tensor

from ser_fewshot.frontends import Features
from ser_fewshot.learners import Learner, build_learner
from ser_fewshot.learners._base import class_means

WIDTH = 10
Y = torch.tensor([0, 0, 0, 1, 2, 2, 3, 3])


def nearest(dim: int = WIDTH) -> Learner:
    return build_learner("nearest", dim, {"encoder": {"name": "mean"}}).double()


def points(n: int, seed: int) -> Tensor:
    return torch.randn(n, WIDTH, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def pooled(x: Tensor) -> Features:
    return Features(x, torch.ones(len(x), dtype=torch.int64))


def test_logits_are_minus_the_mean_squared_differences_of_a_plain_loop():
    support, query = points(8, 0), points(9, 1)
    answer = nearest().adapt(pooled(support), Y)(pooled(query))
    for row in range(9):
        for number in range(4):
            centre = support[number == Y].mean(0)
            assert float(answer[row, number]) == pytest.approx(-float(((query[row] - centre) ** 2).mean()), rel=1e-8)


def test_answers_are_those_of_scikit_learn():
    support, query = points(8, 0), points(300, 1)
    reference = NearestCentroid().fit(support.numpy(), Y.numpy()).predict(query.numpy())
    assert np.array_equal(nearest().adapt(pooled(support), Y)(pooled(query)).argmax(1).numpy(), reference)


def test_with_one_shot_the_nearest_neighbour_decides():
    support, query, y = points(6, 0), points(300, 1), torch.tensor([3, 1, 0, 5, 2, 4])
    reference = KNeighborsClassifier(1).fit(support.numpy(), y.numpy()).predict(query.numpy())
    assert np.array_equal(nearest().adapt(pooled(support), y)(pooled(query)).argmax(1).numpy(), reference)


@each("copies", [2, 5])
def test_support_clips_given_several_times_change_nothing(copies):
    support, query = points(8, 0), points(9, 1)
    assert_near(
        nearest().adapt(pooled(support.repeat(copies, 1)), Y.repeat(copies))(pooled(query)),
        nearest().adapt(pooled(support), Y)(pooled(query)),
        relative=1e-8,
    )


def test_on_the_mean_encoder_it_is_the_distance_of_average_frames():
    support = Features(torch.tensor([[[0.0], [2.0]], [[9.0], [0.0]]], dtype=torch.float64), torch.tensor([2, 1]))
    query = Features(torch.tensor([[[3.0], [5.0]]], dtype=torch.float64), torch.tensor([2]))
    answer = nearest(1).adapt(support, torch.tensor([0, 1]))(query)  # means 1 and 9, and 4 to classify
    assert answer.tolist() == [[-9.0, -25.0]]


def test_a_class_mean_is_the_mean_of_its_members():
    z = torch.tensor([[1.0, 0.0], [3.0, 4.0], [10.0, 10.0]])
    assert class_means(z, torch.tensor([1, 1, 0]), 2).tolist() == [[10.0, 10.0], [2.0, 2.0]]
