"""Show how much is kept on disk, or remove it."""

from __future__ import annotations

import argparse

from ser_fewshot import frontends
from ser_fewshot.commands._console import say, say_json
from ser_fewshot.commands._text import counted


def run(arguments: argparse.Namespace) -> None:
    """Print the number of cached clips and their size; with --clear, remove them."""
    directory = arguments.cache or frontends.default_directory()
    entries, size = frontends.size(directory)
    if arguments.clear:
        frontends.clear(directory)
    if arguments.json:
        say_json({"directory": str(directory), "entries": entries, "bytes": size, "cleared": arguments.clear})
    else:
        where = "removed from" if arguments.clear else "in"
        say(f"{counted(entries, 'clip')}, {size / 1e6:.1f} MB {where} {directory}")
