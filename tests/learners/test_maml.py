"""MAML against a plain loop of the paper's algorithm, in float64."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from each import each
from synthetic import DIM, batch
from tolerance import assert_near
from torch import Tensor

from ser_fewshot.frontends import Features
from ser_fewshot.learners import Task, build_learner
from ser_fewshot.learners.maml import MAML

EXACT = 1e-8
Y = torch.tensor([0, 0, 1, 2, 2, 2])
QUERY_Y = torch.tensor([0, 1, 2, 2, 0])


def maml(encoder: str = "dense", **settings: Any) -> MAML:
    told = {"name": encoder, "channels": 4, "blocks": 1, "width": 3, "dropout": 0.0}
    learner = build_learner("maml", DIM, {"encoder": told, **settings}, seed=3)
    assert isinstance(learner, MAML)
    learner.fit_scale(batch(30, seed=99))
    return learner.double().eval()


def clips(n: int, seed: int) -> Features:
    features = batch(n, seed=seed)
    return Features(features.x.double(), features.lengths)


def task(seed: int = 0) -> Task:
    return Task(clips(6, seed), Y, clips(5, seed + 1), QUERY_Y)


def plain_loop(learner: MAML, task: Task, *, second_order: bool) -> tuple[float, list[Tensor]]:
    """The loss of the adapted network on the query, and its gradient with respect to the encoder's weights."""
    encoder = learner.encoder
    names = [name for name, _ in encoder.named_parameters()]
    weights = [value.detach().clone().requires_grad_() for value in encoder.parameters()]
    head = [torch.zeros(3, encoder.width).double().requires_grad_(), torch.zeros(3).double().requires_grad_()]

    def embed(values: list[Tensor], features: Features) -> Tensor:
        z: Tensor = torch.func.functional_call(encoder, dict(zip(names, values, strict=False)), (features,))
        return z * 4 / encoder.width**0.5

    def outputs(values: list[Tensor], features: Features) -> Tensor:
        z = embed(values, task.support)
        centre = sum(z[number == Y].mean(0) for number in range(3)) / 3
        return (embed(values, features) - centre) @ values[-2].T + values[-1]

    def support_loss(values: list[Tensor]) -> Tensor:
        surprise = -outputs(values, task.support).log_softmax(1)
        total = surprise.new_zeros(())
        for number in range(3):
            total = total + surprise[number == Y, number].mean() / 3
        return total

    values = [*weights, *head]
    for _ in range(learner.steps):
        slopes = torch.autograd.grad(support_loss(values), values, create_graph=second_order)
        values = [value - learner.rate * slope for value, slope in zip(values, slopes, strict=True)]
    if not second_order:  # the outer gradient where the steps ended
        values = [value.detach().requires_grad_() for value in values]
        weights = values[: len(weights)]
    loss = -outputs(values, task.query).log_softmax(1)[torch.arange(5), QUERY_Y].mean()
    return loss.item(), list(torch.autograd.grad(loss, weights))


def accumulated(learner: MAML, *tasks: Task, weight: float = 1.0) -> tuple[list[float], list[Tensor]]:
    learner.zero_grad()
    losses = [learner.accumulate(task, weight) for task in tasks]
    return losses, [parameter.grad.clone() for parameter in learner.parameters() if parameter.grad is not None]


@each("encoder", ["dense", "conv"])
@each("steps", [1, 3])
@each("first_order", [False, True])
def test_the_gradient_is_that_of_a_plain_loop(encoder, steps, first_order):
    learner = maml(encoder, steps=steps, first_order=first_order)
    loss, expected = plain_loop(learner, task(), second_order=not first_order)
    losses, found = accumulated(learner, task())
    assert losses == [pytest.approx(loss, rel=1e-8)]
    assert max(float(gradient.abs().max()) for gradient in expected) > 1e-3
    assert_near(found, expected, EXACT)


def test_first_order_gives_the_same_loss_but_another_gradient():
    (second_loss, second), (first_loss, first) = (
        accumulated(maml(steps=3, first_order=flag), task()) for flag in (False, True)
    )
    assert first_loss == second_loss
    assert max(float((x - y).abs().max()) for x, y in zip(first, second, strict=True)) > 1e-3


def test_gradients_of_tasks_add_up_with_their_weight():
    learner = maml(steps=2)
    one, other = (accumulated(learner, task(seed))[1] for seed in (0, 5))
    _, both = accumulated(learner, task(0), task(5), weight=0.5)
    assert_near(both, [0.5 * (x + y) for x, y in zip(one, other, strict=True)], EXACT)


def test_the_gradient_is_the_slope_of_the_query_loss():
    learner = maml(steps=3)
    _, found = accumulated(learner, task())
    generator = torch.Generator().manual_seed(0)
    directions = [torch.randn(value.shape, dtype=torch.float64, generator=generator) for value in learner.parameters()]

    def loss(distance: float) -> float:
        moved = maml(steps=3)
        with torch.no_grad():
            for value, direction in zip(moved.parameters(), directions, strict=True):
                value.add_(distance * direction)
            logits = moved.adapt(task().support, Y)(task().query)
            return torch.nn.functional.cross_entropy(logits, QUERY_Y).item()

    slope = sum(float((x * y).sum()) for x, y in zip(found, directions, strict=True))
    assert (loss(1e-6) - loss(-1e-6)) / 2e-6 == pytest.approx(slope, rel=1e-5)


def test_training_makes_what_it_adapts_to_better():
    learner = maml(steps=2)
    optimizer = torch.optim.Adam(learner.parameters(), lr=0.01)
    losses = []
    for _ in range(6):
        optimizer.zero_grad()
        losses.append(sum(learner.accumulate(task(seed), 0.5) for seed in (0, 5)))
        optimizer.step()
    assert losses[-1] < 0.8 * losses[0]
