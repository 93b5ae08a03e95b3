"""How fast do learners learn? Each figure is a ratio to a plain reference in this file, timed in turn with it.

1. One meta-training step of second-order MAML on Conv-4 (32 channels, GroupNorm) and 64 x 128 log-mel, 5-way 1-shot, 5
   queries a class, 3 inner steps, 4 tasks. The reference loops over tasks with `torch.autograd.grad(create_graph=True)`
   and leaves the threads to torch. The library gives each task a thread: once on the same layers, once with
   normalisation, max-pooling and ReLU as one function, whose derivatives of both orders are written out.
2. One meta-training step through a linear head on cached embeddings: all tasks at once against a loop over them.
3. The same for MAML as it comes, on clips of 1.5 to 3.5 s: all tasks in parallel against one after the other.
4. Resident memory over many steps of 1.

Gradients are compared in float64: in float32 two equal computations differ by more than their rounding wherever that
moves a ReLU across zero or a maximum to its neighbour, so that difference is only reported.

    uv run python recipes/bench_learners.py
"""

from __future__ import annotations

import math
import os
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from _bench import machine, options, ratios, seconds, write
from fused_layers import normalised_pool
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from ser_fewshot.encoders import Encoder
from ser_fewshot.frontends import Features, stack
from ser_fewshot.learners import Task
from ser_fewshot.learners._inner_loop import SHARPNESS
from ser_fewshot.learners._linear_head import HeadSettings, fit_softmax
from ser_fewshot.learners.maml import MAML, Settings

RESULTS = Path(__file__).parent / "results" / "learners_speed.json"
BANDS, FRAMES = 64, 128
N_WAY, N_QUERY, META_BATCH = 5, 5, 4
INNER_STEPS, INNER_RATE = 3, 0.01
CHANNELS, BLOCKS, GROUPS = 32, 4, 8
HEAD_TASKS, HEAD_WIDTH = 32, 1024
WARM_UP = 20  # steps before memory is first measured

Run = Callable[[], object]


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--rounds", type=int, default=11, help="of runs in turn, after one that does not count")
    parser.add_argument("--steps", type=int, default=200, help="meta-training steps that memory is watched over")
    arguments = parser.parse_args()
    result = {
        "command": "uv run python recipes/bench_learners.py",
        "machine": {**machine(), "threads": torch.get_num_threads()},
        "rounds": arguments.rounds,
        "maml_conv4": bench_conv4(arguments.rounds),
        "head": bench_head(arguments.rounds),
        "maml_default": bench_default(arguments.rounds),
        "memory": watch_memory(arguments.steps),
    }
    write(RESULTS, result)


class Conv4(Encoder):
    """Four blocks of convolution, GroupNorm, ReLU and max-pooling: (n, frames, bands) -> (n, width)."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for block in range(BLOCKS):
            convolution = nn.Conv2d(CHANNELS if block else 1, CHANNELS, 3, padding=1)
            layers += [convolution, nn.GroupNorm(GROUPS, CHANNELS), nn.ReLU(), nn.MaxPool2d(2)]
        self.layers = nn.Sequential(*layers)
        self.width = CHANNELS * (BANDS >> BLOCKS) * (FRAMES >> BLOCKS)

    def forward(self, features: Features) -> Tensor:
        """(n, frames, bands) -> (n, width)."""
        z: Tensor = self.layers(features.x[:, None]).flatten(1)
        return z


class FusedConv4(Conv4):
    """The same function of the same parameters, with the layers after each convolution as one."""

    def forward(self, features: Features) -> Tensor:
        """(n, frames, bands) -> (n, width)."""
        x = features.x[:, None]
        for convolution, norm in pairwise(self.layers):
            if isinstance(norm, nn.GroupNorm):
                x = normalised_pool(convolution(x), norm.weight, norm.bias, groups=GROUPS, eps=norm.eps)
        return x.flatten(1)


def bench_conv4(rounds: int) -> dict[str, Any]:
    """Time a meta-training step of the library's MAML against a plain loop, and compare their gradients."""
    plain, tasks = conv4_maml(Conv4), conv4_tasks(torch.float32)
    exact, exact_tasks = conv4_maml(Conv4).double(), conv4_tasks(torch.float64)
    ways = {"same_layers": Conv4, "fused_layers": FusedConv4}
    runs = {name: partial(ours, conv4_maml(kind), tasks) for name, kind in ways.items()}
    taken = in_turn({"reference": partial(reference, plain, tasks), **runs}, rounds)
    return {
        "tasks_per_second_of_reference": META_BATCH / statistics.median(taken["reference"]),
        **{
            name: {
                "tasks_per_second": META_BATCH / statistics.median(taken[name]),
                **ratios(taken["reference"], taken[name]),
                "relative_difference_of_gradients": difference(
                    ours(conv4_maml(kind).double(), exact_tasks), reference(exact, exact_tasks)
                ),
                "the_same_in_float32": difference(runs[name](), reference(plain, tasks)),
            }
            for name, kind in ways.items()
        },
    }


def conv4_maml(kind: type[Conv4]) -> MAML:
    """Return second-order MAML of the library on Conv-4, with weights that depend on nothing but the seed."""
    learner = MAML(BANDS, Settings(steps=INNER_STEPS, rate=INNER_RATE))
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        learner.encoder = kind()
    return learner.train()


def conv4_tasks(dtype: torch.dtype) -> list[Task]:
    """Frames of noise: how long a step takes does not depend on what is learned."""
    generator = torch.Generator().manual_seed(0)
    y, query_y = torch.arange(N_WAY), torch.arange(N_WAY).repeat_interleave(N_QUERY)

    def clips(n: int) -> Features:
        return Features(torch.randn(n, FRAMES, BANDS, generator=generator).to(dtype), torch.full((n,), FRAMES))

    return [Task(clips(len(y)), y, clips(len(query_y)), query_y) for _ in range(META_BATCH)]


def reference(learner: MAML, tasks: Sequence[Task]) -> list[Tensor]:
    """Return the meta-gradient, as it is written everywhere: one task after the other, all of it left to autograd.

    The head is the library's: rows of zeros, on embeddings at a fixed sharpness less the mean of the support's.
    """
    encoder = learner.encoder
    learner.zero_grad()

    def embed(values: Sequence[Tensor], features: Features) -> Tensor:
        z: Tensor = functional_call(encoder, dict(zip(names, values, strict=True)), (features,))
        return z * SHARPNESS / math.sqrt(encoder.width)

    for task in tasks:
        names, values = zip(*encoder.named_parameters(), strict=True)
        values += (task.support.x.new_zeros(N_WAY, encoder.width).requires_grad_(),)
        values += (task.support.x.new_zeros(N_WAY).requires_grad_(),)
        for _ in range(INNER_STEPS):
            z = embed(values[:-2], task.support)
            loss = functional.cross_entropy(functional.linear(z - z.mean(0), *values[-2:]), task.support_y)
            slopes = torch.autograd.grad(loss, values, create_graph=True)
            values = tuple(value - INNER_RATE * slope for value, slope in zip(values, slopes, strict=True))
        centre = embed(values[:-2], task.support).mean(0)
        logits = functional.linear(embed(values[:-2], task.query) - centre, *values[-2:])
        loss = functional.cross_entropy(logits, task.query_y) / len(tasks)
        loss.backward()  # type: ignore[no-untyped-call]
    return slopes_of(learner)


def ours(learner: MAML, tasks: Sequence[Task]) -> list[Tensor]:
    """Return the meta-gradient as training takes it."""
    learner.zero_grad()
    learner.accumulate_many(tasks, 1 / len(tasks))
    return slopes_of(learner)


def slopes_of(module: nn.Module) -> list[Tensor]:
    return [torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in module.parameters()]


def bench_head(rounds: int) -> dict[str, Any]:
    """Time the meta-gradient of a head's start on cached embeddings, at the library's own settings."""
    generator = torch.Generator().manual_seed(0)
    z, query = (torch.randn(HEAD_TASKS, n, HEAD_WIDTH, generator=generator) for n in (N_WAY, N_WAY * N_QUERY))
    z, query = (x / HEAD_WIDTH**0.5 for x in (z, query))  # to a mean squared norm of 1
    y, query_y = torch.arange(N_WAY), torch.arange(N_WAY).repeat_interleave(N_QUERY)
    weight = (0.1 * torch.randn(N_WAY, HEAD_WIDTH, generator=generator)).requires_grad_()
    bias = torch.zeros(N_WAY, requires_grad=True)
    settings = HeadSettings()

    def loop() -> list[Tensor]:
        total = [torch.zeros_like(weight), torch.zeros_like(bias)]
        for support, queries in zip(z, query, strict=True):
            w, b = weight, bias
            for _ in range(settings.steps):
                loss = functional.cross_entropy(support @ w.T + b, y, reduction="sum")
                loss = loss + settings.penalty / 2 * w.square().sum()
                to_w, to_b = torch.autograd.grad(loss, (w, b), create_graph=True)
                w, b = w - settings.rate * to_w, b - settings.rate * to_b
            loss = functional.cross_entropy(queries @ w.T + b, query_y)
            total = [old + new for old, new in zip(total, torch.autograd.grad(loss, (weight, bias)), strict=True)]
        return total

    def batched() -> list[Tensor]:
        start = weight.expand(HEAD_TASKS, -1, -1), bias.expand(HEAD_TASKS, -1)
        w, b = fit_softmax(z, y.expand(HEAD_TASKS, -1), *start, **asdict(settings))
        logits = query @ w.mT + b[:, None]  # (tasks, n_query, n_way)
        losses = functional.cross_entropy(logits.mT, query_y.expand(HEAD_TASKS, -1), reduction="none").mean(1)
        return list(torch.autograd.grad(losses.sum(), (weight, bias)))

    taken = in_turn({"loop": loop, "batched": batched}, rounds)
    return {
        "tasks": HEAD_TASKS,
        "width": HEAD_WIDTH,
        **asdict(settings),
        "tasks_per_second": HEAD_TASKS / statistics.median(taken["batched"]),
        **ratios(taken["loop"], taken["batched"]),
        "relative_difference_of_gradients": difference(batched(), loop()),
    }


def bench_default(rounds: int) -> dict[str, Any]:
    """Time a meta-training step of MAML with its default settings: 4-way 5-shot, clips of 1.5 to 3.5 s."""
    learner = MAML(BANDS, Settings()).train()
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(4).repeat_interleave(5)

    def clips() -> Features:
        lengths = torch.randint(150, 350, (len(y),), generator=generator).tolist()
        return stack([torch.randn(length, BANDS, generator=generator) for length in lengths])

    tasks = [Task(clips(), y, clips(), y) for _ in range(META_BATCH)]
    learner.fit_scale(tasks[0].support)

    def loop() -> list[Tensor]:
        learner.zero_grad()
        for task in tasks:
            learner.accumulate(task, 1 / META_BATCH)
        return slopes_of(learner)

    taken = in_turn({"loop": loop, "ours": partial(ours, learner, tasks)}, rounds)
    return {
        "tasks_per_second": META_BATCH / statistics.median(taken["ours"]),
        **ratios(taken["loop"], taken["ours"]),
        "relative_difference_of_gradients": difference(ours(learner, tasks), loop()),
    }


def watch_memory(steps: int) -> dict[str, float]:
    """Take meta-training steps on Conv-4 and measure resident memory, in MB, after a warm-up, then after every step."""
    learner, tasks = conv4_maml(FusedConv4), conv4_tasks(torch.float32)
    optimizer = torch.optim.Adam(learner.parameters())
    resident = []
    for _ in range(WARM_UP + steps):
        ours(learner, tasks)
        optimizer.step()
        resident.append(resident_memory())
    after = resident[WARM_UP:]
    return {"steps": steps, "after_warm_up": after[0], "at_the_end": after[-1], "highest": max(after)}


def resident_memory() -> float:
    """Return the process's resident memory in MB, as Linux counts it."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def in_turn(runs: Mapping[str, Run], rounds: int) -> dict[str, list[float]]:
    """Return the seconds of each run in every round; all run once in a round, and once before."""
    taken: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(rounds + 1):
        for name, run in runs.items():
            spent = seconds(run)
            if number:
                taken[name].append(spent)
    return taken


def difference(found: Sequence[Tensor], expected: Sequence[Tensor]) -> float:
    """Return the length of the difference of two gradients over the length of the second."""
    a, b = (torch.cat([part.flatten() for part in parts]) for parts in (found, expected))
    return float((a - b).norm() / b.norm())


if __name__ == "__main__":
    main()
