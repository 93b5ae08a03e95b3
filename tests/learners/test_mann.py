"""Memory-augmented networks against what is known of them: the memory by hand, the labels' delay, and learning."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from each import each
from tolerance import assert_near
from torch import Tensor

from ser_fewshot.errors import EpisodeError, SettingsError
from ser_fewshot.frontends import Features
from ser_fewshot.learners import Task, build_learner
from ser_fewshot.learners._memory import MemoryState, address, least_used_slots, write
from ser_fewshot.learners.mann import MemoryAugmentedNetwork, Settings, canonical_order

DIM = 12
N_WAY = 5
SMALL: dict[str, Any] = {"width": 16, "controller": 32, "slots": 48, "slot_width": 16, "heads": 2, "max_way": 8}
EXACT = 1e-8
Y = torch.tensor([0, 0, 0, 1, 2, 2, 3, 3])


@pytest.fixture(autouse=True)
def draws_of_its_own() -> Iterator[None]:
    """Training draws from torch's generator: each test begins with the same one, and leaves it as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def mann(*, dim: int = DIM, seed: int = 0, **changes: Any) -> MemoryAugmentedNetwork:
    learner = build_learner("mann", dim, {"encoder": {"name": "mean"}, **SMALL, **changes}, seed=seed)
    assert isinstance(learner, MemoryAugmentedNetwork)
    return learner


def exact(**changes: Any) -> MemoryAugmentedNetwork:
    """In float64, with random weights where training begins with zeros."""
    learner = mann(**changes).double()
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in learner.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, dtype=torch.float64, generator=generator))
    return learner


def points(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def features(x: Tensor) -> Features:
    return Features(x, torch.ones(len(x), dtype=torch.int64))


def task(generator: torch.Generator, *, k_shot: int = 1, n_query: int = 1) -> Task:
    """Classes are random prototypes in six of the values; clips are their class's prototype with noise, everywhere."""
    prototypes = torch.randn(N_WAY, DIM, generator=generator) * (torch.arange(DIM) < 6)
    parts = []
    for n in (k_shot, n_query):
        y = torch.arange(N_WAY).repeat_interleave(n)
        x = prototypes[y] + (0.1 + 0.9 * (torch.arange(DIM) >= 6)) * torch.randn(len(y), DIM, generator=generator)
        parts.append((features(x[:, None]), y))
    (support, support_y), (query, query_y) = parts
    return Task(support, support_y, query, query_y)


def accuracy(learner: MemoryAugmentedNetwork, *, shuffled: bool = False) -> float:
    """Share of 500 queries, of 100 new episodes, that are recognised."""
    generator = torch.Generator().manual_seed(77)
    right = []
    with torch.no_grad():
        for test in (task(generator) for _ in range(100)):
            y = test.support_y[torch.randperm(N_WAY, generator=generator)] if shuffled else test.support_y
            right.append(learner.adapt(test.support, y)(test.query).argmax(1) == test.query_y)
    return float(torch.cat(right).double().mean())


@pytest.fixture(scope="module")
def trained() -> tuple[MemoryAugmentedNetwork, list[float]]:
    """A network after a short training, and the losses on the way."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        learner, generator = mann(), torch.Generator().manual_seed(0)
        optimizer = torch.optim.Adam(learner.parameters(), lr=3e-3)
        losses = []
        for _ in range(150):
            optimizer.zero_grad()
            losses.append(learner.accumulate(task(generator, k_shot=2, n_query=2), 1.0))
            torch.nn.utils.clip_grad_norm_(learner.parameters(), 1.0)
            optimizer.step()
    return learner, losses


# The memory by itself.


def test_each_head_s_read_weights_are_a_softmax_of_cosines_and_sum_to_1():
    keys, slots, strengths = 5 * points(1, 2, 3), 5 * points(1, 4, 3, seed=1), torch.tensor([[2.0, 7.0]]).double()
    weights = address(keys, strengths, slots)
    assert_near(weights.sum(2), torch.ones(1, 2, dtype=torch.float64), EXACT)

    def cosine(a: list[float], b: list[float]) -> float:
        lengths = [math.sqrt(sum(x * x for x in vector) + 0.01) for vector in (a, b)]
        return sum(x * y for x, y in zip(a, b, strict=True)) / math.prod(lengths)

    for head in range(2):
        key, strength = keys[0, head].tolist(), float(strengths[0, head])
        powers = [math.exp(strength * cosine(key, slot)) for slot in slots[0].tolist()]
        expected = [power / sum(powers) for power in powers]
        assert weights[0, head].tolist() == pytest.approx(expected, rel=1e-8)


def test_read_weights_of_every_step_of_a_sequence_sum_to_1():
    learner = exact()
    x, labels = points(30, 4, 16), learner.labels(torch.arange(120).reshape(30, 4) % 8)
    state = learner.start(x[0])
    for clip, label in zip(x, labels, strict=True):
        _, state = learner.step(clip, label, state)
        assert state.memory.read_weights.min() >= 0
        assert_near(state.memory.read_weights.sum(2), torch.ones(4, 2, dtype=torch.float64), EXACT)


def test_an_empty_slot_leaves_the_gradient_small():
    slots = torch.zeros(1, 4, 3, dtype=torch.float64, requires_grad=True)
    address(points(1, 1, 3), torch.tensor([[10.0]]).double(), slots)[0, 0, 0].backward()
    assert slots.grad is not None
    assert 0 < slots.grad.abs().max() < 100


def test_the_least_used_slots_go_to_the_heads_one_each_and_the_first_of_equals_first():
    usage = torch.tensor([[0.5, 0.2, 0.9, 0.1], [0.0, 0.0, 0.0, 0.0]])
    assert least_used_slots(usage, 2).argmax(2).tolist() == [[3, 1], [0, 1]]
    assert least_used_slots(usage, 2).sum(2).tolist() == [[1, 1], [1, 1]]


def test_a_write_wipes_the_least_used_slot_and_shares_out_by_the_gate():
    # Three slots of two values; one head read slot 0 by 3/4 and slot 2 by 1/4; slot 1 was used least.
    state = MemoryState(
        slots=torch.tensor([[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]]),
        usage=torch.tensor([[0.5, 0.1, 0.7]]),
        read_weights=torch.tensor([[[0.75, 0.0, 0.25]]]),
        keys=torch.zeros(1, 1, 2),
    )
    content = torch.tensor([[[10.0, 20.0]]])
    slots, weights = write(content, torch.tensor([[0.4]]), state)
    assert_near(weights, torch.tensor([[[0.3, 0.6, 0.1]]]))
    assert_near(slots, torch.tensor([[[4.0, 8.0], [6.0, 12.0], [6.0, 8.0]]]))
    wiped, _ = write(content, torch.tensor([[1.0]]), state)  # all goes where it was read: the least used stays empty
    assert wiped[0, 1].tolist() == [0.0, 0.0]
    filled, _ = write(content, torch.tensor([[0.0]]), state)  # all goes to the least used: the others stay as they are
    assert filled[0].tolist() == [[1.0, 2.0], [10.0, 20.0], [5.0, 6.0]]


def test_usage_decays_and_grows_by_what_is_read_and_written():
    learner = exact()
    memory, state = learner.memory, learner.start(points(3, 16)).memory
    controller, label = points(3, 32), learner.labels(torch.tensor([0, 3, 5]))
    for _ in range(3):
        before = state
        _, state = memory(controller, label, before)
        content = before.keys + memory.labels(label)[:, None]
        _, write_weights = write(content, memory.gates(controller).sigmoid(), before)
        expected = 0.95 * before.usage + state.read_weights.sum(1) + write_weights.sum(1)
        assert_near(state.usage, expected, EXACT)


# A sequence.


def test_a_label_does_not_change_the_answer_to_its_own_clip_but_that_to_the_next():
    learner, x, t = exact(), points(6, 1, 16), 3
    places = torch.tensor([0, 1, 2, 0, 1, 2])[:, None]
    other = places.clone()
    other[t] = 5
    one, two = (learner.run(x, learner.labels(row))[0].detach() for row in (places, other))
    assert torch.equal(one[: t + 1], two[: t + 1])
    assert (one[t + 1 :] - two[t + 1 :]).abs().amax(dim=(1, 2)).min() > 1e-6


def test_a_clip_changes_no_answer_before_its_own():
    learner, x, t = exact(), points(6, 1, 16), 3
    labels = learner.labels(torch.tensor([0, 1, 2, 0, 1, 2])[:, None])
    changed = x.clone()
    changed[t] += 1
    one, two = (learner.run(clips, labels)[0].detach() for clips in (x, changed))
    assert torch.equal(one[:t], two[:t])
    assert (one[t:] - two[t:]).abs().amax(dim=(1, 2)).min() > 1e-6


def test_sequences_that_run_together_do_not_meet():
    learner, x = exact(), points(10, 3, 16)
    labels = learner.labels(torch.arange(30).reshape(10, 3) % 8)
    together, _ = learner.run(x, labels)
    for row in range(3):
        alone, _ = learner.run(x[:, row : row + 1], labels[:, row : row + 1])
        assert_near(alone[:, 0], together[:, row], EXACT)


def test_no_episode_leaves_anything_to_the_next():
    learner, fresh = exact(), exact()
    support, query = points(8, DIM), points(4, DIM, seed=1)
    with torch.no_grad():
        learner.adapt(features(points(8, DIM, seed=5)), Y)(features(points(9, DIM, seed=6)))
    learner.accumulate(Task(features(points(8, DIM, seed=7)), Y, features(query), torch.arange(4)), 1.0)
    with torch.no_grad():
        after, alone = (net.adapt(features(support), Y)(features(query)) for net in (learner, fresh))
    assert torch.equal(after, alone)


def test_the_gradient_through_a_sequence_is_right():
    learner = exact(width=3, controller=4, slots=6, slot_width=3, max_way=3)
    labels = learner.labels(torch.tensor([[0], [1], [2], [0], [1]]))
    assert torch.autograd.gradcheck(lambda x: learner.run(x, labels)[0], points(5, 1, 3).requires_grad_())


# An episode.


def test_the_support_is_ordered_by_content_one_clip_of_each_class_in_turn():
    # The projection weighs the first value by sin(1) > 0, so clips rank by it: class 2 lies lowest, then 0, then 1.
    z = torch.zeros(6, 4)
    z[:, 0] = torch.tensor([5.0, 9.0, 8.0, 4.0, 1.0, 7.0])
    y = torch.tensor([0, 1, 1, 0, 2, 1])
    places, order = canonical_order(z, y, 3)
    assert places.tolist() == [1, 2, 0]
    assert order.tolist() == [4, 3, 5, 0, 2, 1]


def test_renumbered_classes_and_reordered_clips_give_the_same_classifier():
    learner, support, query = exact(), points(8, DIM), points(6, DIM, seed=1)
    permutation, order = torch.tensor([2, 0, 3, 1]), torch.tensor([7, 2, 5, 0, 6, 1, 3, 4])
    with torch.no_grad():
        plain = learner.adapt(features(support), Y)(features(query))
        renumbered = learner.adapt(features(support[order]), permutation[Y][order])(features(query))
    assert plain.std(1).min() > 1e-3
    assert_near(renumbered[:, permutation], plain, EXACT)


def test_queries_are_the_next_step_after_the_support_each_by_itself():
    learner, support, query = exact(), points(8, DIM), points(3, DIM, seed=1)
    places, order = canonical_order(support, Y, 4)
    labels = learner.labels(torch.cat([places[Y[order]], torch.tensor([0])]))[:, None]  # the last is never seen
    with torch.no_grad():
        answer = learner.adapt(features(support), Y)(features(query))
        for row in range(3):
            x = learner.project(torch.cat([support[order], query[row : row + 1]]))[:, None]
            output, _ = learner.run(x, labels)
            assert_near(answer[row], output[-1, 0, places], EXACT)


def test_the_loss_is_the_mean_over_steps_and_sequences_of_a_plain_loop():
    learner, z = exact(sequences=3), points(8, DIM)
    torch.manual_seed(4)
    found = learner.sequence_loss(z, Y, 4)
    torch.manual_seed(4)
    orders, places = torch.rand(3, 8).argsort(1), torch.rand(3, 8).argsort(1)[:, :4]
    losses = []
    for order, place in zip(orders, places, strict=True):
        outputs, _ = learner.run(learner.project(z[order])[:, None], learner.labels(place[Y[order]])[:, None])
        for step, clip in enumerate(order):
            logits = outputs[step, 0, place]
            losses.append(logits.exp().sum().log() - logits[Y[clip]])
    assert_near(found, torch.stack(losses).mean(), EXACT)


@each("weight", [1.0, 0.25])
def test_accumulate_adds_the_gradient_of_the_sequences(weight):
    learner, support, query = exact(), points(8, DIM), points(4, DIM, seed=1)
    torch.manual_seed(4)
    loss = learner.sequence_loss(torch.cat([support, query]), torch.cat([Y, torch.arange(4)]), 4)
    expected = torch.autograd.grad(weight * loss, list(learner.parameters()))
    for times in (1, 2):
        torch.manual_seed(4)
        found = learner.accumulate(Task(features(support), Y, features(query), torch.arange(4)), weight)
        assert found == pytest.approx(loss.item(), rel=1e-8)
        assert_near([x.grad for x in learner.parameters()], [times * x for x in expected], EXACT)


def test_orders_and_labels_are_drawn_anew_from_torch_s_generator():
    learner, z = exact(), points(8, DIM)

    def loss(seed: int) -> float:
        torch.manual_seed(seed)
        return learner.sequence_loss(z, Y, 4).item()

    assert loss(0) == loss(0)
    assert loss(0) != loss(1)


# Learning.


def test_the_loss_begins_near_ln_n():
    learner, generator = mann(), torch.Generator().manual_seed(0)
    losses = [learner.accumulate(task(generator, k_shot=2, n_query=2), 1.0) for _ in range(10)]
    assert sum(losses) / 10 == pytest.approx(math.log(N_WAY), abs=0.15)


def test_a_short_training_brings_the_loss_clearly_below_ln_n(trained):
    _, losses = trained
    assert sum(losses[-20:]) / 20 < 0.6 * math.log(N_WAY)


def test_new_episodes_are_recognised_far_better_after_training(trained):
    assert accuracy(trained[0]) > max(0.85, accuracy(mann()) + 0.2)


def test_shuffled_labels_leave_it_at_chance(trained):
    margin = 3 * math.sqrt(1 / N_WAY * (1 - 1 / N_WAY) / 500)
    assert abs(accuracy(trained[0], shuffled=True) - 1 / N_WAY) < margin


def test_the_first_clip_is_at_chance_and_one_whose_label_cannot_be_counted_out_is_recognised(trained):
    learner, generator, n = trained[0], torch.Generator().manual_seed(5), 1000
    prototypes = torch.randn(n, N_WAY, DIM, generator=generator) * (torch.arange(DIM) < 6)
    rounds = [torch.rand(n, N_WAY, generator=generator).argsort(1) for _ in range(3)]  # every class once in each
    numbers = torch.cat(rounds, dim=1).T  # (15, n)
    places = torch.rand(n, learner.max_way, generator=generator).argsort(1)[:, :N_WAY]  # of each sequence's labels
    noise = (0.1 + 0.9 * (torch.arange(DIM) >= 6)) * torch.randn(15, n, DIM, generator=generator)
    z = prototypes[torch.arange(n), numbers] + noise
    labels = places[torch.arange(n), numbers]
    with torch.no_grad():
        outputs, _ = learner.run(learner.project(z), learner.labels(labels))
    answers = outputs.gather(2, places.expand(15, -1, -1)).argmax(2)  # (15, n)
    right = (answers == numbers).double().mean(1)
    margin = 3 * math.sqrt(1 / N_WAY * (1 - 1 / N_WAY) / n)
    assert abs(float(right[0]) - 1 / N_WAY) < margin
    assert right[2 * N_WAY] > 0.75  # the first of the third round: each label came twice before


# What is refused.


def test_more_classes_than_labels_are_refused():
    learner, y = mann(max_way=3), torch.arange(4)
    clips = features(points(4, DIM).float())
    before = copy.deepcopy(learner.state_dict())
    with pytest.raises(EpisodeError, match="found 4 classes; expected at most 3"):
        learner.adapt(clips, y)
    with pytest.raises(EpisodeError, match="found 4 classes; expected at most 3"):
        learner.accumulate(Task(clips, y, clips, y), 1.0)
    assert all(torch.equal(tensor, before[name]) for name, tensor in learner.state_dict().items())


@each(
    ("settings", "expected"),
    [
        ({"slots": 0}, "at least 1"),
        ({"controller": 1.5}, "whole number"),
        ({"max_way": 1}, "at least 2"),
        ({"heads": 5, "slots": 4}, "no more heads than slots"),
        ({"decay": 1.1}, r"decay in \[0, 1\]"),
        ({"decay": math.nan}, r"decay in \[0, 1\]"),
    ],
)
def test_settings_that_make_no_memory_are_refused(settings, expected):
    with pytest.raises(SettingsError, match=expected):
        Settings(**settings)
