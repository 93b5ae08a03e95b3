"""Show how much is kept on disk, or remove it."""

from __future__ import annotations

import argparse

from ser_fewshot import frontends
from ser_fewshot.cli._console import say, say_json
from ser_fewshot.cli._text import counted
from ser_fewshot.errors import SettingsError


def run(arguments: argparse.Namespace) -> None:
    """Print the number of cached clips and their size; with --clear, remove them.

    Raises:
        SettingsError: the cache is a file.
    """
    directory = arguments.cache or frontends.default_directory()
    if directory.is_file():
        raise SettingsError(
            str(directory), found="a file", expected="the folder of a cache", remedy="Correct --cache, or leave it out."
        )
    entries, size = frontends.size(directory)
    if arguments.clear:
        frontends.clear(directory)
    if arguments.json:
        say_json({"directory": str(directory), "entries": entries, "bytes": size, "cleared": arguments.clear})
    else:
        where = "removed from" if arguments.clear else "in"
        say(f"{counted(entries, 'clip')}, {size / 1e6:.1f} MB {where} {directory}")
