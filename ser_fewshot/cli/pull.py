"""Fetch a model from the Hugging Face hub."""

from __future__ import annotations

import argparse
from pathlib import Path

from ser_fewshot.cli._console import answer, note
from ser_fewshot.cli._options import add_shared


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `pull`."""
    parser.add_argument("id", metavar="USER/NAME", help="USER/NAME, or USER/NAME@REVISION for a commit, branch or tag")
    parser.add_argument("--out", type=Path, metavar="DIR", help="a new folder (default: the cache of huggingface_hub)")
    add_shared(parser, "--json")


def run(arguments: argparse.Namespace) -> None:
    """Write a model to a folder, load it, and print what it is."""
    from ser_fewshot.cli._data import read_model
    from ser_fewshot.storage.hub import pull

    note(f"asking the Hugging Face hub for {arguments.id}")
    folder = pull(arguments.id, out=arguments.out)
    config = read_model(folder).config
    answer(
        arguments,
        {"model": str(folder), "learner": config.learner, "frontend": config.frontend},
        f"{config.learner} on {config.frontend}: {folder}; enrol with 'ser-fewshot enroll --model {folder}'",
    )
