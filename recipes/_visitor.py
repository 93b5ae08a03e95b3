"""Time the page of `ser-fewshot demo` as a visitor would, in the system's Chromium."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from playwright.sync_api import Browser, Locator, Page, Playwright, sync_playwright

WORDS_A_MINUTE = 238
"""Of silent reading: Brysbaert, "How many words do we read per minute?", 2019,
https://doi.org/10.1016/j.jml.2019.104047."""
AIM_SECONDS = 2.0
"""To find a button and to press it."""
_PATIENCE = 120_000  # ms

_WATCH = """() => {
  window.answers = new Map();  // of the window that ended after so many seconds: when its answer stood there
  document.querySelector("#stream .record-button").addEventListener("click", () => window.pressed = performance.now());
  new MutationObserver(() => {
    const end = document.querySelector("#live-answer")?.dataset.end;
    if (end && !answers.has(end)) answers.set(end, performance.now());
  }).observe(document.querySelector("#timeline"), {childList: true, subtree: true});
}"""


def chromium(playwright: Playwright, program: str | None, *, microphone: Path) -> Browser:
    """Start the system's Chromium without a window; its microphone plays a WAV file in a loop."""
    return playwright.chromium.launch(
        executable_path=program,
        args=[
            "--no-sandbox",  # in containers, programs run as root
            "--use-fake-device-for-media-stream",
            "--use-fake-ui-for-media-stream",
            f"--use-file-for-fake-audio-capture={microphone}",
        ],
    )


@contextmanager
def visiting(address: str, *, microphone: Path) -> Iterator[Page]:
    """Open a browser whose microphone plays a WAV file in a loop; yield a page that is not at the address yet."""
    with sync_playwright() as playwright:
        browser = chromium(playwright, shutil.which("chromium"), microphone=microphone)
        page = browser.new_page(base_url=address, locale="en-US")
        page.set_default_timeout(_PATIENCE)
        yield page
        browser.close()


def to_first_answer(page: Page) -> dict[str, float]:
    """Open the page, read it, load the example set, read on, try a clip; return the seconds, and those of reading."""
    start = time.perf_counter()
    page.goto("/")
    page.wait_for_selector("#classes .empty")
    head, teach, recognise = map(_words, [page.locator(".head"), *page.locator(".card").all()[:2]])
    reading = _read(page, head + teach)
    page.click("#examples")
    page.wait_for_selector("#classes details")
    reading += _read(page, recognise + _words(page.locator("#teach-notes")))
    page.click("#example")
    page.wait_for_selector("#answer .headline")
    return {
        "seconds": time.perf_counter() - start,
        "of_these_reading_and_aiming": reading,
        "words_a_minute": WORDS_A_MINUTE,
        "seconds_to_aim_at_a_button": AIM_SECONDS,
    }


def live(page: Page, seconds: float) -> dict[str, Any]:
    """Let the microphone run; return the latencies in s, from the end of a window to its answer on the page.

    Time is counted from the press of the button, a little before the microphone starts: latencies are overestimated.
    """
    page.get_by_label("Live", exact=True).check()
    page.evaluate(_WATCH)
    page.click("#stream .record-button")
    page.wait_for_selector("#live-answer")
    page.wait_for_timeout(1000 * seconds)
    pressed, answers = page.evaluate("() => [window.pressed, [...window.answers]]")
    page.click("#stream .stop-button")
    latencies = [(shown - pressed) / 1000 - float(end) for end, shown in answers]
    return {
        "answers": len(latencies),
        "median_s": float(np.median(latencies)),
        "p95_s": float(np.quantile(latencies, 0.95)),
        "largest_s": max(latencies),
    }


def _words(place: Locator) -> int:
    """Count the words of a part of the page, without the names of this machine's microphones."""
    devices = place.locator("select").all_inner_texts()
    return len(place.inner_text().split()) - sum(len(names.split()) for names in devices)


def _read(page: Page, words: int) -> float:
    """Wait as long as reading so many words and aiming at a button takes; return the seconds."""
    seconds = 60 * words / WORDS_A_MINUTE + AIM_SECONDS
    page.wait_for_timeout(1000 * seconds)
    return seconds
