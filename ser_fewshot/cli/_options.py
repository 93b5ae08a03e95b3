"""Options that several commands have, the numbers that options take, and the check of where a command writes."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ser_fewshot.errors import EnrollmentError, SettingsError
from ser_fewshot.storage.paths import what_is

_SEEDS = 2**31  # larger ones are the program's own, for meta-validation


def count(text: str) -> int:
    """Parse a number of things, at least one."""
    return _whole(text, least=1)


def seed(text: str) -> int:
    """Parse a seed, or another number that may be 0."""
    return _whole(text, least=0)


def _whole(text: str, *, least: int) -> int:
    try:
        value = int(text)
    except ValueError:
        value = -1
    if not least <= value < _SEEDS:
        raise argparse.ArgumentTypeError(f"found {text!r:.40}; expected a whole number from {least} to {_SEEDS - 1}")
    return value


_SHARED: dict[str, dict[str, Any]] = {
    "--manifest": {"type": Path, "nargs": "+", "required": True, "metavar": "TABLE", "help": "what 'scan' wrote"},
    "--model": {"type": Path, "help": "folder of a saved model; the one in the package by default"},
    "--cache": {"type": Path, "metavar": "DIR", "help": "where features are kept (default: the user's cache)"},
    "--json": {"action": "store_true", "help": "print as JSON"},
    "--force": {"action": "store_true", "help": "replace what stands there already"},
    "--device": {
        "default": "auto",
        "help": "cpu | cuda | cuda:NUMBER | auto, a GPU where there is one (default: auto)",
    },
    "--normalization": {
        "choices": ("none", "clip", "speaker"),
        "help": "mean and spread that features are measured against; 'speaker' looks at all of a speaker's clips",
    },
}


def add_shared(parser: argparse.ArgumentParser, *options: str) -> None:
    """Add some of the options that several commands have."""
    for option in options:
        parser.add_argument(option, **_SHARED[option])


def require_new(option: str, path: Path | None, arguments: argparse.Namespace, *, folder: bool = False) -> None:
    """Refuse, before the work begins, to write over what exists."""
    if path is not None and path.is_dir() and not folder:
        raise SettingsError(option, found=f"the folder {path}", expected="a file", remedy="Add the name of a file.")
    if path is None or arguments.force or not path.exists() or (path.is_dir() and not any(path.iterdir())):
        return
    raise SettingsError(
        option,
        found=f"{path}, which is there already",
        expected="a new place",
        remedy="Choose another one, or replace what is there with --force.",
    )


def check_order(arguments: argparse.Namespace) -> None:
    """Refuse a clip in the place of the enrolment, which would otherwise only be called damaged."""
    enrollment = arguments.enrollment
    if what_is(enrollment) != "a sound file":
        return
    swapped = [path for path in arguments.clips if what_is(path) != "a sound file"]
    raise EnrollmentError(
        str(enrollment),
        found="a sound file as the first argument",
        expected="the enrolment file first, then the clips",
        remedy=f"The arguments look swapped: ser-fewshot {arguments.command} {swapped[0]} {enrollment}"
        if swapped
        else "Name the file that 'enroll' wrote before the clips.",
    )
