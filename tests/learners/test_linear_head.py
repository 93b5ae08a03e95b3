"""The linear head fitted by gradient descent, against autograd and scikit-learn, in float64."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from each import each
from sklearn.linear_model import LogisticRegression
from tolerance import assert_near
from torch import Tensor, nn

from ser_fewshot.errors import AdaptationError, SettingsError
from ser_fewshot.learners._linear_head import HeadSettings, Standard, clip_weights, fit_softmax

WIDTH, N_WAY = 6, 3
Y = torch.tensor([0, 0, 0, 1, 2, 2])  # classes of unequal size
EXACT = 1e-10


def normal(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def loss(z: Tensor, y: Tensor, weight: Tensor, bias: Tensor, *, penalty: float) -> Tensor:
    """What is minimised, in plain words: the mean over a class, summed over classes, and half the squared weights."""
    log_p = (z @ weight.T + bias).log_softmax(1)
    classes = [-log_p[y == number, number].mean() for number in range(len(bias))]
    return torch.stack(classes).sum() + penalty / 2 * weight.square().sum()


def descend_by_autograd(
    z: Tensor, y: Tensor, weight: Tensor, bias: Tensor, *, rate: float, steps: int, penalty: float
) -> tuple[Tensor, Tensor]:
    for _ in range(steps):
        value = loss(z, y, weight, bias, penalty=penalty)
        slopes = torch.autograd.grad(value, (weight, bias), create_graph=True)
        weight, bias = weight - rate * slopes[0], bias - rate * slopes[1]
    return weight, bias


@each("penalty", [0.0, 0.3])
@each("steps", [1, 2, 5])
def test_every_step_is_one_along_the_gradient_that_autograd_finds(steps, penalty):
    z, weight, bias = normal(6, WIDTH, seed=0), normal(N_WAY, WIDTH, seed=1), normal(N_WAY, seed=2)
    how = {"rate": 0.4, "steps": steps, "penalty": penalty}
    expected = descend_by_autograd(z, Y, weight.requires_grad_(), bias.requires_grad_(), **how)
    for found, wanted in zip(fit_softmax(z, Y, weight, bias, **how), expected, strict=True):
        assert_near(found, wanted, EXACT)


def test_without_a_step_the_head_is_where_it_began():
    weight, bias = normal(N_WAY, WIDTH, seed=1), normal(N_WAY, seed=2)
    found = fit_softmax(normal(6, WIDTH, seed=0), Y, weight, bias, rate=1.0, steps=0, penalty=0.1)
    assert torch.equal(found[0], weight)
    assert torch.equal(found[1], bias)


def test_a_step_from_zero_is_the_one_worked_by_hand():
    # Two clips of one value, 2 and -1, one a class; p = 1/2 everywhere, so p - y is -1/2 for the clip's own class.
    # The first row moves by 0.1 * (2 / 2 - (-1) / 2), the second by as much the other way; the biases cancel.
    z, y = torch.tensor([[2.0], [-1.0]]).double(), torch.tensor([0, 1])
    weight, bias = fit_softmax(z, y, z.new_zeros(2, 1), z.new_zeros(2), rate=0.1, steps=1, penalty=5.0)
    assert weight.flatten().tolist() == pytest.approx([0.15, -0.15], rel=1e-10)
    assert bias.tolist() == pytest.approx([0, 0], abs=1e-10)


@each("steps", [1, 4])
def test_the_gradient_through_all_steps_is_that_of_a_loop_that_creates_the_graph(steps):
    query, query_y = normal(5, WIDTH, seed=3), torch.tensor([0, 1, 2, 2, 0])
    inputs = [normal(6, WIDTH, seed=0), normal(N_WAY, WIDTH, seed=1), normal(N_WAY, seed=2)]
    gradients = []
    for fit in (fit_softmax, descend_by_autograd):
        z, weight, bias = (value.clone().requires_grad_() for value in inputs)
        head = fit(z, Y, weight, bias, rate=0.5, steps=steps, penalty=0.1)
        value = nn.functional.cross_entropy(query @ head[0].T + head[1], query_y)
        gradients.append(torch.autograd.grad(value, (z, weight, bias)))
    for found, expected in zip(*gradients, strict=True):
        assert expected.abs().max() > 1e-3
        assert_near(found, expected, relative=1e-8)


def test_tasks_side_by_side_give_what_each_gives_alone():
    z, weight, bias = normal(2, 4, 6, WIDTH, seed=0), normal(2, 4, N_WAY, WIDTH, seed=1), normal(2, 4, N_WAY, seed=2)
    y = torch.stack([Y[torch.randperm(6, generator=torch.Generator().manual_seed(n))] for n in range(8)]).view(2, 4, 6)
    y[0, 0] = torch.tensor([0, 1, 1, 1, 1, 2])  # classes of other sizes than its neighbours have
    how: dict[str, Any] = {"rate": 0.7, "steps": 5, "penalty": 0.05}
    together = fit_softmax(z, y, weight, bias, **how)
    for i, j in np.ndindex(2, 4):
        alone = fit_softmax(z[i, j], y[i, j], weight[i, j], bias[i, j], **how)
        for found, expected in zip(together, alone, strict=True):
            assert_near(found[i, j], expected, EXACT)


@each("penalty", [0.05, 1.0])
def test_many_steps_lead_to_the_optimum_of_scikit_learn(penalty):
    z = normal(6, WIDTH, seed=0)
    start = normal(N_WAY, WIDTH, seed=1), normal(N_WAY, seed=2)
    weight, bias = fit_softmax(z, Y, *start, rate=0.3, steps=6_000, penalty=penalty)
    model = LogisticRegression(C=1 / penalty, tol=1e-12, max_iter=100_000)
    model.fit(z.numpy(), Y.numpy(), sample_weight=clip_weights(Y, N_WAY, dtype=z.dtype).numpy())
    assert_near(weight.numpy(), model.coef_)
    centred = bias - bias.mean()  # what all classes share says nothing
    assert_near(centred.numpy(), model.intercept_ - model.intercept_.mean())


def test_a_class_does_not_win_for_having_more_support():
    y = torch.tensor([0] + [1] * 5)
    z = torch.tensor([[1.0], *[[-1.0]] * 5]).double()
    weight, bias = fit_softmax(z, y, z.new_zeros(2, 1), z.new_zeros(2), rate=0.5, steps=50, penalty=0.0)
    assert_near(bias, torch.zeros(2), EXACT, scale=weight)


@each("penalty", [4.0, 40.0])
def test_a_descent_that_diverges_names_the_step_and_the_rate(penalty):
    z, weight = normal(6, WIDTH, seed=0), normal(N_WAY, WIDTH, seed=1)
    with pytest.raises(AdaptationError, match=r"at inner step \d+, at a learning rate of 1;") as caught:
        fit_softmax(z, Y, weight, weight.new_zeros(N_WAY), rate=1.0, steps=1_000, penalty=penalty)
    # At a rate of 1 every step multiplies the weights by 1 - penalty, until float64 ends.
    overflow = math.log(np.finfo(np.float64).max) / math.log(penalty - 1)
    step = int(caught.value.found.split("step ")[1].split(",")[0])
    assert step == pytest.approx(overflow, rel=0.02)


def test_embeddings_that_are_no_numbers_fail_at_the_first_step():
    z = normal(6, WIDTH, seed=0)
    z[2, 1] = math.nan
    with pytest.raises(AdaptationError, match=r"not finite at inner step 1, at a learning rate of 0\.25;"):
        fit_softmax(z, Y, z.new_zeros(N_WAY, WIDTH), z.new_zeros(N_WAY), rate=0.25, steps=3, penalty=0.0)


def test_one_task_that_diverges_is_not_hidden_by_its_neighbours():
    z = normal(2, 6, WIDTH, seed=0)
    z[1] *= math.inf
    with pytest.raises(AdaptationError):
        start = z.new_zeros(2, N_WAY, WIDTH), z.new_zeros(2, N_WAY)
        fit_softmax(z, Y.expand(2, 6), *start, rate=0.5, steps=3, penalty=0.0)


def test_the_clips_of_a_class_weigh_1_together():
    weights = clip_weights(Y, N_WAY, dtype=torch.float64)
    assert weights.tolist() == [1 / 3, 1 / 3, 1 / 3, 1.0, 0.5, 0.5]


@each("factor", [1.0, 1e-3, 500.0])
def test_the_standard_scale_has_its_centre_at_zero_and_a_mean_squared_norm_of_1(factor):
    z = factor * (4 + normal(6, WIDTH, seed=0))
    scaled = Standard.of(z, Y, N_WAY)(z)
    means = torch.stack([scaled[number == Y].mean(0) for number in range(N_WAY)])
    squares = torch.stack([scaled[number == Y].square().sum(1).mean() for number in range(N_WAY)])
    assert_near(means.mean(0), torch.zeros(WIDTH), EXACT, scale=means)
    assert float(squares.mean()) == pytest.approx(1, rel=1e-10)


def test_support_clips_that_are_all_the_same_are_scaled_to_zero():
    z = torch.ones(6, WIDTH, dtype=torch.float64)
    scaled = Standard.of(z, Y, N_WAY)(z)
    assert_near(scaled, torch.zeros_like(z), relative=1e-8, scale=z)


@each(
    "values",
    [
        {"rate": 0.0},
        {"rate": math.inf},
        {"rate": 1e300},
        {"rate": math.nan},
        {"steps": 0},
        {"steps": 10**6},
        {"steps": 2.5},
        {"steps": True},
        {"penalty": -0.1},
        {"penalty": math.nan},
    ],
)
def test_settings_that_make_no_descent_are_refused(values):
    with pytest.raises(SettingsError, match="a rate above 0"):
        HeadSettings(**values)
