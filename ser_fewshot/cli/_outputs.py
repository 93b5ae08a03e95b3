"""Where commands write: what stands there already is replaced only if --force says so."""

from __future__ import annotations

import argparse
from pathlib import Path

from ser_fewshot.errors import SettingsError


def add_force(parser: argparse.ArgumentParser) -> None:
    """Add the option to replace what stands where a command writes."""
    parser.add_argument("--force", action="store_true", help="replace what stands there already")


def require_new(option: str, path: Path | None, arguments: argparse.Namespace, *, folder: bool = False) -> None:
    """Refuse, before the work begins, a place where something stands already.

    Raises:
        SettingsError: a folder is there and a file is to be written; or a file is there, or a folder that is not empty,
            and --force was not given.
    """
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
