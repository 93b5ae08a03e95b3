"""The inner loop against gradients worked out by hand, in float64, and what its learners share."""

from __future__ import annotations

import gc
import math
from typing import Any

import pytest
import torch
from each import each
from synthetic import DIM, batch
from tolerance import assert_near
from torch import Tensor, nn

from ser_fewshot.errors import AdaptationError, SettingsError
from ser_fewshot.frontends import Features, stack
from ser_fewshot.learners import Task, build_learner
from ser_fewshot.learners._inner_loop import GradientLearner, Parameters, bind, descend, head, shares

EXACT = 1e-8
NAMES = each("name", ["maml", "meta_sgd", "reptile"])
Y = torch.tensor([0, 0, 1, 2, 2, 2])
RATE = 0.1
# Inner loss 0.5 (t - a)'A(t - a), outer loss 0.5 (t - b)'B(t - b).
A = torch.tensor([[2.0, 0.5, 0.0], [0.5, 1.0, -0.3], [0.0, -0.3, 3.0]], dtype=torch.float64)
B = torch.tensor([[1.0, -0.2, 0.1], [-0.2, 2.0, 0.0], [0.1, 0.0, 0.5]], dtype=torch.float64)
a, b, t_0 = torch.tensor([[1.0, -2.0, 0.5], [0.3, 0.7, -1.1], [3.0, 1.0, 2.0]], dtype=torch.float64)


def bowl(matrix: Tensor, bottom: Tensor, t: Tensor) -> Tensor:
    return 0.5 * (t - bottom) @ matrix @ (t - bottom)


def outer_gradient(steps: int, *, rate: float = RATE, matrix: Tensor = A, second_order: bool = True) -> Tensor:
    start = t_0.clone().requires_grad_()
    loss = lambda values: bowl(matrix, a, values["t"])  # noqa: E731
    end = descend(loss, {"t": start}, rate=rate, steps=steps, second_order=second_order)["t"]
    return torch.autograd.grad(bowl(B, b, end), start)[0]


def learner_of(name: str, encoder: str = "dense", **settings: Any) -> GradientLearner:
    told = {"name": encoder, "channels": 4, "blocks": 1, "width": 3, "dropout": 0.0}
    learner = build_learner(name, DIM, {"encoder": told, **settings}, seed=3)
    assert isinstance(learner, GradientLearner)
    learner.fit_scale(batch(30, seed=99))
    return learner.eval()


def task(seed: int = 0) -> Task:
    return Task(batch(6, seed=seed), Y, batch(5, seed=seed + 1), torch.tensor([0, 1, 2, 2, 0]))


def test_the_outer_gradient_on_a_line_is_the_one_worked_out_by_hand():
    # Inner loss (t - 1)^2, slope 2 (t - 1); from 3 at rate 0.1 to 3 - 0.4 = 2.6; outer loss t^2 / 2.
    start = torch.tensor(3.0, dtype=torch.float64, requires_grad=True)
    for steps, end, slope in ((1, 2.6, 0.8 * 2.6), (3, 2.024, 0.512 * 2.024)):
        found = descend(lambda values: (values["t"] - 1) ** 2, {"t": start}, rate=0.1, steps=steps, second_order=True)[
            "t"
        ]
        assert found.item() == pytest.approx(end, rel=1e-8)
        assert torch.autograd.grad(found**2 / 2, start)[0].item() == pytest.approx(slope, rel=1e-8)


@each("steps", [1, 3])
def test_the_outer_gradient_on_quadratics_is_the_closed_form(steps):
    shrink = torch.linalg.matrix_power(torch.eye(3, dtype=torch.float64) - RATE * A, steps)
    t_k = a + shrink @ (t_0 - a)
    assert_near(outer_gradient(steps), shrink @ B @ (t_k - b), EXACT)


@each("steps", [1, 3])
def test_first_order_is_the_outer_gradient_at_the_end_of_the_steps(steps):
    t_k = a + torch.linalg.matrix_power(torch.eye(3, dtype=torch.float64) - RATE * A, steps) @ (t_0 - a)
    first = outer_gradient(steps, second_order=False)
    assert_near(first, B @ (t_k - b), EXACT)
    assert (first - outer_gradient(steps)).abs().max() > 0.1


def test_where_the_inner_loss_does_not_curve_first_and_second_order_agree():
    flat = torch.zeros(3, 3, dtype=torch.float64)
    assert_near(outer_gradient(3, matrix=flat, second_order=False), outer_gradient(3, matrix=flat), EXACT)


@each(("steps", "rate"), [(0, RATE), (3, 0.0)])
def test_without_steps_or_without_a_rate_it_is_joint_training(steps, rate):
    assert_near(outer_gradient(steps, rate=rate), B @ (t_0 - b), EXACT)


def test_the_gradient_through_three_steps_of_a_small_network_is_right():
    generator = torch.Generator().manual_seed(0)
    x, target, w, v = (
        torch.randn(shape, dtype=torch.float64, generator=generator) for shape in ((5, 3), (5,), (3, 2), (2,))
    )

    def outer(w: Tensor, v: Tensor, rate: Tensor) -> Tensor:
        def loss(values: Parameters) -> Tensor:
            return ((x @ values["w"]).tanh() @ values["v"] - target).square().mean()

        start = {"w": w, "v": v}
        end = descend(loss, start, rate={"w": rate, "v": 2 * rate}, steps=3, second_order=True)
        return ((2 * x @ end["w"]).tanh() @ end["v"]).exp().sum()

    rate = torch.tensor(0.2, dtype=torch.float64)
    assert torch.autograd.gradcheck(outer, tuple(value.requires_grad_() for value in (w, v, rate)))


def test_a_parameter_that_the_loss_does_not_know_stays_and_the_others_do_not_change_in_place():
    start = {"t": t_0.clone(), "idle": torch.ones(2, requires_grad=True)}
    end = descend(lambda values: bowl(A, a, values["t"]), start, rate=RATE, steps=2, second_order=False)
    assert end["idle"] is start["idle"]
    assert torch.equal(start["t"], t_0)
    assert not start["t"].requires_grad
    assert not torch.equal(end["t"], t_0)


def test_a_loss_that_is_no_number_names_the_step_and_the_rate():
    start = {"t": torch.tensor(2.0)}
    with pytest.raises(AdaptationError, match=r"loss of inf at inner step 3, at a learning rate of 1e\+12"):
        descend(lambda values: values["t"] ** 2, start, rate=1e12, steps=5, second_order=False)
    rates = {"t": torch.tensor([0.5, 2.0])}
    with pytest.raises(AdaptationError, match=r"loss of nan at inner step 1, at a learning rate of 0\.5 to 2"):
        descend(lambda values: values["t"] * math.nan, start, rate=rates, steps=5, second_order=False)


def test_a_bound_module_computes_with_other_tensors_and_shares_the_rest():
    generator = torch.Generator().manual_seed(0)
    module = nn.Sequential(nn.Linear(3, 4), nn.Sequential(nn.GELU(), nn.BatchNorm1d(4), nn.Linear(4, 2, bias=False)))
    module.eval()
    before = dict(module.named_parameters())
    other = {name: torch.randn(value.shape, generator=generator) for name, value in before.items() if "1.1" not in name}
    x = torch.randn(5, 3, generator=generator)
    twin = bind(module, {before[name]: value for name, value in other.items()})
    assert torch.equal(twin(x), torch.func.functional_call(module, other, (x,)))
    assert not torch.equal(twin(x), module(x))
    assert all(value is before[name] for name, value in module.named_parameters())
    assert twin[1][1].running_mean is module[1][1].running_mean
    assert twin[1][1].weight is before["1.1.weight"]


@NAMES
@each("recorded", [False, True])
def test_the_learners_own_weights_stay_in_place_while_it_adapts(name, recorded):
    learner = learner_of(name)
    own = list(learner.named_parameters())
    seen = []
    learner.encoder.register_forward_pre_hook(
        lambda *_: seen.append(all(x is y for (_, x), (_, y) in zip(learner.named_parameters(), own, strict=True)))
    )
    with torch.set_grad_enabled(recorded):
        learner.adapt(batch(6), Y)(batch(3, seed=1))
    assert len(seen) > learner.steps
    assert all(seen)


@NAMES
def test_what_is_adapted_without_recording_needs_no_gradient_and_is_the_same(name):
    learner = learner_of(name)
    with torch.no_grad():
        classify = learner.adapt(batch(6), Y)
    quiet = classify(batch(3, seed=1))
    recorded = learner.adapt(batch(6), Y)(batch(3, seed=1))
    assert not quiet.requires_grad
    assert recorded.requires_grad
    assert_near(quiet, recorded)


@NAMES
def test_before_adaptation_every_class_has_the_same_logit(name):
    learner = learner_of(name)
    start = learner.start(4, like=torch.empty(0))
    logits = head(start, learner.embeddings(start, batch(5)))
    assert logits.shape == (5, 4)
    assert torch.equal(logits, logits[:, :1].expand(5, 4))


@NAMES
def test_rows_that_begin_alike_at_anything_else_than_zero_would_change_nothing(name):
    learner = learner_of(name).double()
    features = Features(batch(6).x.double(), batch(6).lengths)
    generator = torch.Generator().manual_seed(0)
    answers = []
    for row in (torch.zeros(learner.encoder.width), torch.randn(learner.encoder.width, generator=generator)):
        start = learner.start(3, like=features.x)
        start["head.weight"] = start["head.weight"] + row
        end = learner.inner_loop(lambda values: learner.loss(values, features=features, y=Y), start, second_order=False)
        answers.append(head(end, learner.embeddings(end, features)).softmax(1))
    assert (answers[0] - 1 / 3).abs().max() > 0.1
    assert_near(answers[1], answers[0], EXACT)


@NAMES
@each("encoder", ["conv", "dense", "mean"])
def test_the_support_loss_falls_after_small_steps(name, encoder):
    support = batch(6)
    losses = [math.log(3)]
    for steps in (2, 6):
        learner = learner_of(name, encoder, steps=steps, rate=0.02)
        with torch.no_grad():
            logits = learner.adapt(support, Y)(support)
        losses.append(float(shares(Y, torch.float32) @ nn.functional.cross_entropy(logits, Y, reduction="none")))
    assert losses == sorted(losses, reverse=True)
    assert losses[0] - losses[2] > 1e-3


def test_every_class_weighs_the_same_and_all_clips_together_1():
    expected = torch.tensor([1 / 6, 1 / 6, 1 / 3, 1 / 9, 1 / 9, 1 / 9], dtype=torch.float64)
    assert_near(shares(Y, torch.float64), expected, EXACT)


@NAMES
def test_support_clips_given_several_times_change_nothing(name):
    learner = learner_of(name)
    support, query = batch(6), batch(4, seed=1)
    doubled = torch.tensor([0, 0, 0, 1, 1, 1, 2, 3, 4, 5])  # the clips of class 0 three times
    with torch.no_grad():
        once, often = (learner.adapt(support.select(rows), Y[rows])(query) for rows in (torch.arange(6), doubled))
    assert_near(often, once)


@NAMES
def test_what_all_clips_of_a_corpus_share_changes_nothing_for_a_head_on_averages(name):
    learner = learner_of(name, "mean")
    support, query = batch(6), batch(4, seed=1)
    room = 5 * torch.arange(DIM)
    shifted = [stack([x[:n] + room for x, n in zip(f.x, f.lengths, strict=True)]) for f in (support, query)]
    with torch.no_grad():
        assert_near(learner.adapt(shifted[0], Y)(shifted[1]), learner.adapt(support, Y)(query), relative=0.001)


@NAMES
@each(("steps", "recorded"), [(2, False), (6, False), (6, True)])
def test_a_rate_that_is_far_too_high_is_reported_with_step_and_rate(name, steps, recorded):
    learner = learner_of(name, steps=steps, rate=1e37)
    twice = torch.tensor([0, 1, 2, 0, 1, 2])  # the same clips in two classes: no weights can make the loss small
    with (
        torch.set_grad_enabled(recorded),
        pytest.raises(AdaptationError, match=r"adaptation: found a loss of (nan|inf) at inner step \d.* of 1e\+37"),
    ):
        learner.adapt(batch(3).select(twice), torch.tensor([0, 1, 2, 1, 2, 0]))


@NAMES
def test_a_last_step_that_goes_too_far_is_noticed(name):
    learner = learner_of(name, steps=2, rate=1e18)
    support, y = batch(3).select(torch.tensor([0, 1, 2, 0, 1, 2])), torch.tensor([0, 1, 2, 1, 2, 0])
    recorded = learner.adapt(support, y)  # the loss before each of the two steps is a number
    assert not recorded(support).isfinite().all()
    with torch.no_grad(), pytest.raises(AdaptationError, match=r"inner step 2, .* of 1e\+18"):
        learner.adapt(support, y)


@NAMES
def test_memory_does_not_grow_over_episodes(name):
    learner = learner_of(name)

    def live_tensors(episodes: int) -> int:
        for number in range(episodes):
            learner.accumulate(task(number), 1.0)
        return sum(issubclass(type(thing), Tensor) for thing in gc.get_objects())

    live_tensors(2)
    gc.collect()
    gc.disable()  # what only the collector would find is a leak too
    try:
        assert live_tensors(20) == live_tensors(5)
    finally:
        gc.enable()
    gradients = [parameter.grad for parameter in learner.parameters() if parameter.grad is not None]
    assert gradients
    assert not any(gradient.requires_grad for gradient in gradients)


@NAMES
def test_a_frozen_encoder_is_left_out_of_adaptation_and_of_the_gradient(name):
    learner = learner_of(name)
    frozen = learner.encoder.get_parameter("fc_in.weight").requires_grad_(False)
    assert "encoder.fc_in.weight" not in learner.start(2, like=torch.empty(0))
    learner.accumulate(task(), 1.0)
    assert frozen.grad is None
    assert learner.encoder.get_parameter("project.weight").grad is not None


@NAMES
def test_noise_is_recognised_at_chance_and_the_answer_itself_always(name):
    learner = learner_of(name, "mean")
    y = torch.arange(4).repeat(5)
    right = {"noise": 0, "answer": 0}
    for seed in range(60):
        generator = torch.Generator().manual_seed(seed)
        noise = torch.randn(40, 3, DIM, generator=generator)
        answer = torch.eye(DIM)[y.repeat(2)][:, None].expand(40, 3, DIM)
        for kind, x in (("noise", noise), ("answer", answer)):
            support, query = (Features(part, torch.full((20,), 3)) for part in x.split(20))
            with torch.no_grad():
                right[kind] += int((learner.adapt(support, y)(query).argmax(1) == y).sum())
    n = 60 * 20
    assert right["answer"] == n
    assert abs(right["noise"] / n - 0.25) < 1.96 * math.sqrt(0.25 * 0.75 / n)


@NAMES
@each("settings", [{"steps": 0}, {"rate": 0.0}, {"rate": -1.0}, {"rate": 1e39}, {"steps": -3}])
def test_an_inner_loop_that_cannot_learn_is_refused(name, settings):
    with pytest.raises(SettingsError, match=f"{name}: found steps"):
        build_learner(name, DIM, settings)
