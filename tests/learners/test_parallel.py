"""Tasks side by side: the same numbers as one after the other, and nothing left behind."""

from __future__ import annotations

import copy
import pickle
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
import torch
from conftest import forked
from each import each as for_each
from synthetic import DIM, batch
from tolerance import assert_near
from torch import Tensor

from ser_fewshot.compute.threads import THREADS, Lock, each, small_work, threads
from ser_fewshot.errors import AdaptationError, SettingsError
from ser_fewshot.learners import Learner, Task, build_learner
from ser_fewshot.learners._inner_loop import _drops

Y = torch.tensor([0, 0, 1, 2, 2, 2])
QUERY_Y = torch.tensor([0, 1, 2, 2, 0])
SMALL = {"channels": 6, "blocks": 1, "width": 5, "dropout": 0.0}


@pytest.fixture(autouse=True)
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def threads_of_a_new_thread() -> int:
    seen: list[int] = []
    thread = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    return seen[0]


def build(name: str = "maml", *, encoder: str = "conv", dropout: float = 0.0) -> Learner:
    learner = build_learner(name, DIM, {"encoder": {**SMALL, "name": encoder, "dropout": dropout}}, seed=1)
    learner.fit_scale(batch(20, seed=9))
    return learner.double().train()


def tasks(n: int = 4) -> list[Task]:
    return [Task(doubled(6, 2 * number), Y, doubled(5, 2 * number + 1), QUERY_Y) for number in range(n)]


def doubled(n: int, seed: int):
    features = batch(n, seed=seed)
    return type(features)(features.x.double(), features.lengths)


def gradients(learner: Learner) -> list[Tensor | None]:
    return [None if parameter.grad is None else parameter.grad.clone() for parameter in learner.parameters()]


def assert_close(found: list[Tensor | None], expected: list[Tensor | None]) -> None:
    assert sum(gradient is not None for gradient in expected) > 3
    assert [gradient is None for gradient in found] == [gradient is None for gradient in expected]
    assert_near(*([x for x in gradients if x is not None] for gradients in (found, expected)), relative=1e-8)


def test_results_come_in_the_order_of_the_items_though_the_first_takes_longest():
    later_ones_are_done = threading.Event()

    def function(number: int) -> int:
        if number == 0:
            assert later_ones_are_done.wait(30)
        if number == 4:
            later_ones_are_done.set()
        return number * number

    assert each(function, range(5)) == [0, 1, 4, 9, 16]


def test_items_run_at_the_same_time_as_many_as_torch_may_use_threads_and_each_thread_works_alone():
    meet = threading.Barrier(2, timeout=30)  # breaks unless two are there at once

    def function(number: int) -> tuple[int, int]:
        meet.wait()
        return torch.get_num_threads(), threading.get_ident()

    seen = each(function, range(6))
    assert {threads for threads, _ in seen} == {1}
    assert len({thread for _, thread in seen}) == 2
    assert threading.get_ident() not in {thread for _, thread in seen}


@for_each(("threads", "n"), [(1, 3), (2, 1), (2, 0)])
def test_with_one_thread_or_one_item_the_caller_does_the_work_with_its_own_threads(threads, n):
    torch.set_num_threads(threads)
    seen = each(lambda _: (torch.get_num_threads(), threading.get_ident()), range(n))
    assert seen == [(threads, threading.get_ident())] * n


@for_each("fails", [False, True])
@for_each(
    "run",
    [lambda work: each(work, range(4)), lambda work: threads(1)(work)(), lambda work: small_work()(work)()],
)
def test_no_other_thread_sees_the_number_of_threads_and_the_caller_has_his_own_again(run, fails):
    seen: list[int] = []

    def work(_: object = None) -> None:
        seen.append(torch.get_num_threads())
        assert threads_of_a_new_thread() == 2, "a thread whose first call of torch is now"
        if fails:
            raise ZeroDivisionError

    try:
        run(work)
    except ZeroDivisionError:
        assert fails
    assert set(seen) == {1}
    assert torch.get_num_threads() == threads_of_a_new_thread() == 2


@pytest.mark.parametrize(
    ("told", "split", "side_by_side"), [(None, 1, 3), ("", 1, 3), ("1", 1, 1), (" 2 ", 2, 2), ("9", 3, 3)]
)
def test_small_work_takes_one_thread_a_batch_or_as_many_as_the_setting_says(monkeypatch, told, split, side_by_side):
    torch.set_num_threads(3)
    if told is not None:
        monkeypatch.setenv(THREADS, told)
    meet = threading.Barrier(side_by_side, timeout=30)
    for context in (small_work(), ExitStack()):  # within another too
        with context, small_work():
            assert torch.get_num_threads() == split
            seen = each(lambda _: (meet.wait(), threading.get_ident())[1], range(6))
            assert len(set(seen)) == side_by_side


@pytest.mark.parametrize("told", ["0", "-1", "two", "1.5"])
def test_a_setting_that_is_no_number_of_threads_is_refused(monkeypatch, told):
    monkeypatch.setenv(THREADS, told)
    with pytest.raises(SettingsError, match=f"{THREADS}.*expected a number of threads"), small_work():
        pass


@pytest.mark.skipif(sys.platform == "win32", reason="nothing forks there")
@pytest.mark.parametrize("told", ["", "2"])
def test_a_forked_process_computes_though_its_parent_has_computed(monkeypatch, told):
    monkeypatch.setenv(THREADS, told)
    large, lock = torch.ones(2_000_000), Lock()

    def work() -> list[float]:
        with lock.held(), small_work():
            sums = each(lambda n: (n * large).exp().mean().item(), range(3))
        return [*sums, (large * 2).exp().mean().item(), float(threads_of_a_new_thread())]

    expected = work()
    with lock.held():  # as another thread may at that moment, which is not there to let go
        assert forked(work) == pytest.approx(expected, rel=1e-5)


@for_each("again", [copy.copy, copy.deepcopy, lambda lock: pickle.loads(pickle.dumps(lock))])
def test_a_copy_of_a_lock_is_another_lock(again):
    lock = Lock()
    with lock.held(), again(lock).held():
        pass


@for_each("recording", [True, False])
def test_gradients_are_recorded_if_the_caller_records_them(recording):
    with torch.set_grad_enabled(recording):
        assert each(lambda _: torch.is_grad_enabled(), range(3)) == [recording] * 3


def test_of_several_errors_the_first_in_the_order_of_items_is_raised():
    last_has_failed = threading.Event()

    def function(number: int) -> None:
        if number == 1:
            assert last_has_failed.wait(30)
            raise ValueError(number)
        if number == 3:
            last_has_failed.set()
            raise ZeroDivisionError

    with pytest.raises(ValueError, match="1"):
        each(function, range(6))


def test_within_a_task_there_are_no_more_threads():
    assert each(lambda n: each(lambda m: (n, m, torch.get_num_threads()), range(2)), range(2)) == [
        [(n, m, 1) for m in range(2)] for n in range(2)
    ]


@for_each("name, encoder", [("maml", "conv"), ("meta_sgd", "dense"), ("reptile", "dense")])
def test_losses_and_gradients_in_parallel_are_those_of_one_task_after_the_other(name, encoder):
    learner, reference = build(name, encoder=encoder), build(name, encoder=encoder)
    losses = [reference.accumulate(task, 0.25) for task in tasks()]
    assert learner.accumulate_many(tasks(), 0.25) == pytest.approx(losses, rel=1e-8)
    assert_close(gradients(learner), gradients(reference))


def test_gradients_are_added_to_those_that_are_there():
    learner, reference = build(), build()
    for one in (learner, reference):
        one.accumulate(tasks(5)[4], 1.0)
    learner.accumulate_many(tasks(), 0.5)
    for task in tasks():
        reference.accumulate(task, 0.5)
    assert_close(gradients(learner), gradients(reference))


def test_the_sum_has_the_same_bits_every_time():
    learner = build().float()
    several = [Task(batch(6, seed=2 * number), Y, batch(5, seed=2 * number + 1), QUERY_Y) for number in range(7)]

    def accumulated() -> list[Tensor | None]:
        learner.zero_grad()
        learner.accumulate_many(several, 0.1)
        return gradients(learner)

    first = accumulated()
    for _ in range(5):
        assert all((a is None and b is None) or torch.equal(a, b) for a, b in zip(accumulated(), first, strict=True))


def test_the_learner_keeps_its_weights_and_its_parameters():
    learner = build()
    before = {name: value.clone() for name, value in learner.state_dict().items()}
    own = list(learner.parameters())
    learner.accumulate_many(tasks(), 1.0)
    assert all(one is other for one, other in zip(learner.parameters(), own, strict=True))
    assert all(torch.equal(value, before[name]) for name, value in learner.state_dict().items())


def test_a_parameter_that_does_not_learn_gets_no_gradient():
    learner = build()
    name, frozen = next(iter(learner.named_parameters()))
    frozen.requires_grad_(False)
    learner.accumulate_many(tasks(), 1.0)
    found = {key for key, parameter in learner.named_parameters() if parameter.grad is not None}
    assert found
    assert name not in found


def test_a_task_that_diverges_is_an_error_and_adds_no_gradient():
    learner = build()
    bad = tasks(3)
    bad[1].support.x.fill_(torch.nan)
    with pytest.raises(AdaptationError, match="inner step"):
        learner.accumulate_many(bad, 1.0)
    assert all(gradient is None for gradient in gradients(learner))
    assert torch.get_num_threads() == 2


def test_dropout_runs_one_task_after_the_other_so_that_the_seed_decides_what_is_dropped():
    learner, reference = build(encoder="dense", dropout=0.5), build(encoder="dense", dropout=0.5)
    torch.manual_seed(3)
    losses = [reference.accumulate(task, 0.25) for task in tasks()]
    torch.manual_seed(3)
    assert learner.accumulate_many(tasks(), 0.25) == losses
    assert_close(gradients(learner), gradients(reference))


@for_each(("dropout", "training", "expected"), [(0.5, True, True), (0.5, False, False), (0, True, False)])
def test_only_a_dropout_that_is_on_draws(dropout, training, expected):
    assert _drops(build(dropout=dropout).train(training)) is expected
