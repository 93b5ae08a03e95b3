"""Prototypical networks against what is known of them, in float64."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from each import each
from sklearn.neighbors import KNeighborsClassifier
from tolerance import assert_near
from torch import Tensor

from ser_fewshot.errors import SettingsError
from ser_fewshot.frontends import Features
from ser_fewshot.learners import build_learner
from ser_fewshot.learners._metric import cosine_similarities, squared_distances
from ser_fewshot.learners.protonet import PrototypicalNetwork, Settings

WIDTH = 12
EXACT = 1e-8
Y = torch.tensor([0, 0, 0, 1, 2, 2, 3, 3])


def protonet(*, metric: str = "euclidean", sharpness: float | None = None) -> PrototypicalNetwork:
    """On embeddings as they are; by default its logits are minus the plain squared distances."""
    learner = build_learner("protonet", WIDTH, {"encoder": {"name": "mean"}, "metric": metric})
    assert isinstance(learner, PrototypicalNetwork)
    learner.double()
    with torch.no_grad():
        learner.log_sharpness.fill_(math.log(WIDTH if sharpness is None else sharpness))
    return learner


def points(n: int, seed: int) -> Tensor:
    return torch.randn(n, WIDTH, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def classify(learner: PrototypicalNetwork, support: Tensor, y: Tensor, query: Tensor) -> Tensor:
    support_features, query_features = (Features(x, torch.ones(len(x), dtype=torch.int64)) for x in (support, query))
    with torch.no_grad():
        return learner.adapt(support_features, y)(query_features)


def prototypes(support: Tensor, y: Tensor) -> Tensor:
    return torch.stack([support[y == number].mean(0) for number in range(int(y.max()) + 1)])


def test_probabilities_are_those_of_a_linear_head_of_the_prototypes():
    support, query = points(8, 0), points(20, 1)
    c = prototypes(support, Y)
    linear = query @ (2 * c).T - c.square().sum(1)
    assert_near(classify(protonet(), support, Y, query).softmax(1), linear.softmax(1), EXACT)


def test_logits_are_a_linear_head_less_the_square_of_the_query_s_own_length():
    # One prototype is (2, 0, ..., 0) and the other (0, 3, 0, ..., 0), so w = 2 c and b = -|c|^2 can be read off.
    support, query = torch.eye(WIDTH, dtype=torch.float64)[:2] * torch.tensor([[2.0], [3.0]]), points(20, 1)
    linear = torch.stack([4 * query[:, 0] - 4, 6 * query[:, 1] - 9], dim=1)
    answer = classify(protonet(), support, torch.tensor([0, 1]), query)
    assert_near(answer, linear - query.square().sum(1, keepdim=True), EXACT)


def test_logits_are_those_of_a_plain_loop():
    support, query = points(8, 0), points(20, 1)
    answer = classify(protonet(sharpness=3.0), support, Y, query)
    for row, z in enumerate(query.tolist()):
        for number in range(4):
            members = [x for x, label in zip(support.tolist(), Y.tolist(), strict=True) if label == number]
            centre = [sum(values) / len(members) for values in zip(*members, strict=True)]
            squared = sum((a - b) ** 2 for a, b in zip(z, centre, strict=True))
            assert float(answer[row, number]) == pytest.approx(-3.0 * squared / WIDTH, rel=1e-8)


@each("metric", ["euclidean", "cosine"])
@each("copies", [2, 5])
def test_support_clips_given_several_times_change_nothing(metric, copies):
    support, query = points(8, 0), points(20, 1)
    learner = protonet(metric=metric)
    assert_near(
        classify(learner, support.repeat(copies, 1), Y.repeat(copies), query),
        classify(learner, support, Y, query),
        EXACT,
    )


@each("metric", ["euclidean", "cosine"])
def test_with_one_shot_the_nearest_neighbour_decides(metric):
    support, query, y = points(6, 0), points(200, 1), torch.randperm(6, generator=torch.Generator().manual_seed(0))
    neighbour = KNeighborsClassifier(1, metric=metric).fit(support.numpy(), y.numpy())
    answer = classify(protonet(metric=metric), support, y, query).argmax(1)
    assert np.array_equal(answer.numpy(), neighbour.predict(query.numpy()))


def test_on_embeddings_of_length_1_both_metrics_agree_on_the_answer():
    support, query = (torch.nn.functional.normalize(points(n, seed), dim=1) for n, seed in ((5, 0), (200, 1)))
    euclidean, cosine = (classify(protonet(metric=m), support, torch.arange(5), query) for m in ("euclidean", "cosine"))
    assert torch.equal(euclidean.argmax(1), cosine.argmax(1))
    # |z - c|^2 = 2 - 2 cos(z, c)
    assert_near(euclidean, 2 * cosine / WIDTH - 2, EXACT)


@each("metric", ["euclidean", "cosine"])
def test_the_gradient_through_prototypes_and_sharpness_is_right(metric):
    learner = protonet(metric=metric, sharpness=2.0)

    def head(support: Tensor, query: Tensor, log_sharpness: Tensor) -> Tensor:
        del log_sharpness  # it is the learner's own parameter
        return learner.fit_head(support, Y, 4)(query)

    inputs = (points(8, 0).requires_grad_(), points(3, 1).requires_grad_(), learner.log_sharpness)
    assert torch.autograd.gradcheck(head, inputs)


def test_the_gradient_where_a_query_is_the_prototype_is_zero_and_not_nan():
    support = points(2, 0).requires_grad_()
    protonet().fit_head(support, torch.tensor([0, 1]), 2)(support[:1].detach())[0, 0].backward()
    assert support.grad is not None
    assert torch.equal(support.grad, torch.zeros_like(support))


@each("metric", ["Euclidean", "", "manhattan"])
def test_an_unknown_metric_is_refused(metric):
    with pytest.raises(SettingsError, match=r"euclidean \| cosine"):
        Settings(metric=metric)


def test_distances_keep_their_digits_where_two_points_are_close():
    a = 1e4 + torch.rand(3, WIDTH)
    b = a + 1e-2
    exact = (a.double()[:, None] - b.double()[None]).square().sum(2)
    assert_near(squared_distances(a, b).double(), exact)


def test_distances_do_not_depend_on_how_many_are_computed_at_a_time(monkeypatch):
    a, b = points(30, 0), points(7, 1)
    whole = squared_distances(a, b)
    monkeypatch.setattr("ser_fewshot.learners._metric._ELEMENTS", 3 * b.numel())
    assert_near(squared_distances(a, b), whole)
    assert squared_distances(a[:0], b).shape == (0, 7)


def test_the_cosine_of_nothing_is_zero():
    assert torch.equal(cosine_similarities(torch.zeros(1, 3), torch.ones(2, 3)), torch.zeros(1, 2))
