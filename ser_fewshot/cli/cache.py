"""Show or clear the features kept on disk."""

from __future__ import annotations

import argparse

from ser_fewshot.cli._console import answer, counted
from ser_fewshot.cli._options import add_shared
from ser_fewshot.errors import SettingsError


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `cache`."""
    parser.add_argument("--clear", action="store_true", help="remove them; they are computed again when needed")
    add_shared(parser, "--json", "--cache")


def run(arguments: argparse.Namespace) -> None:
    """Print the number of cached clips and their size; with --clear, remove them."""
    from ser_fewshot import frontends

    directory = arguments.cache or frontends.default_directory()
    if directory.is_file():
        raise SettingsError(
            str(directory), found="a file", expected="the folder of a cache", remedy="Correct --cache, or leave it out."
        )
    entries, size = frontends.size(directory)
    if arguments.clear:
        frontends.clear(directory)
    where = "removed from" if arguments.clear else "in"
    answer(
        arguments,
        {"directory": str(directory), "entries": entries, "bytes": size, "cleared": arguments.clear},
        f"{counted(entries, 'clip')}, {size / 1e6:.1f} MB {where} {directory}",
    )
