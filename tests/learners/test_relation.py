"""Relation networks against what is known of them, in float64."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from each import each
from tolerance import assert_near
from torch import Tensor

from ser_fewshot.errors import SettingsError
from ser_fewshot.frontends import Features
from ser_fewshot.learners import Task, build_learner
from ser_fewshot.learners.relation import RelationNetwork, Settings

DIM = 12
EXACT = 1e-8
Y = torch.tensor([0, 0, 0, 1, 2, 2, 3, 3])


def relation(*, as_it_begins: bool = False, **settings: Any) -> RelationNetwork:
    """On the average frame, with random weights unless they are to be as they begin."""
    learner = build_learner("relation", DIM, {"encoder": {"name": "mean"}, "width": 5, **settings})
    assert isinstance(learner, RelationNetwork)
    learner.double()
    if not as_it_begins:
        generator = torch.Generator().manual_seed(3)
        with torch.no_grad():
            for parameter in learner.parameters():
                parameter.add_(0.5 * torch.randn(parameter.shape, dtype=torch.float64, generator=generator))
    return learner


def points(n: int, seed: int) -> Tensor:
    return torch.randn(n, DIM, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def features(x: Tensor) -> Features:
    return Features(x, torch.ones(len(x), dtype=torch.int64))


def classify(learner: RelationNetwork, support: Tensor, y: Tensor, query: Tensor) -> Tensor:
    with torch.no_grad():
        return learner.adapt(features(support), y)(features(query))


@each("pooling", ["mean", "sum"])
def test_scores_are_those_of_a_plain_loop(pooling):
    learner, support, query = relation(pooling=pooling), points(8, 0), points(6, 1)
    answer = classify(learner, support, Y, query)
    with torch.no_grad():
        for row in range(6):
            for number in range(4):
                shots = [learner.project(support[i : i + 1])[0] for i in range(8) if Y[i] == number]
                pooled = sum(shots[1:], start=shots[0]) / (len(shots) if pooling == "mean" else 1)
                pair = torch.cat([pooled, learner.project(query[row : row + 1])[0]])
                hidden = (learner.compare.hidden.weight @ pair + learner.compare.hidden.bias).clamp_min(0)
                score = learner.compare.score.weight[0] @ hidden + learner.compare.score.bias[0]
                assert_near(answer[row, number], score, EXACT)


def test_with_one_shot_the_sum_of_the_shots_is_their_mean():
    support, query, y = points(4, 0), points(6, 1), torch.arange(4)
    mean, total = (classify(relation(pooling=pooling), support, y, query) for pooling in ("mean", "sum"))
    assert_near(mean, total, EXACT)


def test_support_clips_given_several_times_change_the_sum_and_not_the_mean():
    support, query = points(8, 0), points(6, 1)
    for pooling in ("mean", "sum"):
        learner = relation(pooling=pooling)
        once, often = (classify(learner, support.repeat(n, 1), Y.repeat(n), query) for n in (1, 3))
        assert torch.allclose(once, often, rtol=1e-8, atol=1e-8) == (pooling == "mean")


def test_the_relation_is_learned_and_so_need_not_be_symmetric():
    learner, a, b = relation(), points(1, 0), points(1, 1)
    with torch.no_grad():
        one, other = (learner.compare(learner.project(x), learner.project(y)) for x, y in ((a, b), (b, a)))
    assert abs(float(one - other)) > 1e-3


def test_it_begins_as_minus_the_mean_absolute_difference():
    learner, support, query = relation(as_it_begins=True), points(4, 0), points(6, 1)
    answer = classify(learner, support, torch.arange(4), query)
    with torch.no_grad():
        difference = learner.project(query)[:, None] - learner.project(support)[None]
    assert_near(answer, 5 - 5 * difference.abs().mean(2))


@each("loss", ["mse", "cross-entropy"])
@each("weight", [1.0, 0.25])
def test_accumulate_adds_the_gradient_of_its_loss(loss, weight):
    learner, support, query = relation(loss=loss), points(8, 0), points(6, 1)
    query_y = torch.tensor([0, 1, 2, 3, 3, 0])
    scores = learner.adapt(features(support), Y)(features(query))
    relations = 1 / (1 + torch.exp(-scores))
    assert 0 < float(relations.detach().min()) < float(relations.detach().max()) < 1
    if loss == "mse":
        pairs = [(r, c) for r in range(6) for c in range(4)]
        errors = [(relations[r, c] - (1.0 if query_y[r] == c else 0.0)) ** 2 for r, c in pairs]
        expected = torch.stack(errors).mean()
    else:
        log_total = scores.exp().sum(1).log()
        expected = torch.stack([log_total[r] - scores[r, query_y[r]] for r in range(6)]).mean()
    gradients = torch.autograd.grad(weight * expected, list(learner.parameters()))
    for times in (1, 2):
        found = learner.accumulate(Task(features(support), Y, features(query), query_y), weight)
        assert found == pytest.approx(expected.item(), rel=1e-8)
        assert_near([x.grad for x in learner.parameters()], [times * x for x in gradients], EXACT)


@each("loss", ["mse", "cross-entropy"])
def test_it_learns_to_compare_by_the_values_that_matter(loss):
    learner = build_learner("relation", DIM, {"encoder": {"name": "mean"}, "width": 16, "loss": loss})
    generator = torch.Generator().manual_seed(0)

    def task() -> Task:
        y = torch.arange(5).repeat(2)
        x = 2 * torch.randn(10, DIM, generator=generator)  # noise, but for the first four values, which hold the class
        x[:, :4] = torch.randn(5, 4, generator=generator)[y] + 0.1 * torch.randn(10, 4, generator=generator)
        return Task(features(x[:5][:, None]), y[:5], features(x[5:][:, None]), y[5:])

    tests = [task() for _ in range(60)]

    def accuracy() -> float:
        with torch.no_grad():
            answers = [learner.adapt(test.support, test.support_y)(test.query).argmax(1) for test in tests]
        return float(torch.cat([a == t.query_y for a, t in zip(answers, tests, strict=True)]).double().mean())

    before = accuracy()
    optimizer = torch.optim.Adam(learner.parameters(), lr=0.01)
    losses = []
    for _ in range(300):
        optimizer.zero_grad()
        losses.append(learner.accumulate(task(), 1.0))
        optimizer.step()
    assert sum(losses[-50:]) < 0.7 * sum(losses[:50])
    assert accuracy() > before + 0.2


@each(
    ("settings", "expected"),
    [
        ({"loss": "MSE"}, r"mse \| cross-entropy"),
        ({"pooling": "max"}, r"mean \| sum"),
        ({"width": 0}, "at least 1"),
        ({"width": 2.0}, "whole number"),
    ],
)
def test_settings_that_make_no_comparison_are_refused(settings, expected):
    with pytest.raises(SettingsError, match=expected):
        Settings(**settings)
