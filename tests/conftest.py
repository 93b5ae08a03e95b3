"""What several tests share: where the real corpora are, and small audio that is made on the spot."""

from __future__ import annotations

import gc
import multiprocessing
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[1]
CACHE = ROOT / ".pytest_cache"

# Where Python writes no bytecode (PYTHONDONTWRITEBYTECODE, as in many containers), each process that tests start would
# compile torch, gradio and transformers anew, which takes as long as many tests.
if sys.dont_write_bytecode:
    sys.dont_write_bytecode = False
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.pycache_prefix = os.environ["PYTHONPYCACHEPREFIX"] = str(CACHE / "bytecode")

# Before torch is imported: threads that wait for each other cost tests on small tensors several times their work.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Where a test asks for more, they sleep while they wait, for the cores are those of other tests.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

# Before numba is imported: two processes that fill one cache can leave files there that crash whoever reads them
# (https://github.com/numba/numba/issues/10128). What it compiles runs on seconds of sound: optimising takes longer.
os.environ.setdefault("NUMBA_OPT", "0")
os.environ["NUMBA_CACHE_DIR"] = str(CACHE / f"numba-{os.environ.get('PYTEST_XDIST_WORKER', 'alone')}")

# The same cases on every run, and no judgement of how long they take: machines are noisy.
settings.register_profile("house", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("house")

SHARED = ROOT.parent / "shared"

LONGEST_FIRST = {"test_page.py", "test_docs.py", "test_recipes.py", "test_onnx.py", "test_loop.py"}
"""Files that a worker of pytest-xdist begins with, so that the other does not wait for one of them at the end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.path.name not in LONGEST_FIRST)


def pytest_collection_finish() -> None:
    """Spare the garbage collector millions of objects of imported modules, which stay to the end anyway."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


@pytest.fixture
def run(capfd):
    """Call the program as a shell would; return exit code, stdout, stderr."""

    from ser_fewshot.cli import main as cli

    def call(*arguments: object) -> tuple[int, str, str]:
        capfd.readouterr()
        try:
            code = cli.main([str(argument) for argument in arguments])
        except SystemExit as leaving:
            code = leaving.code
        return code, *capfd.readouterr()

    return call


@pytest.fixture(scope="session")
def corpora_root() -> Path:
    """The folder of the real corpora, or a skip that says so."""
    root = SHARED / "corpora"
    if not root.is_dir():
        pytest.skip(f"the real corpora are not beside the checkout ({root.parent.name}/{root.name})")
    return root


@pytest.fixture(scope="session")
def emobox_root() -> Path:
    """The folder of the real EmoBox metadata, or a skip that says so."""
    root = SHARED / "emobox"
    if not root.is_dir():
        pytest.skip(f"the EmoBox metadata are not beside the checkout ({root.parent.name}/{root.name})")
    return root


def forked(work: Callable[[], Any]) -> Any:
    """What some work gives in a forked process; a failure if it waits for what is not there."""
    context = multiprocessing.get_context("fork")
    answers = context.SimpleQueue()
    process = context.Process(target=lambda: answers.put(work()))
    process.start()
    process.join(60)
    if process.is_alive():
        process.kill()
        pytest.fail("the forked process hangs")
    assert process.exitcode == 0
    return answers.get()


def tone(seconds: float = 1.0, *, hertz: float = 220.0, rate: int = 16_000, peak: float = 0.3) -> NDArray[np.float32]:
    """A harmonic tone that no check of the audio door objects to: (samples,) float32."""
    t = np.arange(round(seconds * rate)) / rate
    wave = np.sin(2 * np.pi * hertz * t) + 0.5 * np.sin(4 * np.pi * hertz * t)
    return (peak * wave / np.abs(wave).max()).astype(np.float32)
