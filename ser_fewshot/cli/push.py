"""Send a model and its card to the Hugging Face hub."""

from __future__ import annotations

import argparse
from pathlib import Path

from ser_fewshot.cli._console import answer, note
from ser_fewshot.cli._options import add_shared
from ser_fewshot.errors import SettingsError


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `push`."""
    add = parser.add_argument
    add("folder", type=Path, metavar="MODEL", help="folder of a saved model; what else is there stays")
    add("id", metavar="USER/NAME", help="the repository, which is made if it is not there yet")
    add("--license", help="licence of the weights, such as cc-by-4.0, instead of the card's")
    add("--results", type=Path, nargs="+", default=[], metavar="FILE", help="scores that 'evaluate --json' wrote of it")
    add("--private", action="store_true", help="for your own eyes, if the repository is made")
    add("--message", default="A model of ser-fewshot", help="of the commit")
    add_shared(parser, "--json")


def run(arguments: argparse.Namespace) -> None:
    """Send a model that can be loaded, and print its address."""
    from ser_fewshot.cli._data import read_model
    from ser_fewshot.storage.hub import is_id, push
    from ser_fewshot.storage.tensors import read_config

    if is_id(str(arguments.folder)) and Path(arguments.id).is_dir():
        raise SettingsError(
            "push",
            found=f"the id {arguments.folder} before the folder {arguments.id}",
            expected="the folder of the model first, then its id on the hub",
            remedy=f"Swap them: ser-fewshot push {arguments.id} {arguments.folder}",
        )
    results = [read_config(path) for path in arguments.results]
    read_model(arguments.folder)  # a model that cannot be loaded here cannot be loaded there either
    note(f"sending {arguments.folder} to the Hugging Face hub as {arguments.id}")
    sent = push(
        arguments.folder,
        arguments.id,
        licence=arguments.license,
        results=results,
        private=arguments.private,
        message=arguments.message,
    )
    answer(
        arguments,
        {"repo": sent.repo, "revision": sent.revision, "url": sent.url},
        f"{sent.url}; get it with 'ser-fewshot pull {sent.repo}@{sent.revision[:12]} --out DIR'",
    )
