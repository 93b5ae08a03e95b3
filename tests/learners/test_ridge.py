"""Ridge regression against scikit-learn's and against its own gradient, in float64."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from each import each
from numpy.typing import NDArray
from sklearn import linear_model
from tolerance import assert_near
from torch import Tensor

from ser_fewshot.errors import SettingsError
from ser_fewshot.frontends import Features
from ser_fewshot.learners import build_learner
from ser_fewshot.learners.ridge import Ridge, Settings

WIDTH = 30
SIZES = {"equal": [4, 4, 4], "one shot": [1, 1, 1, 1], "unequal": [1, 6, 3], "more clips than dimensions": [30, 20]}
BY_SIZE = each("sizes", SIZES.values())


def ridge(*, penalty: float = 1.0, sharpness: float = 1.0) -> Ridge:
    """On embeddings as they are; by default its logits are the outputs of the regression."""
    settings = {"encoder": {"name": "mean"}, "penalty": penalty, "sharpness": sharpness}
    learner = build_learner("ridge", WIDTH, settings)
    assert isinstance(learner, Ridge)
    return learner.double()


def points(n: int, seed: int, *, offset: float = 3.0) -> Tensor:
    return offset + torch.randn(n, WIDTH, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def labels(sizes: list[int]) -> Tensor:
    return torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))


def classify(learner: Ridge, support: Tensor, y: Tensor, query: Tensor) -> Tensor:
    support_features, query_features = (Features(x, torch.ones(len(x), dtype=torch.int64)) for x in (support, query))
    with torch.no_grad():
        return learner.adapt(support_features, y)(query_features)


def reference(support: Tensor, y: Tensor, query: Tensor, *, penalty: float) -> NDArray[np.float64]:
    """The same by scikit-learn: weights of one over the class size, alpha relative to the mean squared norm."""
    z, targets = support.numpy(), np.eye(int(y.max()) + 1)[y.numpy()]
    weight = 1 / np.bincount(y.numpy())[y.numpy()]
    weight *= len(weight) / weight.sum()
    centred = z - np.average(z, axis=0, weights=weight)
    alpha = penalty * np.mean(weight * (centred**2).sum(1))
    model = linear_model.Ridge(alpha=alpha, solver="svd").fit(z, targets, sample_weight=weight)
    answers: NDArray[np.float64] = model.predict(query.numpy())
    return answers


@BY_SIZE
@each("penalty", [1e-3, 1.0, 50.0])
def test_outputs_are_those_of_scikit_learn(sizes, penalty):
    y = labels(sizes)
    support, query = points(len(y), 0), points(15, 1)
    answer = classify(ridge(penalty=penalty), support, y, query).numpy()
    assert_near(answer, reference(support, y, query, penalty=penalty), relative=1e-8)


@each("sizes", [[1, 1, 1], [2, 2], [1, 4, 2]])
def test_the_gradient_through_the_solution_is_right(sizes):
    y, width = labels(sizes), 4
    learner = ridge()

    def head(support: Tensor, query: Tensor, log_sharpness: Tensor) -> Tensor:
        del log_sharpness  # it is the learner's own parameter
        return learner.fit_head(support, y, len(sizes))(query)

    support, query = (points(n, seed)[:, :width].clone().requires_grad_() for n, seed in ((len(y), 0), (3, 1)))
    assert torch.autograd.gradcheck(head, (support, query, learner.log_sharpness))


def test_moving_all_embeddings_alike_changes_nothing():
    y = labels([2, 3, 1])
    support, query = points(6, 0), points(9, 1)
    moved = classify(ridge(), support + 100, y, query + 100)
    assert_near(moved, classify(ridge(), support, y, query), relative=1e-8)


@each("factor", [1e-3, 7.0, 1e3])
def test_the_penalty_means_the_same_at_every_scale_of_the_embedding(factor):
    y = labels([2, 3, 1])
    support, query = points(6, 0), points(9, 1)
    scaled = classify(ridge(), factor * support, y, factor * query)
    assert_near(scaled, classify(ridge(), support, y, query), relative=1e-8)


def test_a_class_does_not_win_for_having_more_support():
    generator = torch.Generator().manual_seed(0)
    y = labels([1, 40])
    support = torch.randn(41, WIDTH, dtype=torch.float64, generator=generator)
    centre = torch.stack([support[y == number].mean(0) for number in (0, 1)]).mean(0, keepdim=True)
    # Half-way between the two class means neither is more likely.
    assert classify(ridge(), support, y, centre)[0].tolist() == pytest.approx([0.5, 0.5], rel=1e-8)


@each("sharpness", [0.5, 10.0])
def test_logits_are_the_outputs_times_the_sharpness(sharpness):
    y = labels([2, 3, 1])
    support, query = points(6, 0), points(9, 1)
    plain = classify(ridge(), support, y, query)
    assert_near(classify(ridge(sharpness=sharpness), support, y, query), sharpness * plain)


def test_support_clips_that_are_all_the_same_leave_every_class_alike():
    support = torch.ones(4, WIDTH, dtype=torch.float64)
    answer = classify(ridge(), support, torch.tensor([0, 0, 1, 1]), points(3, 1))
    assert_near(answer, torch.full((3, 2), 0.5, dtype=torch.float64), relative=1e-8)


def test_one_odd_embedding_does_not_break_the_solution():
    support = points(6, 0)
    support[0] *= 1e6
    assert classify(ridge(), support, labels([2, 2, 2]), points(3, 1)).isfinite().all()


@each("value", [0.0, -1.0, math.nan, math.inf])
@each("name", ["penalty", "sharpness"])
def test_a_penalty_or_sharpness_that_makes_no_regression_is_refused(name, value):
    with pytest.raises(SettingsError, match="above 0"):
        Settings(**{name: value})
