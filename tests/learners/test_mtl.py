"""Meta-transfer learning: what is frozen, what is learned, and that its gradient is the whole one, in float64."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from each import each
from synthetic import DIM, batch
from tolerance import assert_near
from torch import Tensor, nn

from ser_fewshot.errors import AdaptationError, EpisodeError, SettingsError
from ser_fewshot.frontends import Features
from ser_fewshot.learners import Task, build_learner
from ser_fewshot.learners.mtl import MetaTransfer, ScaleShift, Settings

EXACT = 1e-8
BOTH = each("encoder", ["dense", "conv"])
Y, QUERY_Y = torch.tensor([0, 0, 1, 2, 2, 2]), torch.tensor([0, 1, 2, 2, 0])
HEAD = {"rate": 0.5, "steps": 4, "penalty": 0.02}


def double(features: Features) -> Features:
    return Features(features.x.double(), features.lengths)


def mtl(encoder: str = "dense", *, moved: bool = False, **settings: Any) -> MetaTransfer:
    """Small, scaled, without dropout; `moved`: with scales, shifts and gains that no start holds."""
    told = {"name": encoder, "channels": 6, "blocks": 1, "width": 5}
    learner = build_learner("mtl", DIM, {"encoder": told, "head": HEAD, **settings}, seed=3)
    assert isinstance(learner, MetaTransfer)
    learner.double().fit_scale(double(batch(30, seed=99)))
    if moved:
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for parameter in (*learner.scale_shift.parameters(), learner.gain):
                parameter.add_(0.3 * torch.randn(parameter.shape, dtype=torch.float64, generator=generator))
    return learner.eval()


def task(seed: int, y: Tensor = Y, query_y: Tensor = QUERY_Y) -> Task:
    return Task(double(batch(len(y), seed=seed)), y, double(batch(len(query_y), seed=seed + 1)), query_y)


def learned(learner: MetaTransfer) -> list[nn.Parameter]:
    return [*learner.scale_shift.parameters(), learner.gain]


def gradients(learner: MetaTransfer) -> dict[str, Tensor]:
    return {name: value.grad.clone() for name, value in learner.named_parameters() if value.grad is not None}


@BOTH
def test_at_scale_1_and_shift_0_the_network_is_the_pretrained_one_bit_for_bit(encoder):
    learner, clips = mtl(encoder), double(batch(4))
    assert torch.equal(learner.embed(clips).x, learner.encoder(clips))
    assert not torch.equal(mtl(encoder, moved=True).embed(clips).x, learner.encoder(clips))


def test_a_scale_is_one_a_kernel_or_one_a_neuron_and_a_shift_one_an_output():
    layers = nn.Sequential(
        nn.Conv2d(3, 4, 5),
        nn.Conv1d(4, 6, 3, bias=False),
        nn.LayerNorm(6),
        nn.Linear(6, 2),
        nn.Linear(2, 7, bias=False),
    )
    module = ScaleShift(layers)
    assert [tuple(scale.shape) for scale in module.scales] == [(4, 3, 1, 1), (6, 4, 1), (2, 1), (7, 1)]
    assert [tuple(shift.shape) for shift in module.shifts] == [(4,), (2,)]  # of the layers that have a bias


def test_layers_answer_as_if_their_weights_were_scaled_and_their_biases_shifted_by_hand():
    generator = torch.Generator().manual_seed(0)
    network = nn.Sequential(nn.Conv1d(3, 4, 3), nn.Flatten(), nn.LayerNorm(8), nn.Linear(8, 2)).double()
    module = ScaleShift(network)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    x = torch.randn(5, 3, 4, generator=generator, dtype=torch.float64)
    conv, _, norm, linear = network
    seen = nn.functional.conv1d(x, conv.weight * module.scales[0], conv.bias + module.shifts[0])
    expected = nn.functional.linear(
        norm(seen.flatten(1)), linear.weight * module.scales[1], linear.bias + module.shifts[1]
    )
    before = {name: value.clone() for name, value in network.state_dict().items()}
    assert_near(module(network, x), expected, EXACT)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


@BOTH
def test_over_episodes_nothing_of_the_encoder_itself_gets_a_gradient(encoder):
    learner = mtl(encoder)
    learner.begin("episodes")
    learner.accumulate(task(0), 1.0)
    found = gradients(learner)
    assert found.keys() == {name for name, _ in learner.named_parameters() if not name.startswith("encoder.")}
    # A shift of the last layer moves all embeddings alike, and the head is centred on the support.
    last = f"scale_shift.shifts.{len(learner.scale_shift.shifts) - 1}"
    assert found.pop(last).abs().max() < 1e-12
    assert all(gradient.abs().max() > 1e-6 for gradient in found.values())


def test_in_pretraining_the_encoder_alone_asks_for_gradients():
    learner = mtl()
    for objective in learner.objectives:
        learner.begin(objective)
        asking = {name for name, value in learner.named_parameters() if value.requires_grad}
        inside = {name for name, _ in learner.named_parameters() if name.startswith("encoder.")}
        everything = {name for name, _ in learner.named_parameters()}
        assert asking == (inside if objective == "classes" else everything - inside)
    assert learner.objectives == ("classes", "episodes")


def by_autograd(learner: MetaTransfer, episode: Task, *, second_order: bool) -> Tensor:
    """The query loss, from the paper: steps on the classifier by autograd, from the prototypes, every one spelt out."""
    weights = dict(learner.encoder.named_parameters())
    layers = [name for name, part in learner.encoder.named_modules() if isinstance(part, nn.Linear | nn.Conv1d)]
    for name, scale, shift in zip(layers, learner.scale_shift.scales, learner.scale_shift.shifts, strict=True):
        weights[f"{name}.weight"] = weights[f"{name}.weight"] * scale
        weights[f"{name}.bias"] = weights[f"{name}.bias"] + shift
    support, query = (
        torch.func.functional_call(learner.encoder, weights, (part,)) for part in (episode.support, episode.query)
    )
    members = [support[episode.support_y == number] for number in range(3)]
    centre = torch.stack([part.mean(0) for part in members]).mean(0)
    radius = torch.stack([(part - centre).square().sum(1).mean() for part in members]).mean().sqrt()
    members, query = [(part - centre) / radius for part in members], (query - centre) / radius
    prototypes = torch.stack([part.mean(0) for part in members])
    head = [learner.gain * prototypes, -(learner.gain * prototypes.square()).sum(1) / 2]
    for _ in range(learner.head.steps):
        losses = [
            nn.functional.cross_entropy(part @ head[0].T + head[1], torch.full((len(part),), number))
            for number, part in enumerate(members)
        ]
        loss = torch.stack(losses).sum() + learner.head.penalty / 2 * head[0].square().sum()
        slopes = torch.autograd.grad(loss, head, create_graph=second_order, retain_graph=True)
        head = [value - learner.head.rate * slope for value, slope in zip(head, slopes, strict=True)]
    return nn.functional.cross_entropy(query @ head[0].T + head[1], episode.query_y)


@BOTH
def test_the_meta_gradient_is_that_of_a_plain_loop_that_creates_the_graph(encoder):
    learner = mtl(encoder, moved=True)
    learner.begin("episodes")
    loss = by_autograd(learner, task(0), second_order=True)
    expected = torch.autograd.grad(loss, learned(learner))
    assert learner.accumulate(task(0), 1.0) == pytest.approx(loss.item(), rel=1e-8)
    assert_near([parameter.grad for parameter in learned(learner)], expected, EXACT)


def test_the_meta_gradient_is_not_the_first_order_one():
    learner = mtl(moved=True)
    learner.begin("episodes")
    first, second = (
        torch.autograd.grad(by_autograd(learner, task(0), second_order=order), learned(learner))
        for order in (False, True)
    )
    pairs = [(a, b) for a, b in zip(first, second, strict=True) if b.abs().max() > 1e-12]  # but for the last shift
    assert len(pairs) == len(learned(learner)) - 1
    assert all((a - b).abs().max() > 1e-2 * b.abs().max() for a, b in pairs)


@BOTH
def test_without_a_step_the_head_is_a_prototypical_network_with_a_gain_a_value(encoder):
    learner = mtl(encoder, moved=True)
    z, query = (learner.embed(part).x.detach() for part in (task(0).support, task(0).query))
    weight, bias = learner.start(z, Y, 3)
    prototypes = torch.stack([z[number == Y].mean(0) for number in range(3)])
    distances = (learner.gain * (query[:, None] - prototypes).square()).sum(2)
    expected = (-distances / 2).softmax(1)
    assert_near((query @ weight.T + bias).softmax(1), expected, EXACT)


def test_many_tasks_at_once_are_the_same_as_one_after_the_other():
    tasks = [task(0), task(2, torch.tensor([0, 1, 1, 1, 2, 2])), task(4, Y[:4] % 2, QUERY_Y % 2), task(6)]
    tasks[3] = Task(tasks[3].support, Y, double(batch(2, seed=50)), torch.tensor([2, 1]))  # fewer queries
    for encoder in ("dense", "conv"):
        together, alone = mtl(encoder, moved=True), mtl(encoder, moved=True)
        losses = together.accumulate_many(tasks, 0.25)
        assert losses == pytest.approx([alone.accumulate(one, 0.25) for one in tasks], rel=1e-8)
        found, expected = gradients(together), gradients(alone)
        assert found.keys() == expected.keys()
        assert_near(list(found.values()), list(expected.values()), EXACT)


def test_a_task_without_support_for_a_class_is_refused_among_others_too():
    with pytest.raises(EpisodeError, match="support"):
        mtl().accumulate_many([task(0), task(2, torch.tensor([0, 0, 2, 2, 2, 2]))], 0.5)


def test_a_head_that_diverges_says_so():
    learner = mtl(head={"rate": 3.0, "steps": 3_000, "penalty": 1.0})
    with torch.no_grad(), pytest.raises(AdaptationError, match=r"inner step \d+, at a learning rate of 3;"):
        learner.adapt(task(0).support, Y)


def test_settings_reach_the_training():
    learner = mtl(hard_tasks=3)
    assert learner.hard_tasks == 3
    assert learner.supervision == {"task": 1.0}


@each("values", [{"hard_tasks": -1}, {"hard_tasks": 1.5}])
def test_settings_that_make_no_training_are_refused(values):
    with pytest.raises(SettingsError, match="at least 0"):
        Settings(**values)
