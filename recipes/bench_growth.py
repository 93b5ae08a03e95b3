"""What does it cost to grow? Each rate is measured on one core; everything else is computed from the rates.

1. Clips streamed into the cache: a corpus, four and sixteen of its size, with the time and the memory of each.
2. Training episodes a second: two processes on a thread each, as `torchrun` starts them, against one process on one
   thread, run in turn.
3. Seconds of sound that a pretrained encoder of the size of Whisper base analyses in a second (its weights are random,
   which takes as long).

Clips are made up, so that it runs anywhere.

    uv run python recipes/bench_growth.py
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import soundfile as sf
import torch
from _bench import machine, options, seconds, write
from transformers import WhisperConfig

from ser_fewshot.audio import SAMPLE_RATE
from ser_fewshot.compute import distributed
from ser_fewshot.corpora import Utterance
from ser_fewshot.frontends import FeatureCache, FeatureSet, fill, size
from ser_fewshot.frontends.logmel import LogMel
from ser_fewshot.frontends.pretrained.frontend import Pretrained
from ser_fewshot.frontends.pretrained.frontend import Settings as PretrainedSettings
from ser_fewshot.learners import build_learner
from ser_fewshot.training import TrainSettings, train

RESULTS = Path(__file__).parent / "results" / "growth.json"
SECONDS = 4.0  # of a clip
TIMES = (1, 4, 16)
EMOTIONS, SPEAKERS, TAKES = ("anger", "fear", "joy", "sadness"), 12, 2
SETTINGS = TrainSettings(epochs=2, steps=10, meta_batch=2, validation_episodes=40)
LEARNER = "protonet"
WHISPER_BASE: Any = {"d_model": 512, "encoder_layers": 6, "encoder_attention_heads": 8, "encoder_ffn_dim": 2048}


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--clips", type=int, default=120, help="of the corpus that is made 4 and 16 times as large")
    parser.add_argument("--rounds", type=int, default=3, help="of training with one process and with two, in turn")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--work", choices=WORKS, help=argparse.SUPPRESS)  # what a process that this one starts does
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.work:
        found = WORKS[arguments.work](arguments.folder, arguments.clips)
        if distributed.is_main():
            print(json.dumps(found))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_clips(folder, max(TIMES) * arguments.clips)
        report = {
            "command": f"uv run python recipes/bench_growth.py --clips {arguments.clips} --rounds {arguments.rounds}",
            "machine": machine(),
            "extraction": [started("extract", folder, clips=times * arguments.clips) for times in TIMES],
            "processes": bench_processes(folder, arguments.rounds),
            "pretrained": started("analyse", folder, clips=24),
        }
    write(arguments.out, report)


def write_clips(folder: Path, n: int) -> None:
    """Write clips of noise under a slow wave, each with another content."""
    generator = np.random.default_rng(0)
    length = int(SECONDS * SAMPLE_RATE)
    noise = generator.normal(size=2 * length).astype(np.float32)
    wave = 0.1 + 0.05 * np.sin(np.arange(length) * (2 * np.pi / SAMPLE_RATE)).astype(np.float32)
    for number in range(n):
        start = int(generator.integers(length))
        sf.write(
            folder / f"{number}.wav", noise[start : start + length] * wave * generator.uniform(0.5, 1), SAMPLE_RATE
        )


def bench_processes(folder: Path, rounds: int) -> dict[str, Any]:
    """Train with one process and with two, in turn."""
    pairs = [[started("train", folder, processes=n)["episodes_per_second"] for n in (1, 2)] for _ in range(rounds)]
    ratios = [two / one for one, two in pairs]
    return {
        "learner": LEARNER,
        "tasks": [asdict(task) for task in SETTINGS.tasks],
        "meta_batch": SETTINGS.meta_batch,
        "episodes_per_second": {"one": [one for one, _ in pairs], "two": [two for _, two in pairs]},
        "times_as_fast": {"median": statistics.median(ratios), "lowest": min(ratios), "highest": max(ratios)},
    }


def started(work: str, folder: Path, *, clips: int = 0, processes: int = 1) -> dict[str, Any]:
    """Return what processes of their own, on a thread each, say of some work."""
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", f"{processes}"]
    command = [__file__, "--work", work, "--folder", f"{folder}", "--clips", f"{clips}"]
    done = subprocess.run(  # noqa: S603 - this very file
        [sys.executable, *(launcher if processes > 1 else []), *command],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def extract_clips(folder: Path, n: int) -> dict[str, float]:
    """Stream clips into an empty cache."""
    with tempfile.TemporaryDirectory() as name:
        frontend = LogMel()
        cache = FeatureCache(Path(name), frontend.identity)
        fill(frontend, utterances(folder, 1), cache=cache)  # what the first clip loads is no matter of size
        taken = seconds(lambda: fill(frontend, utterances(folder, n), cache=cache))
        entries, n_bytes = size(Path(name))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"clips": entries, "sound": entries * SECONDS, "seconds": taken, "peak_bytes": peak, "cache_bytes": n_bytes}


def analyse_clips(folder: Path, n: int) -> dict[str, float]:
    """Stream clips through an encoder of the size of Whisper base."""
    settings = PretrainedSettings(architecture=WhisperConfig(**WHISPER_BASE).to_diff_dict())
    with tempfile.TemporaryDirectory() as name:
        frontend = Pretrained(settings)
        cache = FeatureCache(Path(name), frontend.identity)
        fill(frontend, utterances(folder, 1), cache=cache)
        taken = seconds(lambda: fill(frontend, utterances(folder, n)[1:], cache=cache))
        entries, n_bytes = size(Path(name))
    return {"sound": (n - 1) * SECONDS, "seconds": taken, "cache_bytes_per_clip": n_bytes / entries}


def train_learner(_folder: Path, _n: int) -> dict[str, float]:
    """Train on clips in memory; the first epoch, which also loads and measures, does not count."""
    begun: list[float] = []

    def noted(steps: Iterable[int], _: str) -> Iterable[int]:
        begun.append(time.perf_counter())
        return steps

    compute = distributed.compute("cpu")
    clips = made_up()
    with tempfile.TemporaryDirectory() as name:
        learner = build_learner(LEARNER, clips.clips[0].shape[1])
        train(learner, clips, clips, settings=SETTINGS, run=Path(name) / "run", compute=compute, track=noted)
    taken = time.perf_counter() - begun[1]
    episodes = (SETTINGS.epochs - 1) * SETTINGS.steps * SETTINGS.meta_batch * len(SETTINGS.tasks)
    return {"episodes_per_second": episodes / taken}


WORKS = {"extract": extract_clips, "analyse": analyse_clips, "train": train_learner}


def utterances(folder: Path, n: int) -> list[Utterance]:
    return [Utterance(f"made-up/{number}", folder / f"{number}.wav", "made-up") for number in range(n)]


def made_up() -> FeatureSet:
    """Return frames of noise, 1.5 to 4 s a clip, with labels to draw episodes by."""
    generator = torch.Generator().manual_seed(0)
    labels = [(emotion, speaker) for emotion in EMOTIONS for speaker in range(SPEAKERS) for _ in range(TAKES)]
    lengths = torch.randint(150, 400, (len(labels),), generator=generator).tolist()
    clips = tuple(torch.randn(length, LogMel().dim, generator=generator) for length in lengths)
    named = (
        Utterance(f"made-up/{number}", Path(f"{number}.wav"), "made-up", emotion, speaker=f"{speaker}")
        for number, (emotion, speaker) in enumerate(labels)
    )
    return FeatureSet(tuple(named), clips)


if __name__ == "__main__":
    main()
