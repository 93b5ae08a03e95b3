"""The page, served to tests by a thread of their own process, with connections to anywhere else refused."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from app.launch import served

DEMO = Path(__file__).parents[2] / "ser_fewshot" / "assets" / "demo"
VOICES = ("en-f1", "en-m7", "en-us-f5", "en-us-m1", "en-gb-scotland-f3")


def clips(emotion: str, count: int = 3, *, sentence: int = 1) -> list[str]:
    """Paths of synthetic clips of an emotion, each by another voice."""
    return [str(DEMO / f"{emotion}_{voice}_{sentence}.ogg") for voice in VOICES[:count]]


@contextmanager
def page_alone(**settings: Any) -> Iterator[str]:
    """Serve the page and fail if this process talks to anything but this machine meanwhile."""
    strangers: list[object] = []
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: Any) -> None:
        if isinstance(address, tuple) and address[0] not in ("127.0.0.1", "::1", "localhost"):
            strangers.append(address)
            raise ConnectionRefusedError(f"a test forbids to connect to {address}")
        connect(self, address)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", guarded)
        with served(**settings) as address:
            yield address
    assert strangers == []


@pytest.fixture(scope="session")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a page with a store, which all tests share."""
    with page_alone(store=tmp_path_factory.mktemp("store")) as where:
        yield where
