"""Reptile against its identities: joint training at one step, a sum of gradients, plain SGD on one task."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from each import each
from synthetic import DIM, batch
from tolerance import assert_near
from torch import Tensor

from ser_fewshot.errors import AdaptationError, SettingsError
from ser_fewshot.frontends import Features
from ser_fewshot.learners import Task, build_learner
from ser_fewshot.learners._inner_loop import Loss, Parameters, descend
from ser_fewshot.learners.reptile import Reptile, Settings, descend_by_adam

EXACT = 1e-8
RATE = 0.1
BATCHES = torch.randn(2, 6, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
START = {"t": torch.tensor([0.5, -1.0, 2.0, 0.3], dtype=torch.float64)}


def reptile(**settings: Any) -> Reptile:
    told = {"name": "dense", "channels": 4, "blocks": 1, "width": 3, "dropout": 0.0}
    learner = build_learner("reptile", DIM, {"encoder": told, **settings}, seed=3)
    assert isinstance(learner, Reptile)
    learner.fit_scale(batch(30, seed=99))
    return learner.double().eval()


def task(seed: int = 0) -> Task:
    support, query = (
        Features(features.x.double(), features.lengths) for features in (batch(6, seed=seed), batch(5, seed=seed + 1))
    )
    return Task(support, torch.tensor([0, 0, 1, 2, 2, 2]), query, torch.tensor([0, 1, 2, 2, 0]))


def loss_on(x: Tensor) -> Loss:
    return lambda values: (x @ values["t"]).cos().mean() + values["t"].pow(4).mean()


def slope(x: Tensor, t: Tensor) -> Tensor:
    t = t.clone().requires_grad_()
    return torch.autograd.grad(loss_on(x)({"t": t}), t)[0]


def way(learner: Reptile, x: Tensor) -> Tensor:
    end = learner.inner_loop(loss_on(x), START, second_order=False)
    return (START["t"] - end["t"].detach()) / learner.rate


def by_hand(learner: Reptile, task: Task) -> dict[str, Tensor]:
    """Where plain SGD of torch leads from the learner's start, on support and query in turn."""
    values = {
        name: value.detach().clone().requires_grad_() for name, value in learner.start(3, like=task.support.x).items()
    }
    optimizer = torch.optim.SGD(values.values(), lr=learner.rate)
    for step in range(learner.steps):
        part, y = ((task.support, task.support_y), (task.query, task.query_y))[step % 2]
        optimizer.zero_grad()
        learner.loss(values, features=part, y=y).backward()
        optimizer.step()
    return {name: value.detach() for name, value in values.items()}


def test_after_one_step_of_sgd_it_is_the_joint_gradient():
    learner = reptile(rate=RATE)
    learner.steps = 1
    assert_near(way(learner, BATCHES[0]), slope(BATCHES[0], START["t"]), EXACT)


def test_after_one_step_of_adam_it_is_not():
    learner = reptile(rate=RATE, inner_optimizer="adam")
    learner.steps = 1
    joint = slope(BATCHES[0], START["t"])
    assert_near(way(learner, BATCHES[0]), joint.sign())  # only the direction is left
    assert (way(learner, BATCHES[0]) - joint).abs().max() > 0.1


def test_two_mini_batches_give_each_algorithm_its_own_gradient():
    first, second = BATCHES
    t_0 = START["t"]
    g_1 = slope(first, t_0)
    t_1 = t_0 - RATE * g_1
    g_2 = slope(second, t_1)
    hessian = torch.autograd.functional.hessian(lambda t: loss_on(first)({"t": t}), t_0)

    def outer(*, second_order: bool) -> Tensor:
        start = t_0.clone().requires_grad_()
        end = descend(loss_on(first), {"t": start}, rate=RATE, steps=1, second_order=second_order)
        return torch.autograd.grad(loss_on(second)(end), start)[0]

    turns = iter(BATCHES)

    def in_turn(values: Parameters) -> Tensor:
        return loss_on(next(turns))(values)

    end = descend(in_turn, START, rate=RATE, steps=2, second_order=False)["t"]
    assert_near((t_0 - end.detach()) / RATE, g_1 + g_2, EXACT)
    assert_near(outer(second_order=False), g_2, EXACT)
    assert_near(outer(second_order=True), g_2 - RATE * hessian @ g_2, EXACT)
    assert (hessian @ g_2).abs().max() > 0.1


@each("steps", [2, 5])
def test_with_a_weight_of_1_and_one_task_it_is_plain_sgd_on_support_and_query_in_turn(steps):
    learner = reptile(steps=steps, rate=0.2)
    expected = by_hand(learner, task())
    before = learner.encoder.get_parameter("project.weight").detach().clone()
    learner.accumulate(task(), 1.0)
    torch.optim.SGD(learner.parameters(), lr=learner.rate).step()
    parameters = dict(learner.named_parameters())
    assert_near(list(parameters.values()), [expected[name] for name in parameters], EXACT)
    assert (learner.encoder.get_parameter("project.weight") - before).abs().max() > 1e-4


def test_a_weight_of_0_changes_nothing():
    learner = reptile()
    assert learner.accumulate(task(), 0.0) > 0
    assert all(torch.equal(value.grad, torch.zeros_like(value)) for value in learner.parameters())


def test_gradients_of_tasks_add_up_with_their_weight():
    learner = reptile(steps=3)
    alone = []
    for seed in (0, 5):
        learner.zero_grad()
        learner.accumulate(task(seed), 1.0)
        alone.append([value.grad.clone() for value in learner.parameters()])
    learner.zero_grad()
    learner.accumulate_many([task(0), task(5)], 0.5)
    expected = [0.5 * (x + y) for x, y in zip(*alone, strict=True)]
    assert_near([value.grad for value in learner.parameters()], expected, EXACT)


def test_the_loss_it_reports_is_the_mean_over_the_steps():
    learner = reptile(steps=2)
    part = task()
    start = learner.start(3, like=part.support.x)
    learner.steps = 1
    after = learner.inner_loop(
        lambda values: learner.loss(values, features=part.support, y=part.support_y), start, second_order=False
    )
    learner.steps = 2
    losses = [
        learner.loss(start, features=part.support, y=part.support_y),
        learner.loss(after, features=part.query, y=part.query_y),
    ]
    assert learner.accumulate(part, 1.0) == pytest.approx(sum(x.item() for x in losses) / 2, rel=1e-8)


def test_adam_steps_are_those_of_torch():
    value = START["t"].clone().requires_grad_()
    optimizer = torch.optim.Adam([value], lr=RATE, betas=(0.0, 0.999))
    for _ in range(4):
        optimizer.zero_grad()
        loss_on(BATCHES[0])({"t": value}).backward()
        optimizer.step()
    end = descend_by_adam(loss_on(BATCHES[0]), START, rate=RATE, steps=4)
    assert_near(end["t"].detach(), value.detach(), EXACT)


def test_adam_leaves_what_it_began_with_and_what_the_loss_does_not_know():
    start = {**START, "idle": torch.ones(2, requires_grad=True)}
    before = START["t"].clone()
    end = descend_by_adam(loss_on(BATCHES[0]), start, rate=RATE, steps=2)
    assert torch.equal(START["t"], before)
    assert end["idle"] is start["idle"]


def test_the_inner_optimizer_decides_how_it_adapts_and_is_shown():
    part = task()
    answers = []
    for kind in ("sgd", "adam"):
        learner = reptile(inner_optimizer=kind, rate=0.01)
        assert f"steps=5, rate=0.01, inner_optimizer='{kind}'" in repr(learner)
        with torch.no_grad():
            answers.append(learner.adapt(part.support, part.support_y)(part.query))
    assert (answers[0] - answers[1]).abs().max() > 1e-3


def test_training_that_diverges_is_reported():
    def loss(values: Parameters) -> Tensor:
        return values["t"].exp().sum()

    with pytest.raises(AdaptationError, match=r"inner step 2, at a learning rate of 1e\+06"):
        descend_by_adam(lambda values: -loss(values), START, rate=1e6, steps=3)
    with pytest.raises(AdaptationError, match="inner step"):
        reptile(rate=1e38, steps=9).accumulate(task(), 1.0)


def test_one_step_which_could_move_only_the_head_is_refused():
    with pytest.raises(SettingsError, match="at least 2 steps"):
        Settings(steps=1)


@each("name", ["Adam", "", "adamw"])
def test_an_unknown_inner_optimizer_is_refused(name):
    with pytest.raises(SettingsError, match=r"sgd \| adam"):
        Settings(inner_optimizer=name)
