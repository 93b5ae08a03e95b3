"""What every learner promises, whatever it does inside: the tests run over all files of ser_fewshot/learners."""

from __future__ import annotations

import copy
import dataclasses
import functools
import multiprocessing
import pickle
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from each import each
from synthetic import DIM, MUST_LEARN, batch, frames
from tolerance import assert_near
from torch import Tensor

from ser_fewshot import plugins
from ser_fewshot.errors import EpisodeError, SettingsError
from ser_fewshot.frontends import Features, stack
from ser_fewshot.learners import Learner, Task, build_learner, embed_clips, evaluating, names, settings_of
from ser_fewshot.models import ModelConfig, build_model, load_model, save_model

CONV = {"name": "conv", "channels": 6, "blocks": 1, "width": 5, "dropout": 0.5}
DENSE = {**CONV, "name": "dense"}
HEADED = {**CONV, "channels": 8, "width": 6}
ENCODERS: dict[str, dict[str, Any]] = {
    "conv": CONV,
    "dense": DENSE,
    "transformer": {**HEADED, "name": "transformer", "functionals": 0.5, "discriminant": 2},
    "statistics": {"name": "statistics"},
    "mean": {"name": "mean"},
}
Y = torch.tensor([0, 0, 1, 2, 2, 2])  # classes of unequal size


# Every learner on its own default encoder, and ridge regression on the encoders that are nobody's default.
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    **{name: (name, {}) for name in names()},
    **{f"ridge, {key}": ("ridge", {"encoder": ENCODERS[key]}) for key in ("mean", "transformer")},
}
EVERY = pytest.mark.parametrize("kind", KINDS)


@functools.cache
def build(kind: str) -> Learner:
    """A learner in use: scaled, with weights that no default holds, dropout off."""
    name, settings = KINDS[kind]
    learner = build_learner(name, DIM, settings, seed=7)
    learner.fit_scale(batch(30, seed=99))
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in learner.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    return learner.eval()


def logits(learner: Learner, support: Features, y: Tensor, query: Features) -> Tensor:
    with torch.no_grad():
        return learner.adapt(support, y)(query)


def state(learner: Learner) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in learner.state_dict().items()}


def assert_same_state(learner: Learner, before: dict[str, Tensor]) -> None:
    after = learner.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())


def easy_clips(first: int, *, directions: Tensor) -> tuple[Features, Tensor]:
    """Three clips of each of three classes, which lie in directions (3, DIM), and their labels (9,)."""
    y = torch.arange(9) % 3
    return stack([frames(first + number) + 4 * directions[number % 3] for number in range(9)]), y


def teach(learner: Learner) -> None:
    """Train a little on easy tasks of other clips, whose classes lie in random directions."""
    optimizer = torch.optim.Adam(learner.parameters(), lr=3e-3)
    for number in range(1, 11):
        directions = torch.randn(3, DIM, generator=torch.Generator().manual_seed(number))
        directions = torch.nn.functional.normalize(directions, dim=1)
        (support, y), (query, _) = (easy_clips(1000 * number + n, directions=directions) for n in (0, 500))
        optimizer.zero_grad()
        learner.accumulate(Task(support, y, query, y), 1.0)
        optimizer.step()


@EVERY
def test_adapting_changes_neither_the_learner_nor_older_classifiers_nor_the_random_numbers(kind):
    learner = build(kind)
    before, generator = state(learner), torch.get_rng_state()
    support, query = batch(6), batch(3, seed=1)
    x, z = support.x.clone(), query.x.clone()
    with torch.no_grad():
        older = learner.adapt(support, Y)
        first = older(query)
        learner.adapt(batch(6, seed=2), Y)(batch(3, seed=3))
        assert torch.equal(older(query), first)
    assert torch.equal(logits(learner, support, Y, query), first)
    assert_same_state(learner, before)
    assert not learner.training
    assert all(parameter.grad is None for parameter in learner.parameters())
    assert torch.equal(torch.get_rng_state(), generator)
    assert torch.equal(support.x, x)
    assert torch.equal(query.x, z)


@EVERY
def test_neither_the_numbers_of_the_classes_nor_the_order_of_the_support_matter(kind):
    learner, query = build(kind), batch(4, seed=1)
    clips = [frames(number) for number in range(6)]
    order, permutation = [3, 5, 0, 2, 4, 1], torch.tensor([2, 0, 1])
    plain = logits(learner, stack(clips), Y, query)
    assert plain.std(1).min() > 1e-3  # otherwise every order would do
    assert_near(logits(learner, stack(clips), permutation[Y], query)[:, permutation], plain)
    assert_near(logits(learner, stack([clips[row] for row in order]), Y[order], query), plain)


@EVERY
def test_from_2_to_20_ways_and_of_clips_of_one_frame_logits_are_finite(kind):
    learner = build(kind)
    for n_way, k_shot in ((2, 1), (3, 3), (20, 1)):
        y = torch.arange(n_way).repeat_interleave(k_shot)
        answer = logits(learner, batch(n_way * k_shot), y, batch(7, seed=1))
        assert answer.shape == (7, n_way)
        assert answer.isfinite().all()
    support, query = (stack([frames(n + seed, n_frames=1) for n in range(6)]) for seed in (0, 10))
    assert logits(learner, support, Y, query).isfinite().all()


@EVERY
def test_the_support_clips_of_an_easy_task_are_recognised(kind):
    learner = build(kind)
    if KINDS[kind][0] in MUST_LEARN:
        learner = copy.deepcopy(learner)
        with torch.random.fork_rng():
            torch.manual_seed(0)
            teach(learner)
    support, y = easy_clips(0, directions=torch.eye(DIM)[:3])
    assert torch.equal(logits(learner, support, y, support).argmax(1), y)


NO_TASK = {
    "class 1 is missing": [0, 0, 0, 2, 2, 2],
    "class 0 is missing": [1, 1, 1, 2, 2, 2],
    "a single class": [0, 0, 0, 0, 0, 0],
    "a negative class": [-1, -1, 0, 0, 1, 1],
    "a label too few": [0, 0, 1, 1, 2],
    "a label too many": [0, 0, 1, 1, 2, 2, 2],
    "a column": [[0], [0], [1], [1], [2], [2]],
    "floating-point labels": [0.0, 0.0, 1.0, 1.0, 2.0, 2.0],
    "yes and no": [False, False, False, True, True, True],
}


@each("name", names())
def test_labels_that_make_no_task_are_refused(name):
    learner, nothing = build(name), torch.zeros(0, dtype=torch.int64)
    for fault, y in NO_TASK.items():
        with pytest.raises(EpisodeError, match="support: found"):
            pytest.fail(f"{fault}: {learner.adapt(batch(6), torch.tensor(y))}")
    with pytest.raises(EpisodeError):
        learner.adapt(Features(torch.zeros(0, 5, DIM), nothing), nothing)


@EVERY
def test_embeddings_may_replace_clips_and_do_not_depend_on_the_batch(kind):
    learner = build(kind)
    support, query = [frames(number) for number in range(6)], [frames(number) for number in range(50, 54)]
    raw = logits(learner, stack(support), Y, stack(query))
    kept = [stack(embed_clips(learner, clips)) for clips in (support, query)]
    assert_near(logits(learner, kept[0], Y, kept[1]), raw)
    assert_near(logits(learner, kept[0], Y, stack(query)), raw)
    clips = [frames(number) for number in range(40)]  # more than fit in two batches
    together = embed_clips(learner, clips)
    for row in (0, 39):
        assert_near(embed_clips(learner, [clips[row]])[0], together[row])
    again = embed_clips(learner, together)  # of what was embedded already, the same is kept
    assert all(torch.equal(first, second) for first, second in zip(again, together, strict=True))
    assert embed_clips(learner, []) == []


@EVERY
def test_logits_depend_neither_on_other_queries_nor_on_padding(kind):
    learner = build(kind)
    support, query = batch(6), [frames(number) for number in range(50, 54)]
    outliers = [1000 * frames(number, n_frames=300) for number in range(60, 63)]
    together = logits(learner, support, Y, stack(query))
    assert_near(logits(learner, support, Y, stack([query[0], *outliers]))[:1], together[:1])
    assert_near(logits(learner, support, Y, stack(query[1:2])), together[1:2])

    def padded(features: Features) -> Features:
        x = torch.nn.functional.pad(features.x, (0, 0, 0, 25))
        longer = Features(x, features.lengths)
        return Features(x.masked_fill(~longer.mask[..., None], 100.0), features.lengths)

    assert_near(logits(learner, padded(support), Y, padded(stack(query))), together)


@EVERY
def test_a_saved_learner_gives_the_same_logits_bit_for_bit(kind, tmp_path):
    name, settings = KINDS[kind]
    model = build_model(ModelConfig(learner=name, settings=settings, frontend_settings={"n_mels": DIM}))
    model.learner.load_state_dict(build(kind).state_dict())
    save_model(model, tmp_path, card="A test.")
    loaded = load_model(tmp_path).learner
    assert not loaded.training
    assert repr(loaded) == repr(model.learner)
    shown = model.learner.described.keys() - {"encoder"}
    assert all(f"{name}=" in repr(loaded) for name in shown)
    support, query = batch(6), batch(4, seed=1)
    assert torch.equal(logits(loaded, support, Y, query), logits(model.learner, support, Y, query))


def in_second_process(pickled: bytes) -> bytes:
    torch.set_num_threads(1)
    learner, support, y, query = pickle.loads(pickled)
    return pickle.dumps((logits(learner, support, y, query), state(learner)))


@pytest.fixture(scope="module")
def second_process() -> Iterator[ProcessPoolExecutor]:
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield pool


@each("kind", ["maml", "mann", "mtl", "protonet"])
def test_a_second_process_that_was_spawned_answers_the_same(kind, second_process):
    learner, support, query = build(kind), batch(6), batch(4, seed=1)
    here = logits(learner, support, Y, query)
    job = second_process.submit(in_second_process, pickle.dumps((learner, support, Y, query)))
    there, weights = pickle.loads(job.result(timeout=120))
    assert_near(there, here)
    assert_same_state(learner, weights)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if any(True for _ in build(kind).parameters())])
def test_accumulate_adds_the_gradient_of_the_weighted_loss_and_moves_no_weight(kind):
    learner, weight = copy.deepcopy(build(kind)), 0.25
    before = state(learner)
    tasks = [Task(batch(6, seed=n), Y, batch(5, seed=n + 1), torch.tensor([0, 1, 2, 2, 0])) for n in (1, 3)]
    parameters = list(learner.parameters())
    expected = [torch.zeros_like(parameter) for parameter in parameters]
    own = type(learner).accumulate is not Learner.accumulate  # which the learner's own tests check
    for task in tasks:
        torch.manual_seed(0)
        loss = learner.task_loss(task)
        gradients = torch.autograd.grad(weight * loss, parameters, allow_unused=True)
        expected = [old if new is None else old + new for old, new in zip(expected, gradients, strict=True)]
        torch.manual_seed(0)
        assert own or learner.accumulate(task, weight) == pytest.approx(loss.item(), rel=1e-5)
    if own:
        learner.accumulate(tasks[0], weight)
    else:
        assert max(float(gradient.abs().max()) for gradient in expected) > 0
        assert_near([torch.zeros_like(x) if x.grad is None else x.grad for x in parameters], expected)
    assert_same_state(learner, before)


@each("kind", KINDS)
def test_settings_come_back_from_their_own_values(kind):
    name, values = KINDS[kind]
    settings = settings_of(name, values)
    assert settings_of(name, dataclasses.asdict(settings)) == settings
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.encoder = None


UNFIT: list[Any] = [
    {"no_such_setting": 1},
    {"encoder": "conv"},
    {"encoder": None},
    {"encoder": {"name": "resnet"}},
    {"encoder": {"name": "transformer", "channels": 12}},
    {"encoder": {"name": ["conv"]}},
    {"encoder": {"channels": "96"}},
    {"encoder": {"channels": 9.5}},
    {"encoder": {"channels": True}},
    {"encoder": {"channels": 10**9}},
    {"encoder": {"blocks": 10**9}},
    {"encoder": {"dropout": float("nan")}},
    {"encoder": {"dropout": "none"}},
    {"encoder": {1: 2}},
    ["encoder"],
]


@each("name", names())
def test_settings_that_do_not_fit_are_refused_by_one_line(name):
    for settings in UNFIT:
        with pytest.raises(SettingsError) as caught:
            pytest.fail(f"{settings}: {build_learner(name, DIM, settings)}")
        assert "\n" not in str(caught.value)


def test_an_unknown_learner_is_refused_with_those_that_there_are():
    with pytest.raises(SettingsError, match="nearest"):
        build_learner("protonett", DIM)


@each("kind", KINDS)
def test_random_weights_depend_on_the_seed_alone(kind):
    name, settings = KINDS[kind]
    generator = torch.get_rng_state()
    first = build_learner(name, DIM, settings, seed=3)
    torch.rand(5)
    assert_same_state(build_learner(name, DIM, settings, seed=3), state(first))
    torch.set_rng_state(generator)
    build_learner(name, DIM, settings, seed=4)
    assert torch.equal(torch.get_rng_state(), generator)


def test_another_seed_gives_other_random_weights():
    first, second = (build_learner("protonet", DIM, {"encoder": CONV}, seed=seed) for seed in (0, 1))
    assert not torch.equal(first.state_dict()["encoder.project.weight"], second.state_dict()["encoder.project.weight"])


@each("kind", ["ridge, transformer", "protonet"])
def test_clips_are_embedded_alike_by_one_thread_and_by_two_and_no_gradient_is_kept(kind):
    learner, clips, threads = build(kind), [frames(number) for number in range(40)], torch.get_num_threads()
    found = []
    try:
        for number in (1, 2):
            torch.set_num_threads(number)
            found.append(embed_clips(learner, clips))
            assert torch.get_num_threads() == number
    finally:
        torch.set_num_threads(threads)
    for one, two in zip(*found, strict=True):
        assert not two.requires_grad
        assert_near(two, one)


@each("training", [True, False])
def test_dropout_is_off_where_clips_are_embedded_and_comes_back(training):
    learner = copy.deepcopy(build("protonet")).train(training)
    first, second = (embed_clips(learner, [frames(0)])[0] for _ in range(2))
    assert torch.equal(first, second)
    assert learner.training is training
    with pytest.raises(ZeroDivisionError), evaluating(learner):
        assert not torch.is_grad_enabled()
        raise ZeroDivisionError
    assert learner.training is training
    assert torch.is_grad_enabled()


def test_a_new_file_in_the_folder_is_a_learner():
    folder = Path(plugins.load("learners", "nearest").__file__ or "").parent
    assert names() == sorted(path.stem for path in folder.glob("*.py") if not path.stem.startswith("_"))
