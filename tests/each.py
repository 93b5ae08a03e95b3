"""A test of several values that is one case."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable
from typing import Any

import pytest


def each(names: str | tuple[str, ...], values: Iterable[Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Run a test for each value, or tuple of values, of its arguments, as `pytest.mark.parametrize` does, in one case.

    Fixtures are set up once; each value is a subtest of pytest.
    """
    arguments = [name.strip() for name in names.split(",")] if isinstance(names, str) else list(names)
    rows = [tuple(value) if len(arguments) > 1 else (value,) for value in values]

    def decorate(test: Callable[..., None]) -> Callable[..., None]:
        signature = inspect.signature(test)
        kept = [one for name, one in signature.parameters.items() if name not in (*arguments, "subtests")]

        @functools.wraps(test)
        def run(subtests: pytest.Subtests, **fixtures: Any) -> None:
            if "subtests" in signature.parameters:  # of a test that is run for each of other values too
                fixtures["subtests"] = subtests
            for row in rows:
                chosen = dict(zip(arguments, row, strict=True))
                with subtests.test(f"{chosen!r:.400}"):
                    test(**fixtures, **chosen)

        subtests = inspect.Parameter("subtests", inspect.Parameter.KEYWORD_ONLY)
        del run.__wrapped__
        run.__signature__ = signature.replace(parameters=[*kept, subtests])  # type: ignore[attr-defined]
        return run

    return decorate
