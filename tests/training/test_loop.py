"""Training on clips made up on the spot: it learns, it repeats, and no kill at any moment changes where it ends."""

from __future__ import annotations

import itertools
import json
import math
import multiprocessing
import os
import random
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from each import each
from synthetic import DIM, corpus
from torch import Tensor

from ser_fewshot.compute.distributed import compute
from ser_fewshot.episodes import Episode, EpisodeSampler, EpisodeSpec
from ser_fewshot.errors import CheckpointError, EpisodeError, SettingsError
from ser_fewshot.evaluation import Evaluation, evaluate
from ser_fewshot.learners import Learner, build_learner
from ser_fewshot.storage import files as _files
from ser_fewshot.storage.tensors import read_tensors
from ser_fewshot.training import TrainSettings, loop, train
from ser_fewshot.training.augmentation import Augmentation
from ser_fewshot.training.objectives import Episodes
from ser_fewshot.training.settings import VALIDATION_SEED

ENCODER = {"name": "conv", "channels": 8, "blocks": 1, "width": 4}
SETTINGS = TrainSettings(
    tasks=(
        EpisodeSpec(n_way=3, k_shot=2, n_query=2),
        EpisodeSpec(n_way=4, k_shot=1, n_query=1, label="speaker", query_speaker="same"),
    ),
    epochs=2,
    steps=3,
    learning_rate=3e-3,
    validation_episodes=3,
    seed=5,
)


def learner(name: str = "protonet", **settings: Any) -> Learner:
    return build_learner(name, DIM, {"encoder": ENCODER, **settings}, seed=1)


def go(run: Path, *, resume: bool = False, settings: TrainSettings = SETTINGS) -> Learner:
    trained = learner()
    train(trained, corpus(), corpus(seed=1), settings=settings, run=run, resume=resume)
    return trained


def weights(trained: Learner) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in trained.state_dict().items()}


def log(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


def assert_equal(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    assert [name for name in expected if not torch.equal(found[name], expected[name])] == []


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing stopped; only to be read."""
    run = tmp_path_factory.mktemp("runs") / "unbroken"
    in_child(run)
    return run


def copy_of(run: Path, to: Path) -> Path:
    to.mkdir(exist_ok=True)
    for name in ("checkpoint.safetensors", "log.jsonl"):
        (to / name).write_bytes((run / name).read_bytes())
    return to


# Jobs run in children of a fork server, which has everything imported, down to what an optimiser's first step imports:
# a child starts in milliseconds.
CONTEXT = multiprocessing.get_context("forkserver" if sys.platform != "win32" else "spawn")
CONTEXT.set_forkserver_preload(["ser_fewshot.training", "torch._dynamo", "accelerate"])


def job(run: Path, kill_at: int | None, moment: str) -> None:
    """Train or resume; die at a given write, counted from 1, at a given moment of it."""
    torch.set_num_threads(1)
    writes = 0
    replace_file = _files._replace

    def deadly(target: Path, body: bytes, *, durable: bool) -> None:
        nonlocal writes
        writes += 1
        if writes == kill_at and moment == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        if writes == kill_at and moment == "during":
            (target.parent / f".half{_files.TEMPORARY}").write_bytes(body[: len(body) // 2])
            os.kill(os.getpid(), signal.SIGKILL)
        replace_file(target, body, durable=durable)
        if writes == kill_at and moment == "after":
            os.kill(os.getpid(), signal.SIGKILL)

    _files._replace = deadly
    go(run, resume=(run / "checkpoint.safetensors").exists())


def in_child(run: Path, *, kill_at: int | None = None, moment: str = "", after: float | None = None) -> int | None:
    """Run the job in a process of its own and return its exit code; kill it after some seconds if asked."""
    child = CONTEXT.Process(target=job, args=(run, kill_at, moment))
    child.start()
    child.join(after if after is not None else 240)
    if child.is_alive():
        child.kill()
        child.join()
    return child.exitcode


def assert_ends_like(run: Path, unbroken: Path) -> None:
    found, expected = (read_tensors(folder / "checkpoint.safetensors") for folder in (run, unbroken))
    assert_equal(found[0], expected[0])
    assert found[1] == expected[1]
    assert (run / "log.jsonl").read_text() == (unbroken / "log.jsonl").read_text()
    assert sorted(path.name for path in run.iterdir()) == ["checkpoint.safetensors", "log.jsonl"]


def test_the_loss_falls_and_the_learner_that_is_left_scores_what_the_best_record_says(tmp_path):
    trained = build_learner("protonet", DIM, {"encoder": {**ENCODER, "dropout": 0.0}}, seed=1)
    unchanged = Augmentation(gain=0, tone=0, tempo=0, masked_bands=0, masked_frames=0)
    settings = replace(SETTINGS, epochs=6, steps=10, meta_batch=2, learning_rate=1e-2, augmentation=unchanged)
    history = train(trained, corpus(), corpus(seed=1), settings=settings, run=tmp_path / "run")
    assert history[-1]["loss"] < 0.85 * history[0]["loss"]
    assert log(tmp_path / "run") == history
    assert [record["epoch"] for record in history] == list(range(1, 7))
    assert not trained.training
    sampler = EpisodeSampler(corpus(seed=1).utterances, settings.tasks[0], seed=VALIDATION_SEED)
    score = evaluate(trained, corpus(seed=1), sampler.draw_many(settings.validation_episodes), spec=settings.tasks[0])
    assert score.uar.mean() == max(record["validation_uar"] for record in history)


def test_no_episode_is_met_twice_and_none_of_validation_is_trained_on(tmp_path, monkeypatch):
    drawn: list[tuple[int, EpisodeSpec, int]] = []
    draw = EpisodeSampler.draw

    def noted(sampler: EpisodeSampler, index: int) -> Episode:
        drawn.append((sampler.seed, sampler.spec, index))
        return draw(sampler, index)

    monkeypatch.setattr(EpisodeSampler, "draw", noted)
    features = corpus()
    trainer = loop._Trainer(Episodes(learner(), features, replace(SETTINGS, meta_batch=2)), compute())
    drawn.clear()  # what samplers drew to see whether they can
    for done in range(6):
        trainer.step(done)
    assert sorted(drawn, key=str) == sorted(((5, task, n) for task in SETTINGS.tasks for n in range(12)), key=str)
    drawn.clear()
    steps: list[int] = []
    monkeypatch.setattr(loop._Trainer, "step", lambda _, done: steps.append(done) or 0.0)
    train(learner(), features, corpus(seed=1), settings=SETTINGS, run=tmp_path)
    assert steps == list(range(6))  # of both epochs
    assert {seed for seed, _, index in drawn if index > 0} == {VALIDATION_SEED}


def test_a_learner_without_weights_of_its_own_trains_its_encoder(tmp_path):
    trained = learner("nearest")
    before = weights(trained)
    train(trained, corpus(), corpus(seed=1), settings=replace(SETTINGS, epochs=1), run=tmp_path)
    assert not torch.equal(weights(trained)["encoder.project.weight"], before["encoder.project.weight"])


def test_the_same_seed_gives_the_same_weights_bit_for_bit_and_another_seed_others(tmp_path):
    first = weights(go(tmp_path / "first"))
    torch.rand(3)  # what the global generators did before is of no matter
    np.random.rand(3)  # noqa: NPY002
    assert_equal(weights(go(tmp_path / "second")), first)
    other = weights(go(tmp_path / "third", settings=replace(SETTINGS, seed=6)))
    assert not torch.equal(other["encoder.project.weight"], first["encoder.project.weight"])


def test_the_global_generators_are_left_as_they_were(tmp_path):
    before = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()  # noqa: NPY002
    go(tmp_path, settings=replace(SETTINGS, epochs=1))
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.random.get_state()[1].tolist() == before[1]  # noqa: NPY002
    assert random.getstate() == before[2]


# Writes of an unbroken run: the empty log, then checkpoint and log of each of two epochs.
@pytest.mark.parametrize(
    ("write", "moment"), [(1, "during"), (2, "before"), (2, "during"), (2, "after"), (3, "during"), (5, "after")]
)
def test_a_run_killed_at_any_write_ends_like_the_unbroken_one(write, moment, unbroken, tmp_path):
    run = tmp_path / "run"
    assert in_child(run, kill_at=write, moment=moment) == -signal.SIGKILL
    assert in_child(run) == 0
    assert_ends_like(run, unbroken)


def test_a_run_killed_at_random_times_ends_like_the_unbroken_one(unbroken, tmp_path):
    run, times = tmp_path / "run", random.Random(1)
    start = time.monotonic()
    in_child(tmp_path / "timed")
    whole = time.monotonic() - start
    codes = [in_child(run, after=times.uniform(0.1, 0.9) * whole) for _ in range(3)]
    assert -signal.SIGKILL in codes
    assert in_child(run) == 0
    assert_ends_like(run, unbroken)


def test_a_finished_run_is_resumed_without_another_step(unbroken, tmp_path, monkeypatch):
    run = copy_of(unbroken, tmp_path / "run")
    monkeypatch.setattr(loop._Trainer, "step", lambda *_: pytest.fail("it took a step"))
    resumed = weights(go(run, resume=True))
    best = {
        n.removeprefix("best/"): x for n, x in read_tensors(run / "checkpoint.safetensors")[0].items() if "best/" in n
    }
    assert_equal(resumed, best)
    assert (run / "log.jsonl").read_text() == (unbroken / "log.jsonl").read_text()


def test_a_run_of_a_model_made_otherwise_is_not_resumed(tmp_path):
    def begin(config: str, *, resume: bool) -> None:
        settings = replace(SETTINGS, epochs=1)
        parts = corpus(), corpus(seed=1)
        train(learner(), *parts, settings=settings, run=tmp_path, config=config, resume=resume)

    begin('{"normalization": "none"}', resume=False)
    with pytest.raises(CheckpointError):
        begin('{"normalization": "speaker"}', resume=True)


def test_a_learner_with_nothing_of_its_own_to_pretrain_is_refused_before_anything_is_trained(tmp_path):
    untrainable = build_learner("mtl", DIM, {"encoder": {"name": "statistics"}})
    with pytest.raises(SettingsError, match="nothing to train"):
        train(untrainable, corpus(), corpus(seed=1), settings=SETTINGS, run=tmp_path, objective="classes")
    assert not list(tmp_path.iterdir())


def test_a_folder_with_a_run_is_refused_unless_it_is_to_be_resumed(unbroken, tmp_path):
    run = copy_of(unbroken, tmp_path / "run")
    before = (run / "checkpoint.safetensors").read_bytes()
    with pytest.raises(SettingsError, match="Resume that run"):
        go(run)
    assert (run / "checkpoint.safetensors").read_bytes() == before


@each("change", [{"seed": 6}, {"epochs": 4}, {"learning_rate": 1e-3}, {"tasks": SETTINGS.tasks[:1]}])
def test_resuming_with_other_settings_is_refused(change, unbroken, tmp_path):
    with pytest.raises(CheckpointError, match="different settings"):
        go(copy_of(unbroken, tmp_path / "run"), resume=True, settings=replace(SETTINGS, **change))


@each("other", [lambda: learner("ridge"), lambda: learner(metric="cosine"), lambda: build_learner("protonet", DIM)])
def test_resuming_with_another_learner_is_refused(other, unbroken, tmp_path):
    run = copy_of(unbroken, tmp_path / "run")
    with pytest.raises(CheckpointError, match="different learner"):
        train(other(), corpus(), corpus(seed=1), settings=SETTINGS, run=run, resume=True)


def test_resuming_on_other_clips_is_refused(unbroken, tmp_path):
    run = copy_of(unbroken, tmp_path / "run")
    with pytest.raises(CheckpointError, match="different clips"):
        train(learner(), corpus(takes=5), corpus(seed=1), settings=SETTINGS, run=run, resume=True)
    with pytest.raises(CheckpointError, match="different clips"):  # the same ids and lengths, and other files
        again = replace(corpus(), keys=("other sound",) * len(corpus()))
        train(learner(), again, corpus(seed=1), settings=SETTINGS, run=run, resume=True)


def test_a_run_is_resumed_whatever_its_classes_are_called(unbroken, tmp_path, monkeypatch):
    run = copy_of(unbroken, tmp_path / "run")
    before = weights(go(run, resume=True))
    monkeypatch.setattr(torch.nn.Linear, "extra_repr", lambda _: "as a later torch shows it")
    again = learner()
    again.__class__ = type("Renamed", (type(again),), {})
    train(again, corpus(), corpus(seed=1), settings=SETTINGS, run=run, resume=True)
    assert_equal(weights(again), before)


def test_a_run_that_version_0_1_began_is_refused_by_what_it_is(unbroken, tmp_path):
    run = copy_of(unbroken, tmp_path / "run")
    rewritten(run / "checkpoint.safetensors", lambda _, metadata: metadata.pop("format"))
    with pytest.raises(CheckpointError, match=r"version 0\.1.*Finish it with the version that began it"):
        go(run, resume=True)


def rewritten(path: Path, change: Any) -> None:
    """Write a checkpoint again after a change of its tensors and metadata."""
    tensors, metadata = read_tensors(path)
    change(tensors, metadata)
    path.write_bytes(safetensors.torch.save(tensors, metadata))


def change_progress(**values: Any) -> Any:
    def change(_: Any, metadata: dict[str, str]) -> None:
        metadata["progress"] = json.dumps({**json.loads(metadata["progress"]), **values})

    return change


DAMAGES = {
    "no progress": lambda _, m: m.pop("progress"),
    "progress that is no JSON": lambda _, m: m.update(progress="{"),
    "progress that is a list": lambda _, m: m.update(progress="[1]"),
    "an epoch too many": change_progress(epoch=4),
    "an epoch in words": change_progress(epoch="two"),
    "a best epoch to come": change_progress(best_epoch=9),
    "an unknown part": change_progress(mood="good"),
    "a history of numbers": change_progress(history=[1, 2, 3]),
    "a missing weight": lambda t, _: t.pop("goal/learner.encoder.project.weight"),
    "a missing best weight": lambda t, _: t.pop("best/encoder.project.weight"),
    "a weight of another shape": lambda t, _: t.update({"goal/learner.encoder.gate": torch.zeros(2)}),
    "a weight that is NaN": lambda t, _: t["goal/learner.encoder.weight"].fill_(math.nan),
    "a best weight that is NaN": lambda t, _: t["best/encoder.weight"].fill_(math.nan),
    "an optimiser state of another shape": lambda t, _: t.update({"optimizer/0/exp_avg": torch.zeros(1, 2, 3)}),
    "half an optimiser state": lambda t, _: t.pop("optimizer/0/exp_avg_sq"),
    "an optimiser state of no parameter": lambda t, _: t.update({"optimizer/99/step": torch.zeros(())}),
    "an optimiser state that is NaN": lambda t, _: t["optimizer/0/exp_avg"].fill_(math.nan),
    "a state without a parameter's number": lambda t, _: t.update({"optimizer/step": torch.zeros(())}),
}


@each("damage", DAMAGES.items())
def test_a_checkpoint_that_was_changed_is_refused_by_one_line(damage, unbroken, tmp_path):
    run = copy_of(unbroken, tmp_path / "run")
    rewritten(run / "checkpoint.safetensors", damage[1])
    with pytest.raises(CheckpointError) as caught:
        go(run, resume=True)
    assert "\n" not in str(caught.value)


@each("content", [b"", b"PK", b"\x80\x04.", b"{}" * 100])
def test_a_checkpoint_that_is_none_is_refused(content, tmp_path):
    (tmp_path / "checkpoint.safetensors").write_bytes(content)
    with pytest.raises(CheckpointError, match="safetensors"):
        go(tmp_path, resume=True)


@each("share", [0.1, 0.99])
def test_a_truncated_checkpoint_is_refused(share, unbroken, tmp_path):
    run = copy_of(unbroken, tmp_path / "run")
    content = (run / "checkpoint.safetensors").read_bytes()
    (run / "checkpoint.safetensors").write_bytes(content[: int(share * len(content))])
    with pytest.raises(CheckpointError):
        go(run, resume=True)


def scripted(monkeypatch: pytest.MonkeyPatch, scores: list[float]) -> list[dict[str, Tensor]]:
    """Let meta-validation give these scores, and return the weights that each of them was given to."""
    seen: list[dict[str, Tensor]] = []

    def told(trained: Learner, *_: Any, **__: Any) -> Evaluation:
        seen.append(weights(trained))
        uar = np.full(SETTINGS.validation_episodes, scores[len(seen) - 1])
        return Evaluation(SETTINGS.tasks[0], "", (), uar, uar, np.zeros((0, 0), dtype=np.int64))

    monkeypatch.setattr(loop, "evaluate", told)
    return seen


@pytest.mark.parametrize(
    ("scores", "best"),
    [
        pytest.param([0.5, 0.7, 0.6, 0.7], 2, id="a score only equalled is not better"),
        pytest.param([0.0, 0.0, 0.0], 1, id="always zero"),
        pytest.param([0.1, 0.2, 0.3, 0.4, 0.5, 0.6], 6, id="better to the end"),
    ],
)
def test_training_stops_by_patience_and_keeps_the_best_weights(scores, best, tmp_path, monkeypatch):
    seen = scripted(monkeypatch, scores)
    trained = learner()
    settings = replace(SETTINGS, epochs=6, steps=2, patience=2)
    history = train(trained, corpus(), corpus(seed=1), settings=settings, run=tmp_path)
    assert [record["validation_uar"] for record in history] == pytest.approx(scores)
    assert_equal(weights(trained), seen[best - 1])


def test_a_run_stopped_by_patience_stays_stopped_when_it_is_resumed(tmp_path, monkeypatch):
    scripted(monkeypatch, [0.5, 0.4, 0.3])
    settings = replace(SETTINGS, epochs=6, steps=2, patience=2)
    first = weights(go(tmp_path, settings=settings))
    monkeypatch.setattr(loop._Trainer, "step", lambda *_: pytest.fail("it went on"))
    assert_equal(weights(go(tmp_path, resume=True, settings=settings)), first)


# Without meta-validation: the training loss decides


def unjudged(run: Path, *, resume: bool = False, settings: TrainSettings = SETTINGS) -> Learner:
    trained = learner()
    train(trained, corpus(), None, settings=settings, run=run, resume=resume)
    return trained


def with_losses(monkeypatch: pytest.MonkeyPatch, losses: list[float]) -> list[dict[str, Tensor]]:
    """Let the two steps of each epoch give losses of this mean, and return the weights that each epoch ended with."""
    step, ended = loop._Trainer.step, []

    def told(trainer: Any, done: int) -> float:
        step(trainer, done)
        if done % 2:
            ended.append(weights(trainer.learner))
        return losses[done // 2] + (0.25 if done % 2 else -0.25)

    monkeypatch.setattr(loop._Trainer, "step", told)
    return ended


@pytest.mark.parametrize(
    ("losses", "best"),
    [
        pytest.param([3.0, 2.5, 2.75, 2.5], 2, id="a loss only equalled is not better"),
        pytest.param([2e6, 1e6, 3e6, 3e6], 2, id="as large as losses may be"),
        pytest.param([0.5, 0.25, -0.5, -1.0, -0.75, -2.0], 6, id="lower to the end"),
    ],
)
def test_without_validation_the_epoch_of_the_lowest_loss_is_kept_and_patience_counts_from_it(
    losses, best, tmp_path, monkeypatch
):
    ended = with_losses(monkeypatch, losses)
    trained = learner()
    settings = replace(SETTINGS, epochs=6, steps=2, patience=2)
    history = train(trained, corpus(), None, settings=settings, run=tmp_path)
    assert [record["loss"] for record in history] == losses
    assert not torch.equal(ended[-1]["encoder.project.weight"], ended[-2]["encoder.project.weight"])
    assert_equal(weights(trained), ended[best - 1])


def test_without_validation_nothing_is_judged_and_records_say_nothing_of_it(tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "evaluate", lambda *_, **__: pytest.fail("something was judged"))
    assert not unjudged(tmp_path).training
    assert [set(record) for record in log(tmp_path)] == [{"epoch", "loss", "learning_rate"}] * 2
    assert [record["epoch"] for record in log(tmp_path)] == [1, 2]


def test_validation_changes_nothing_about_what_is_learned(tmp_path):
    unjudged(tmp_path / "unjudged")
    go(tmp_path / "judged")
    assert [record["loss"] for record in log(tmp_path / "unjudged")] == [
        record["loss"] for record in log(tmp_path / "judged")
    ]
    found, expected = (read_tensors(tmp_path / run / "checkpoint.safetensors")[0] for run in ("unjudged", "judged"))
    for name in expected:
        if name.startswith("goal/"):
            assert torch.equal(found[name], expected[name]), name


@pytest.mark.parametrize("at", [0, 3, 5])
def test_without_validation_too_a_run_killed_at_any_step_ends_like_the_unbroken_one(at, tmp_path, monkeypatch):
    whole = weights(unjudged(tmp_path / "whole"))
    step = loop._Trainer.step

    def killed(trainer: Any, done: int) -> float:
        if done == at:
            raise KeyboardInterrupt
        return step(trainer, done)

    with monkeypatch.context() as patch:
        patch.setattr(loop._Trainer, "step", killed)
        with pytest.raises(KeyboardInterrupt):
            unjudged(tmp_path / "run")
    assert_equal(weights(unjudged(tmp_path / "run", resume=True)), whole)
    assert_ends_like(tmp_path / "run", tmp_path / "whole")


def test_without_validation_too_a_run_stopped_by_patience_stays_stopped(tmp_path, monkeypatch):
    ended = with_losses(monkeypatch, [2.0, 3.0, 4.0])
    settings = replace(SETTINGS, epochs=6, steps=2, patience=2)
    unjudged(tmp_path, settings=settings)
    monkeypatch.setattr(loop._Trainer, "step", lambda *_: pytest.fail("it went on"))
    assert_equal(weights(unjudged(tmp_path, resume=True, settings=settings)), ended[0])


@pytest.mark.parametrize(("first", "then"), [(go, unjudged), (unjudged, go)], ids=["no longer", "only now"])
def test_a_run_is_not_resumed_with_validation_where_it_had_none_nor_without(first, then, tmp_path):
    first(tmp_path)
    with pytest.raises(CheckpointError, match="different clips"):
        then(tmp_path, resume=True)


# What stops training, and what is refused


def test_a_loss_that_is_no_number_stops_training_and_names_step_and_learning_rate(tmp_path):
    with pytest.raises(SettingsError, match=r"step \d+: found a loss of .* learning rate of \d") as caught:
        go(tmp_path, settings=replace(SETTINGS, learning_rate=1e30, clip_norm=1e30))
    assert "\n" not in str(caught.value)


def test_before_a_bad_step_nothing_is_spoilt(tmp_path, monkeypatch):
    trained = learner()
    monkeypatch.setattr(trained, "accumulate", lambda *_: math.nan)
    before = weights(trained)
    with pytest.raises(SettingsError, match="step 1: found a loss of nan"):
        train(trained, corpus(), corpus(seed=1), settings=SETTINGS, run=tmp_path)
    after = weights(trained)
    assert_equal(*({n: x for n, x in w.items() if n in dict(trained.named_parameters())} for w in (after, before)))
    assert not (tmp_path / "checkpoint.safetensors").exists()


def test_a_gradient_that_is_no_number_stops_training_even_if_the_loss_is_one(tmp_path, monkeypatch):
    trained = learner()

    def accumulate(*_: Any) -> float:
        for parameter in trained.parameters():
            parameter.grad = torch.full_like(parameter, math.inf)
        return 1.0

    monkeypatch.setattr(trained, "accumulate", accumulate)
    with pytest.raises(SettingsError, match=r"gradient of norm (inf|nan)"):
        train(trained, corpus(), corpus(seed=1), settings=SETTINGS, run=tmp_path)


def test_a_learner_with_nothing_to_train_is_refused(tmp_path):
    fixed = build_learner("nearest", DIM, {"encoder": {"name": "statistics"}})
    with pytest.raises(SettingsError, match="nothing to train"):
        train(fixed, corpus(), corpus(seed=1), settings=SETTINGS, run=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_clips_that_cannot_give_the_episodes_are_refused_before_anything_is_written(tmp_path):
    with pytest.raises(EpisodeError, match="meta-validation"):
        train(learner(), corpus(), corpus(n_emotions=2), settings=SETTINGS, run=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_folder_that_cannot_be_written_is_refused_by_one_line(tmp_path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(SettingsError, match="written"):
        go(tmp_path / "file" / "run")


def test_the_learning_rate_warms_up_over_an_epoch_and_falls_to_nothing():
    settings = replace(SETTINGS, epochs=5, steps=10)
    shares = [loop._schedule(step, settings) for step in range(50)]
    assert shares[0] == pytest.approx(0.1)
    assert shares.index(max(shares)) in (8, 9)
    assert max(shares) <= 1
    assert all(later <= earlier for earlier, later in itertools.pairwise(shares[9:]))
    assert 0 < shares[-1] < 0.01


def test_one_long_clip_does_not_fill_the_memory_when_the_scale_is_learned(tmp_path, monkeypatch):
    features = corpus()
    long = replace(features, clips=(features.clips[0].repeat(500, 1), *features.clips[1:]))
    trained, seen = learner(), []
    monkeypatch.setattr(trained, "fit_scale", lambda clips, _: seen.append(clips.x.shape))
    train(trained, long, corpus(seed=1), settings=replace(SETTINGS, epochs=1, steps=1), run=tmp_path)
    assert seen[0][1] <= 1000 < len(long.clips[0])


@each(
    "change",
    [
        {"tasks": ()},
        {"tasks": (1,)},
        {"tasks": None},
        {"epochs": 0},
        {"epochs": 2.5},
        {"epochs": "3"},
        {"epochs": True},
        {"steps": -1},
        {"meta_batch": 0},
        {"patience": 0},
        {"validation_episodes": 1},
        {"learning_rate": 0.0},
        {"learning_rate": math.nan},
        {"learning_rate": math.inf},
        {"learning_rate": "fast"},
        {"weight_decay": -0.1},
        {"weight_decay": None},
        {"clip_norm": 0.0},
        {"clip_norm": math.nan},
        {"augmentation": None},
        {"seed": -1},
        {"seed": 2**31},
        {"seed": 10**400},
        {"seed": 0.5},
    ],
)
def test_settings_that_train_nothing_are_refused_by_their_name(change):
    with pytest.raises(SettingsError, match=next(iter(change))):
        replace(SETTINGS, **change)
