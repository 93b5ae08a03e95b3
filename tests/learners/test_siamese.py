"""Siamese networks against what is known of them, in float64."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from each import each
from sklearn.neighbors import KNeighborsClassifier
from synthetic import DIM, batch
from tolerance import assert_near
from torch import Tensor

from ser_fewshot.frontends import Features
from ser_fewshot.learners import Task, build_learner
from ser_fewshot.learners.siamese import SiameseNetwork

WIDTH = 12
EXACT = 1e-8
Y = torch.tensor([0, 0, 0, 1, 2, 2, 3, 3])


def siamese(*, seed: int = 0, width: int = WIDTH) -> SiameseNetwork:
    """On embeddings as they are, with weights of every sign before they are made positive."""
    learner = build_learner("siamese", width, {"encoder": {"name": "mean"}})
    assert isinstance(learner, SiameseNetwork)
    learner.double()
    with torch.no_grad():
        learner.weight.copy_(torch.randn(width, generator=torch.Generator().manual_seed(seed)))
        learner.threshold.fill_(0.8)
        learner.unit.fill_(0.5)
    return learner


def points(n: int, seed: int, *, width: int = WIDTH) -> Tensor:
    return torch.randn(n, width, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def features(x: Tensor) -> Features:
    return Features(x, torch.ones(len(x), dtype=torch.int64))


def classify(learner: SiameseNetwork, support: Tensor, y: Tensor, query: Tensor) -> Tensor:
    with torch.no_grad():
        return learner.adapt(features(support), y)(features(query))


def plain_distance(learner: SiameseNetwork, a: list[float], b: list[float]) -> float:
    weights = [math.log1p(math.exp(w)) for w in learner.weight.tolist()]
    return sum(w * abs(x - y) for w, x, y in zip(weights, a, b, strict=True)) / len(a) / float(learner.unit)


def test_the_distance_is_that_of_a_plain_loop():
    learner, a, b = siamese(), points(5, 0), points(7, 1)
    found = learner.distances(a, b)
    expected = [[plain_distance(learner, x, y) for y in b.tolist()] for x in a.tolist()]
    assert_near(found, torch.tensor(expected, dtype=torch.float64), EXACT)


def test_the_distance_is_the_same_both_ways_zero_to_oneself_and_positive_to_others():
    learner, a = siamese(), points(9, 0)
    distances = learner.distances(a, a)
    assert_near(distances, distances.T, EXACT)
    assert torch.equal(distances.diagonal(), torch.zeros(9, dtype=torch.float64))
    assert (distances + torch.eye(9)).min() > 0
    # No way round is shorter.
    assert (distances[:, None] <= distances[:, :, None] + distances[None] + 1e-12).all()


def test_twins_share_one_gradient():
    learner = build_learner("siamese", DIM, {"encoder": {"name": "dense", "channels": 6, "blocks": 1, "width": 5}})
    assert isinstance(learner, SiameseNetwork)
    learner.double().eval()
    other = copy.deepcopy(learner.encoder)
    x, y = (Features(part.x.double(), part.lengths) for part in (batch(1), batch(1, seed=1)))

    learner.distances(learner.encoder(x), learner.encoder(y)).sum().backward()
    together = [parameter.grad.clone() for parameter in learner.encoder.parameters() if parameter.grad is not None]
    learner.zero_grad()
    learner.distances(learner.encoder(x), other(y)).sum().backward()
    pairs = zip(learner.encoder.parameters(), other.parameters(), strict=True)
    apart = [one.grad + two.grad for one, two in pairs if one.grad is not None and two.grad is not None]
    assert len(together) == len(apart) == len(list(other.parameters()))
    assert max(float(gradient.abs().max()) for gradient in together) > 0
    for one, two in zip(together, apart, strict=True):
        assert_near(one, two, EXACT)


def test_with_one_shot_the_nearest_neighbour_decides():
    learner, y = siamese(), torch.randperm(6, generator=torch.Generator().manual_seed(0))
    support, query = points(6, 0), points(200, 1)
    weights = torch.nn.functional.softplus(learner.weight.detach())
    neighbour = KNeighborsClassifier(1, metric="manhattan").fit((support * weights).numpy(), y.numpy())
    answer = classify(learner, support, y, query)
    assert np.array_equal(answer.argmax(1).numpy(), neighbour.predict((query * weights).numpy()))
    # A prototype of one shot is that shot: the answer is the class whose prototype is at the smallest distance.
    prototypes = support[y.argsort()]
    assert torch.equal(answer.argmax(1), learner.distances(query, prototypes).argmin(1))


def test_the_logit_of_a_class_is_the_mean_log_odds_over_its_support():
    learner, support, query = siamese(), points(8, 0), points(5, 1)
    answer = classify(learner, support, Y, query)
    for row, z in enumerate(query.tolist()):
        for number in range(4):
            members = [x for x, label in zip(support.tolist(), Y.tolist(), strict=True) if label == number]
            log_odds = [10 * (0.8 - plain_distance(learner, x, z)) for x in members]
            assert float(answer[row, number]) == pytest.approx(sum(log_odds) / len(log_odds), rel=1e-4)


def test_support_clips_given_several_times_change_nothing():
    learner, support, query = siamese(), points(8, 0), points(5, 1)
    assert_near(
        classify(learner, support.repeat(3, 1), Y.repeat(3), query), classify(learner, support, Y, query), EXACT
    )


def test_the_loss_is_the_mean_over_same_pairs_and_over_different_pairs_of_a_plain_loop():
    learner, z = siamese(), points(8, 0)
    losses: dict[bool, list[float]] = {True: [], False: []}
    for i in range(8):
        for j in range(i + 1, 8):
            odds = math.exp(10 * (0.8 - plain_distance(learner, z[i].tolist(), z[j].tolist())))
            same = bool(Y[i] == Y[j])
            losses[same].append(-math.log((odds if same else 1.0) / (1 + odds)))
    assert (len(losses[True]), len(losses[False])) == (5, 23)
    expected = sum(sum(kind) / len(kind) for kind in losses.values()) / 2
    assert learner.pair_loss(z, Y).item() == pytest.approx(expected, rel=1e-4)


@each("y", [[0, 1, 2, 3], [0, 0, 0, 0]])
def test_the_loss_of_pairs_of_a_single_kind_is_their_mean(y):
    learner, z = siamese(), points(4, 0)
    odds = torch.cat([learner.log_odds(z, z)[i, i + 1 :] for i in range(4)])
    sign = 1 if y[0] == y[1] else -1
    expected = -torch.nn.functional.logsigmoid(sign * odds).mean()
    assert_near(learner.pair_loss(z, torch.tensor(y)), expected, EXACT)


def test_the_gradient_of_the_pairs_is_right():
    learner = siamese(width=3)

    def loss(z: Tensor, weight: Tensor, threshold: Tensor) -> Tensor:
        del weight, threshold  # they are the learner's own parameters
        return learner.pair_loss(z, Y)

    z = points(8, 0, width=3).requires_grad_()
    assert torch.autograd.gradcheck(loss, (z, learner.weight, learner.threshold))


def test_equal_clips_leave_the_gradient_finite():
    z = torch.ones(4, WIDTH, dtype=torch.float64, requires_grad=True)
    siamese().pair_loss(z, torch.tensor([0, 0, 1, 1])).backward()
    assert z.grad is not None
    assert torch.equal(z.grad, torch.zeros_like(z))


@each("weight", [1.0, 0.25])
def test_accumulate_adds_the_gradient_of_all_pairs_of_an_episode(weight):
    learner, support, query = siamese(), points(8, 0), points(4, 1)
    query_y = torch.arange(4)
    loss = learner.pair_loss(torch.cat([support, query]), torch.cat([Y, query_y]))
    expected = torch.autograd.grad(weight * loss, list(learner.parameters()))
    for times in (1, 2):
        found = learner.accumulate(Task(features(support), Y, features(query), query_y), weight)
        assert found == pytest.approx(loss.item(), rel=1e-8)
        assert_near([x.grad for x in learner.parameters()], [times * x for x in expected], EXACT)


@each("encoder", ["mean", "statistics", "dense"])
def test_before_training_pairs_of_clips_are_undecided_with_any_encoder(encoder):
    learner = build_learner("siamese", DIM, {"encoder": {"name": encoder}})
    assert isinstance(learner, SiameseNetwork)
    clips, generator = batch(70), torch.get_rng_state()
    louder = Features(20 + 9 * clips.x * clips.mask[..., None], clips.lengths)
    learner.train().fit_scale(louder)
    assert torch.equal(torch.get_rng_state(), generator)  # dropout was off
    assert learner.training
    z = learner.eval().embed(louder).x.detach()
    different = learner.distances(z, z)[~torch.eye(70, dtype=torch.bool)]
    assert different.mean().item() == pytest.approx(1, abs=1e-4)
    assert learner.log_odds(z, z)[~torch.eye(70, dtype=torch.bool)].mean().item() == pytest.approx(0, abs=1e-3)


def test_it_learns_which_values_tell_classes_apart():
    learner = build_learner("siamese", WIDTH, {"encoder": {"name": "mean"}})
    assert isinstance(learner, SiameseNetwork)
    generator = torch.Generator().manual_seed(0)
    nuisance = torch.tensor([1.0] * 3 + [0.0] * 9)  # three values hold the class, the others noise

    def task() -> Task:
        centres = 2 * torch.randn(5, WIDTH, generator=generator)
        y = torch.arange(5).repeat(2)
        x = torch.where(nuisance > 0, centres[y], 2.0) * torch.where(nuisance > 0, 1.0, 0.0)
        x = x + torch.where(nuisance > 0, 0.3, 2.0) * torch.randn(10, WIDTH, generator=generator)
        return Task(features(x[:5][:, None]), y[:5], features(x[5:][:, None]), y[5:])

    tests = [task() for _ in range(60)]

    def accuracy() -> float:
        with torch.no_grad():
            answers = [learner.adapt(test.support, test.support_y)(test.query).argmax(1) for test in tests]
        return float(torch.cat([a == t.query_y for a, t in zip(answers, tests, strict=True)]).double().mean())

    before = accuracy()
    optimizer = torch.optim.Adam(learner.parameters(), lr=0.05)
    for _ in range(100):
        optimizer.zero_grad()
        learner.accumulate(task(), 1.0)
        optimizer.step()
    assert accuracy() > max(0.9, before + 0.2)
    assert learner.weight[:3].min() > learner.weight[3:].max()
