"""Measure how fast the page answers eight clients at once, whether its memory stays flat, and what a visitor waits for.

    uv run python recipes/bench_demo.py --clients 8 --predictions 200 --more 1000

Starts the page as a program of its own, enrols three emotions for every client, asks for predictions from all of them
at once, each compared with that of the library without a page, then for more of them while it watches the memory.
A scripted visitor in Chromium tries the example set, then speaks for some seconds. Writes recipes/results/demo.json.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from _bench import machine, write
from _visitor import live, to_first_answer, visiting
from gradio_client import Client, handle_file

from ser_fewshot.classifier import FewShotClassifier
from ser_fewshot.quickstart import DEMO_MANIFEST

RESULTS = Path(__file__).parent / "results" / "demo.json"
DEMO = DEMO_MANIFEST.parent
ENROLLED = {emotion: sorted(DEMO.glob(f"{emotion}_*_1.ogg"))[:5] for emotion in ("anger", "fear", "sadness")}
QUERIES = sorted(DEMO.glob("*_2.ogg"))
PARTS = 5
"""After each of which the memory is read."""


def main() -> None:
    """Measure, write the results, and print them as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--predictions", type=int, default=200, help="of all clients together, timed")
    parser.add_argument("--more", type=int, default=1000, help="after them, for the memory")
    parser.add_argument("--live", type=float, default=20, help="seconds for which the visitor speaks")
    arguments = parser.parse_args()
    busy = os.getloadavg()[0]  # what else ran on the machine
    command = [sys.executable, "-m", "ser_fewshot", "demo"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as page:  # noqa: S603  # this program
        try:
            address = page.stdout.readline().split()[4] if page.stdout else ""
            visitor = visit(address, arguments.live)
            load = measure(address, page.pid, arguments)
        finally:
            page.terminate()
    result = {
        "command": "uv run python recipes/bench_demo.py",
        "machine": {**machine(), "load_before": busy},
        "load": load,
        **visitor,
    }
    write(RESULTS, result)


def visit(address: str, seconds: float) -> dict[str, Any]:
    """Let a visitor try the example set, then speak."""
    with tempfile.TemporaryDirectory() as folder:
        spoken = Path(folder) / "spoken.wav"
        samples, rate = soundfile.read(QUERIES[0])
        soundfile.write(spoken, samples, rate, subtype="PCM_16")
        with visiting(address, microphone=spoken) as page:
            return {"first_answer": to_first_answer(page), "live": live(page, seconds)}


def measure(address: str, pid: int, arguments: argparse.Namespace) -> dict[str, Any]:
    """Return latencies in s, memory in MiB before and after each part, and how many answers were not the library's."""
    clients = [Client(address, verbose=False, analytics_enabled=False) for _ in range(arguments.clients)]
    alone = FewShotClassifier.from_pretrained()
    alone.enroll(ENROLLED)
    expected = [alone.predict(clip).probabilities for clip in QUERIES]

    def ask(number: int) -> tuple[float, bool]:
        start = time.perf_counter()
        query = number // len(clients) % len(QUERIES)
        answer = clients[number % len(clients)].predict(handle_file(QUERIES[query]), api_name="/predict")
        right = all(abs(answer["probabilities"][label] - p) < 1e-3 for label, p in expected[query].items())
        return time.perf_counter() - start, right

    with ThreadPoolExecutor(len(clients)) as pool:
        list(pool.map(enrol, clients))
        start = time.perf_counter()
        seconds, right = zip(*pool.map(ask, range(arguments.predictions)), strict=True)
        wall, memory, more = time.perf_counter() - start, [resident(pid)], []
        for part in np.array_split(np.arange(arguments.more), PARTS):
            more += [correct for _, correct in pool.map(ask, part.tolist())]
            memory.append(resident(pid))
    return {
        "clients": arguments.clients,
        "asked": arguments.predictions,
        "answered": len(seconds),
        "wrong": right.count(False),
        "per_second": len(seconds) / wall,
        "median_s": float(np.median(seconds)),
        "p95_s": float(np.quantile(seconds, 0.95)),
        "more": arguments.more,
        "more_wrong": more.count(False),
        "memory_mib": memory,
    }


def enrol(client: Client) -> None:
    """Teach three emotions, five clips each."""
    for label, clips in ENROLLED.items():
        client.predict(label, [handle_file(clip) for clip in clips], api_name="/enroll")


def resident(pid: int) -> float:
    """Return the resident memory of a process in MiB (Linux)."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    return int(found[1]) / 1024 if found else float("nan")


if __name__ == "__main__":
    main()
