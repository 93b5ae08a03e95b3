"""How pytest-xdist shares the tests between its workers: by file, the long ones first."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

TESTS = Path(__file__).parent.name
TOGETHER = {
    # One server and one browser for all that open the page.
    "page": ("app/",),
    # numba compiles parts of librosa for 20 s in each process that first imports them.
    "librosa": ("frontends/test_embedders.py", "frontends/test_logmel.py", "recipes/test_demo_clips.py"),
}
"""Files, or folders, whose tests share a worker because what they have to set up is slow."""
LONGEST_FIRST = ("page",)


def group_of(nodeid: str) -> str:
    """Return which tests a test shares its worker, and its fixtures, with: those of its file at least."""
    path = nodeid.partition("::")[0].removeprefix(f"{TESTS}/")
    return next((group for group, paths in TOGETHER.items() if path.startswith(paths)), path)


class LongestFirst(LoadScopeScheduling):
    """Hands out groups of tests, so that no long one begins when the other worker has nothing left to do."""

    def _split_scope(self, nodeid: str) -> str:
        return group_of(nodeid)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LongestFirst | None:
    """Take the place of `--dist loadgroup`, whose marks are ignored since pytest 9.2.

    https://github.com/pytest-dev/pytest-xdist/issues/1386
    """
    if config.getoption("dist") != "loadgroup":
        return None
    config.option.loadscopereorder = False  # by the number of tests, which is not how long they take
    return LongestFirst(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sort the tests by how long their group takes."""
    rank = {group: number for number, group in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: rank.get(group_of(item.nodeid), len(rank)))
