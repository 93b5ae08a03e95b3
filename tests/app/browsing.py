"""A real browser on the page: the system's Chromium without a window, its microphone fed from a file."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
import soundfile
import soxr
from _visitor import chromium
from pages import DEMO
from playwright.sync_api import Browser, BrowserContext, Locator, Page, Route, expect, sync_playwright

_RATE = 48_000
_PATIENCE = 60_000  # ms: machines of tests are slow
_OF_THE_PAGE_ITSELF = ("data", "blob")

pytest_plugins = ["pages"]

expect.set_options(timeout=_PATIENCE)


@pytest.fixture(scope="session")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the microphone hears, over and over: a sad voice, two sentences."""
    parts = []
    for sentence in (1, 2):
        samples, rate = soundfile.read(DEMO / f"sadness_en-m7_{sentence}.ogg")
        parts += [soxr.resample(samples, rate, _RATE), np.zeros(_RATE // 3)]
    path = tmp_path_factory.mktemp("microphone") / "spoken.wav"
    soundfile.write(path, np.concatenate(parts), _RATE, subtype="PCM_16")
    return path


@pytest.fixture(scope="session")
def browser(spoken: Path) -> Iterator[Browser]:
    program = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        pytest.skip("no Chromium on this machine: install Debian's package 'chromium'")
    with sync_playwright() as playwright:
        started = chromium(playwright, program, microphone=spoken)
        yield started
        started.close()


def _visit(browser: Browser, address: str, **settings: object) -> Iterator[Page]:
    context: BrowserContext = browser.new_context(**{"locale": "en-US", **settings})
    asked_elsewhere, errors = [], []

    def only_this_machine(route: Route) -> None:
        url = urlsplit(route.request.url)
        if url.scheme in _OF_THE_PAGE_ITSELF or url.hostname == "127.0.0.1":
            route.continue_()
        else:
            asked_elsewhere.append(route.request.url)
            route.abort()

    context.route("**/*", only_this_machine)
    context.set_default_timeout(_PATIENCE)
    page = context.new_page()
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(address)
    page.wait_for_selector("#classes .empty")
    yield page
    context.close()
    assert not asked_elsewhere, asked_elsewhere
    assert not errors, errors


@pytest.fixture
def page(browser: Browser, address: str) -> Iterator[Page]:
    yield from _visit(browser, address, viewport={"width": 1280, "height": 900})


@pytest.fixture
def phone(browser: Browser, address: str) -> Iterator[Page]:
    yield from _visit(browser, address, viewport={"width": 390, "height": 844}, has_touch=True, locale="ko-KR")


def enrol(page: Page, label: str, files: list[str]) -> None:
    """Drop files under a label."""
    page.get_by_label("Name of the emotion").fill(label)
    page.set_input_files("#drop input[type=file]", files)
    expect(klass(page, label)).to_be_visible()


def klass(page: Page, label: str) -> Locator:
    """What is enrolled under a label."""
    return page.locator("#classes details", has=page.locator("strong", has_text=label))


def record(page: Page, where: str, *, milliseconds: int) -> None:
    """Record; the microphone begins its file anew every time, so two takes of one length are the same sound."""
    page.click(f"{where} .record-button")
    expect(page.locator(f"{where} .stop-button")).to_be_visible()
    page.wait_for_timeout(milliseconds)
    page.click(f"{where} .stop-button")


def labels(page: Page) -> list[str]:
    return page.locator("#classes summary strong").all_inner_texts()
