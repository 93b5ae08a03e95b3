"""Several processes are as good as one, one is as cheap as ever, and what cannot compute is refused."""

from __future__ import annotations

import json
import math
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
import safetensors.torch
import soundfile as sf
import torch
from conftest import tone
from synthetic import DIM, corpus
from tolerance import assert_near
from torch import Tensor
from torch.amp.grad_scaler import GradScaler

from ser_fewshot.compute import distributed
from ser_fewshot.compute.distributed import Compute
from ser_fewshot.encoders import Encoder
from ser_fewshot.episodes import EpisodeSpec
from ser_fewshot.errors import DistributedError, SettingsError
from ser_fewshot.frontends import FeatureCache, extract, size
from ser_fewshot.frontends.logmel import LogMel
from ser_fewshot.learners import GradientLearner, Learner, build_learner, names
from ser_fewshot.storage.tensors import read_tensors
from ser_fewshot.training import TrainSettings, loop, train

# Gradients of one run and of another are sums of the same numbers in another order. Adam as it is makes every gradient
# as large as the others, that of a bias that moves all embeddings alike too, which is nothing but rounding.
ROUNDING = 1e-3
CALM = partial(torch.optim.AdamW, eps=0.1)
ENCODERS = {"mtl": {"name": "dense", "channels": 8, "blocks": 1, "width": 4, "dropout": 0.0}}
CONV = {"name": "conv", "channels": 8, "blocks": 1, "width": 4, "dropout": 0.0}
SETTINGS = TrainSettings(
    tasks=(
        EpisodeSpec(n_way=3, k_shot=2, n_query=2),
        EpisodeSpec(n_way=4, k_shot=1, n_query=1, label="speaker", query_speaker="same"),
    ),
    epochs=2,
    steps=3,
    meta_batch=3,  # of which two processes cannot have the same number
    batch_clips=7,
    learning_rate=0.1,
    validation_episodes=5,
    seed=5,
)
SHARED = ("protonet", "mtl", "maml", "reptile", "multitask")
CONTEXT = multiprocessing.get_context("forkserver" if sys.platform != "win32" else "spawn")
CONTEXT.set_forkserver_preload(["ser_fewshot.training", "torch._dynamo", "accelerate"])


def learner(name: str = "protonet") -> Learner:
    return build_learner(name, DIM, {"encoder": ENCODERS.get(name, CONV)}, seed=1)


def fit(name: str, run: Path, **changes: Any) -> tuple[Learner, list[list[dict[str, float]]]]:
    """Train by every objective of a learner, as the command does."""
    built = learner(name)
    histories = [
        train(built, corpus(), corpus(seed=1), settings=SETTINGS, run=run / objective, objective=objective, **changes)
        for objective in built.objectives
    ]
    return built, histories


def everything(folder: Path) -> None:
    torch.optim.AdamW = CALM
    for name in SHARED:
        built, histories = fit(name, folder / name)
        safetensors.torch.save_file(built.state_dict(), folder / f"{name}-{distributed.rank()}.safetensors")
        (folder / f"{name}-{distributed.rank()}.json").write_text(json.dumps(histories))


def dying(folder: Path) -> None:
    torch.optim.AdamW = CALM
    step = loop._Trainer.step

    def told(trainer: loop._Trainer, done: int) -> float:
        if done == 4 and distributed.rank() == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return step(trainer, done)

    loop._Trainer.step = told
    fit("protonet", folder / "run")


def going_on(folder: Path) -> None:
    torch.optim.AdamW = CALM
    fit("protonet", folder / "run", resume=True)


def sums(folder: Path) -> None:
    rank = distributed.rank()
    first, second, third = (torch.nn.Parameter(torch.ones(2)) for _ in range(3))
    first.grad = torch.full((2,), float(rank + 1))
    if rank == 1:
        second.grad = torch.full((2,), 5.0)
    loss = distributed.total_gradients([first, second, third], 0.25)
    assert (loss, first.grad.tolist(), second.grad.tolist(), third.grad) == (0.5, [3.0, 3.0], [5.0, 5.0], None)
    assert distributed.total(torch.tensor([2**40 + rank])).tolist() == [2**41 + 1]
    assert distributed.share("abcde") == (["a", "c", "e"], ["b", "d"])[rank]
    distributed.check_alike("clips", b"same")
    with pytest.raises(DistributedError, match="clips that are not those of every other process"):
        distributed.check_alike("clips", b"rank%d" % rank)


def shared_extraction(folder: Path) -> None:
    cache = FeatureCache(folder / "cache", LogMel().identity)
    frontend = LogMel()
    analyse, seen = frontend.analyse, []
    frontend.analyse = lambda waveforms: seen.extend(waveforms) or analyse(waveforms)
    features = extract(frontend, recordings(folder), cache=cache)
    (folder / f"{distributed.rank()}.json").write_text(json.dumps([len(features), len(seen)]))


def in_a_thread(folder: Path) -> None:
    with ThreadPoolExecutor(1) as pool:  # as Ray does it, and not only for what needs the main thread
        pool.submit(shared_extraction, folder).result()


def recordings(folder: Path, n: int = 5) -> list[Any]:
    from ser_fewshot.corpora import Utterance

    return [Utterance(f"c/{n}", folder / f"{n}.wav", "c", "anger", speaker="a") for n in range(n)]


def process(rank: int, n: int, port: int, work: Any, folder: Path) -> None:
    torch.set_num_threads(1)
    os.environ |= {"RANK": f"{rank}", "LOCAL_RANK": f"{rank}", "WORLD_SIZE": f"{n}", "LOCAL_WORLD_SIZE": f"{n}"}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": f"{port}", "OMP_NUM_THREADS": "1"}
    sys.stderr = (folder / f"stderr-{rank}").open("w", buffering=1)
    work(folder)


def together(work: Any, folder: Path, *, n: int = 2) -> list[int | None]:
    """Run a function in several processes at once, as a launcher would, and return their exit codes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    children = [CONTEXT.Process(target=process, args=(rank, n, port, work, folder)) for rank in range(n)]
    for child in children:
        child.start()
    for child in children:
        child.join(240)
        if child.is_alive():
            child.kill()
            pytest.fail("a process hangs")
    return [child.exitcode for child in children]


def assert_close(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert_near(found[name], value, ROUNDING, scale=list(expected.values()), message=name)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two processes trained together; only to be read."""
    folder = tmp_path_factory.mktemp("shared")
    assert together(everything, folder) == [0, 0]
    return folder


@pytest.mark.parametrize("name", SHARED)
def test_two_processes_learn_and_select_what_one_does(name, shared, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.optim, "AdamW", CALM)
    built, histories = fit(name, tmp_path)
    found = [safetensors.torch.load_file(shared / f"{name}-{rank}.safetensors") for rank in range(2)]
    assert all(torch.equal(found[0][key], found[1][key]) for key in found[0]), "both have the same weights, to the bit"
    assert_close(found[0], dict(built.state_dict()))
    for mine, theirs in zip(histories, json.loads((shared / f"{name}-0.json").read_text()), strict=True):
        for one, other in zip(mine, theirs, strict=True):
            assert other == pytest.approx(one, rel=1e-3)
    untrained = learner(name).state_dict()
    assert any(not torch.allclose(found[0][key], untrained[key], rtol=ROUNDING) for key in untrained), (
        "it learned nothing"
    )


def test_only_the_first_process_writes(shared):
    run = shared / "protonet" / "episodes"
    assert sorted(path.name for path in run.iterdir()) == ["checkpoint.safetensors", "log.jsonl"]
    assert len((run / "log.jsonl").read_text().splitlines()) == SETTINGS.epochs


def test_sums_shares_and_what_must_be_alike(tmp_path):
    assert together(sums, tmp_path) == [0, 0], (tmp_path / "stderr-0").read_text()


def test_when_a_process_dies_the_other_stops_and_says_so_and_the_run_goes_on_from_its_checkpoint(shared, tmp_path):
    codes = together(dying, tmp_path)
    assert codes == [1, -signal.SIGKILL]
    said = (tmp_path / "stderr-0").read_text()
    assert "DistributedError: process 0 of 2: found" in said
    assert "start the same command again, with --resume" in said
    assert len((tmp_path / "run" / "episodes" / "log.jsonl").read_text().splitlines()) == 1, "one epoch was finished"
    assert together(going_on, tmp_path) == [0, 0]
    whole, resumed = (
        read_tensors(run / "episodes" / "checkpoint.safetensors") for run in (shared / "protonet", tmp_path / "run")
    )
    assert [name for name, value in whole[0].items() if not torch.equal(value, resumed[0][name])] == []
    assert whole[1] == resumed[1]


def test_a_request_to_end_is_an_error_that_says_how_to_go_on(monkeypatch):
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "4")
    before = signal.getsignal(signal.SIGTERM)
    wanted = pytest.raises(DistributedError, match=r"process 1 of 4: found a request to end.*--resume")
    with wanted, distributed.ended_by_sigterm():
        signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is before


def test_processes_share_the_clips_of_an_extraction_and_each_has_all_of_them_then(tmp_path):
    for number in range(5):
        sf.write(tmp_path / f"{number}.wav", tone(0.5, hertz=150 + 40 * number), 16_000)
    (tmp_path / "4.wav").write_bytes(b"no sound")
    assert together(in_a_thread, tmp_path) == [0, 0], (tmp_path / "stderr-0").read_text()
    told = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2)]
    assert told == [[4, 2], [4, 2]], "all clips but the broken one, of which each analysed two"
    assert size(tmp_path / "cache")[0] == 4


def test_one_process_imports_nothing_of_several():
    code = (
        "import sys, torch; from ser_fewshot.compute import distributed as d; d.compute(); d.barrier(); "
        "d.total(torch.ones(2)); d.total_gradients([], 1.0); d.check_alike('x', b''); "
        "print(d.rank(), d.world_size(), d.is_main(), 'accelerate' in sys.modules)"
    )
    clean = {name: value for name, value in os.environ.items() if name not in ("RANK", "WORLD_SIZE")}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=clean)
    assert done.stdout.split() == ["0", "1", "True", "False"]


def test_what_this_machine_cannot_do_is_refused_by_one_line(monkeypatch):
    for device, precision, fault in (
        ("tpu", "fp32", "device: found 'tpu'"),
        ("cuda:x", "fp32", "device: found 'cuda:x'"),
        ("cpu:1", "fp32", "device: found 'cpu:1'"),
        ("cuda", "fp32", "device: found 'cuda', and 0 GPUs"),
        ("cuda:1", "bf16", "device: found 'cuda:1', and 0 GPUs"),
        ("cpu", "fp16", r"precision: found 'fp16' on cpu.*fp32 \| bf16"),
        ("auto", "fp64", r"precision: found 'fp64'; expected fp32 \| bf16 \| fp16"),
    ):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
        with pytest.raises(SettingsError, match=fault):
            distributed.compute(device, precision)


def test_one_gpu_is_not_shared_by_several_processes(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert distributed._device("cuda:1") == torch.device("cuda:1")
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(SettingsError, match="each process takes a GPU of its own"):
        distributed._device("cuda:1")
    assert distributed._device("cuda") == torch.device("cuda")


def test_auto_takes_a_gpu_where_there_is_one(monkeypatch):
    for there in (True, False):
        monkeypatch.setattr(torch.cuda, "is_available", lambda there=there: there)
        monkeypatch.setattr(torch.cuda, "device_count", lambda there=there: int(there))
        assert distributed._device("auto").type == ("cuda" if there else "cpu")


@pytest.mark.parametrize("name", sorted(set(names()) - {"nearest"}))
def test_every_learner_trains_with_an_encoder_in_bf16_and_keeps_its_weights_in_fp32(name, tmp_path, monkeypatch):
    inside: list[torch.dtype] = []
    linear = torch.nn.functional.linear

    def seen(x: Tensor, *rest: Tensor) -> Tensor:
        found = linear(x, *rest)
        inside.append(found.dtype)
        return found

    monkeypatch.setattr(torch.nn.functional, "linear", seen)
    monkeypatch.setattr(torch.optim, "AdamW", CALM)
    settings = replace(SETTINGS, epochs=1, steps=2, meta_batch=1)
    built, exact = learner(name), learner(name)
    for one, precision in ((exact, "fp32"), (built, "bf16")):
        compute = distributed.compute("cpu", precision)
        objective = one.objectives[-1]
        train(
            one,
            corpus(),
            corpus(seed=1),
            settings=settings,
            run=tmp_path / precision,
            objective=objective,
            compute=compute,
        )
    assert torch.bfloat16 in inside
    assert {value.dtype for value in built.state_dict().values() if value.is_floating_point()} == {torch.float32}
    for key, value in exact.state_dict().items():
        assert_near(built.state_dict()[key], value, 0.02, scale=list(exact.state_dict().values()), message=key)
    assert not any("autocast" in vars(part) for part in built.modules() if isinstance(part, Encoder)), "it is left on"


def scaled(start: float) -> Compute:
    return Compute(torch.device("cpu"), "fp16", scaler=GradScaler("cpu", init_scale=start))


@pytest.mark.parametrize("name", ["protonet", "mtl"])
def test_scaled_gradients_lead_where_others_do(name, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.optim, "AdamW", CALM)
    plain, _ = fit(name, tmp_path / "plain")
    found, _ = fit(name, tmp_path / "scaled", compute=scaled(1024.0))
    assert_close(dict(found.state_dict()), dict(plain.state_dict()))


def test_a_scale_that_is_too_large_skips_steps_until_it_fits(tmp_path):
    compute = scaled(2.0**127)
    built = learner()
    before = {name: value.clone() for name, value in built.state_dict().items()}
    trainer = loop._Trainer(loop.Episodes(built, corpus(), SETTINGS), compute)
    while compute.scaler.get_scale() > 2.0**100:
        before = {name: value.clone() for name, value in built.state_dict().items()}
        trainer.step(0)
        if math.isinf(max(parameter.grad.abs().max() for parameter in trainer.parameters)):
            assert all(torch.equal(value, before[name]) for name, value in built.state_dict().items())
        if any(not torch.equal(value, before[name]) for name, value in built.state_dict().items()):
            return
    pytest.fail("it never took a step")


def test_inner_steps_in_half_precision_are_refused(tmp_path):
    for name in ("maml", "meta_sgd", "reptile"):
        assert isinstance(learner(name), GradientLearner)
        with pytest.raises(SettingsError, match=r"precision: found 'fp16' for .*expected fp32 \| bf16"):
            fit(name, tmp_path, compute=scaled(1024.0))


def spoken(folder: Path) -> Path:
    """A manifest of tones by four emotions and six speakers."""
    rows = ["file,emotion,speaker"]
    for number in range(96):
        emotion, speaker = number % 4, number // 4 % 6
        path = folder / f"{number}.wav"
        sf.write(path, tone(0.4, hertz=150 + 90 * emotion + 11 * speaker + number, peak=0.2), 16_000)
        rows.append(f"{path},{('anger', 'fear', 'sadness', 'joy')[emotion]},{speaker}")
    (folder / "clips.csv").write_text("\n".join(rows) + "\n")
    (folder / "small.toml").write_text(
        "[settings.encoder]\nname = 'conv'\nchannels = 8\nblocks = 1\nwidth = 4\n"
        "[train]\nsteps = 4\nmeta_batch = 2\nvalidation_episodes = 4\n"
        "tasks = [{n_way = 3, k_shot = 1, n_query = 1, query_speaker = 'any'}]\n"
    )
    return folder


@pytest.fixture
def launched(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start a command under a launcher; what still runs at the end of a test is ended with its children."""
    runs: list[subprocess.Popen[str]] = []

    def start(launcher: list[str], *command: str) -> subprocess.Popen[str]:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "SER_FEWSHOT_CACHE": str(tmp_path / "cache")}
        runs.append(
            subprocess.Popen(
                [sys.executable, "-m", *launcher, "-m", "ser_fewshot", *command],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env=environment,
                cwd=tmp_path,
            )
        )
        return runs[-1]

    yield start
    for run in runs:
        if run.poll() is None:
            for child in psutil.Process(run.pid).children(recursive=True):
                child.kill()
            run.kill()


TORCHRUN = ["torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
ACCELERATE = ["accelerate.commands.launch", "--cpu", "--num_processes", "2", "--main_process_port", "0"]


def training(out: str, *more: str, epochs: int = 2) -> list[str]:
    command = ["train", "--manifest", "clips.csv", "--config", "small.toml", "--out", out, "--epochs", f"{epochs}"]
    return [*command, "--device", "cpu", *more]


@pytest.mark.slow
@pytest.mark.parametrize("launcher", [TORCHRUN, ACCELERATE], ids=["torchrun", "accelerate"])
def test_the_commands_run_under_the_launchers_and_speak_once(launcher, launched, tmp_path):
    folder = spoken(tmp_path)
    run = launched(launcher, "extract", "--manifest", "clips.csv", "--device", "cpu", "--json")
    out, err = run.communicate(timeout=200)
    assert run.returncode == 0, err
    assert json.loads(out)["clips"] == 96
    run = launched(launcher, *training("run", "--json"))
    out, err = run.communicate(timeout=200)
    assert run.returncode == 0, err
    assert json.loads(out)["model"] == "run/model"
    assert (folder / "run/model/model.safetensors").exists()


@pytest.mark.slow
def test_a_worker_killed_under_torchrun_ends_the_run_and_resume_ends_where_it_would_have(launched, tmp_path):
    folder = spoken(tmp_path)
    undisturbed = launched(TORCHRUN, *training("whole", epochs=30))
    assert undisturbed.wait(250) == 0, undisturbed.stderr.read()
    run = launched(TORCHRUN, *training("killed", epochs=30))
    log = folder / "killed/log.jsonl"
    while not log.exists() or len(log.read_text().splitlines()) < 3:
        assert run.poll() is None, run.stderr.read()
        time.sleep(0.01)
    worker = next(one for one in psutil.Process(run.pid).children(recursive=True) if one.environ().get("RANK") == "1")
    worker.kill()
    assert run.wait(120) != 0
    said = run.stderr.read()
    assert "Signal 9 (SIGKILL)" in said or "process 0 of 2" in said
    assert not (folder / "killed/model").exists()
    run = launched(TORCHRUN, *training("killed", "--resume", epochs=30))
    assert run.wait(250) == 0, run.stderr.read()
    found, expected = (read_tensors(folder / name / "checkpoint.safetensors")[0] for name in ("killed", "whole"))
    assert [name for name in expected if not torch.equal(found[name], expected[name])] == []
