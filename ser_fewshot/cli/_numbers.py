"""Numbers on the command line, for argparse: what is none, or out of range, is refused with the range."""

from __future__ import annotations

import argparse

_LAST_PORT = 2**16 - 1
_SEEDS = 2**31  # larger ones are the program's own, for meta-validation


def _whole(text: str, *, least: int) -> int:
    """Return a whole number, for argparse.

    Raises:
        ArgumentTypeError: it is none, or out of range.
    """
    try:
        value = int(text)
    except ValueError:
        value = -1
    if not least <= value < _SEEDS:
        raise argparse.ArgumentTypeError(f"found {text!r:.40}; expected a whole number from {least} to {_SEEDS - 1}")
    return value


def count(text: str) -> int:
    """Return a number of things, at least one."""
    return _whole(text, least=1)


def port(text: str) -> int:
    """Return a port of TCP."""
    number = _whole(text, least=1)
    if number > _LAST_PORT:
        raise argparse.ArgumentTypeError(f"found {number}; expected a port from 1 to {_LAST_PORT}")
    return number


def seed(text: str) -> int:
    """Return a seed, or another number that may be 0."""
    return _whole(text, least=0)


def layer(text: str) -> int | str:
    """Return the number of a layer, or "weighted"."""
    return text if text == "weighted" else _whole(text, least=0)
