"""Meta-SGD against MAML and against gradients worked out by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from each import each
from synthetic import DIM, batch
from tolerance import assert_near
from torch import Tensor

from ser_fewshot.learners import Learner, Task, build_learner
from ser_fewshot.learners._inner_loop import descend, leaves
from ser_fewshot.learners.meta_sgd import MetaSGD

EXACT = 1e-8
TASK = Task(batch(6), torch.tensor([0, 0, 1, 2, 2, 2]), batch(5, seed=1), torch.tensor([0, 1, 2, 2, 0]))


def learner_of(name: str, *, double: bool = False, **settings: Any) -> Learner:
    told = {"name": "dense", "channels": 4, "blocks": 1, "width": 3, "dropout": 0.0}
    learner = build_learner(name, DIM, {"encoder": told, **settings}, seed=3)
    learner.fit_scale(batch(30, seed=99))
    return (learner.double() if double else learner).eval()


def meta_sgd(**settings: Any) -> MetaSGD:
    learner = learner_of("meta_sgd", **settings)
    assert isinstance(learner, MetaSGD)
    return learner


def logits(learner: Learner) -> Tensor:
    with torch.no_grad():
        return learner.adapt(TASK.support, TASK.support_y)(TASK.query)


def slope_matters(name: str, slope: Tensor) -> bool:
    """Whether there is one; biases that move all embeddings alike have none, as embeddings are centred."""
    return name in ("encoder.norm.bias", "encoder.project.bias") or float(slope.abs().max()) > 1e-6


@each("settings", [{}, {"rate": 0.3, "steps": 2}, {"first_order": True}])
def test_with_one_rate_for_all_weights_it_is_maml(settings):
    ours, maml = meta_sgd(**settings), learner_of("maml", **settings)
    assert_near(logits(ours), logits(maml))
    assert ours.accumulate(TASK, 1.0) == pytest.approx(maml.accumulate(TASK, 1.0), rel=1e-4)
    parameters = dict(maml.named_parameters())
    assert_near([ours.get_parameter(name).grad for name in parameters], [x.grad for x in parameters.values()])


def test_the_gradient_of_the_rates_at_one_step_is_minus_inner_slope_times_outer_slope():
    learner = meta_sgd(steps=1, rate=0.3)
    learner.double()
    generator = torch.Generator().manual_seed(0)
    start = learner.start(3, like=torch.zeros(0, dtype=torch.float64))
    # A head at zero has no slope in the encoder: begin elsewhere.
    start = leaves({**start, "head.weight": torch.randn(3, learner.encoder.width, generator=generator).double()})
    inner, outer = (
        lambda values, part=part, y=y: learner.loss(values, features=type(part)(part.x.double(), part.lengths), y=y)
        for part, y in ((TASK.support, TASK.support_y), (TASK.query, TASK.query_y))
    )
    end = descend(inner, start, rate=learner.rate, steps=1, second_order=True)
    found = torch.autograd.grad(outer(end), list(learner.rate.values()), retain_graph=True)
    g_in = torch.autograd.grad(inner(start), list(start.values()))
    g_out = torch.autograd.grad(outer(end), list(end.values()))
    for (name, rate), ours, x, y in zip(learner.rate.items(), found, g_in, g_out, strict=True):
        expected = (-x * y).sum_to_size(rate.shape)  # the head's rates are of all classes
        assert_near(ours, expected, EXACT, message=name)
        assert slope_matters(name, ours)


def test_there_is_one_rate_for_every_weight_that_is_adapted():
    learner = meta_sgd()
    start = learner.start(1, like=torch.empty(0))
    n_adapted = sum(value.numel() for value in start.values())
    n_encoder = sum(value.numel() for value in learner.encoder.parameters())
    assert n_adapted == n_encoder + learner.encoder.width + 1  # the head's row and its bias, of any class
    assert sum(rate.numel() for rate in learner.rates.values()) == n_adapted
    assert sum(value.numel() for value in learner.parameters()) == n_encoder + n_adapted
    assert {name: rate.shape for name, rate in learner.rate.items()} == {k: v.shape for k, v in start.items()}


def test_rates_of_zero_adapt_nothing():
    learner = meta_sgd()
    with torch.no_grad():
        for rate in learner.rates.values():
            rate.zero_()
    assert torch.equal(logits(learner), torch.zeros(5, 3))


def test_a_weight_with_a_rate_of_zero_stays_and_one_below_zero_moves_uphill():
    learner = meta_sgd(steps=2)
    ends = []
    for value in (0.0, 0.5, -0.5):
        with torch.no_grad():
            learner.rates["encoder/project/weight"].fill_(value)
        start = learner.start(3, like=torch.empty(0))
        end = learner.inner_loop(
            lambda values: learner.loss(values, features=TASK.support, y=TASK.support_y), start, second_order=False
        )
        ends.append(end["encoder.project.weight"].detach() - learner.encoder.get_parameter("project.weight").detach())
    stay, down, up = ends
    assert torch.equal(stay, torch.zeros_like(stay))
    assert down.abs().max() > 1e-5
    assert_near(up, -down, relative=0.001)


def test_every_rate_is_trained():
    learner = meta_sgd(steps=3)
    learner.accumulate(TASK, 1.0)
    for name, rate in learner.rate.items():
        assert rate.grad is not None
        assert slope_matters(name, rate.grad), name
