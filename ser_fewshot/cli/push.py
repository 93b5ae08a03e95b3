"""Send a saved model to the Hugging Face hub."""

from __future__ import annotations

import argparse
from pathlib import Path

from ser_fewshot.cli._console import note, note_random, say, say_json
from ser_fewshot.errors import SettingsError
from ser_fewshot.models import load_model
from ser_fewshot.storage.hub import is_id, push
from ser_fewshot.storage.tensors import read_config


def run(arguments: argparse.Namespace) -> None:
    """Send a model that can be read, and say where it lies now.

    Raises:
        SettingsError: folder and id are swapped.
    """
    if is_id(str(arguments.folder)) and Path(arguments.id).is_dir():
        raise SettingsError(
            "push",
            found=f"the id {arguments.folder} before the folder {arguments.id}",
            expected="the folder of the model first, then its id on the hub",
            remedy=f"Swap them: ser-fewshot push {arguments.id} {arguments.folder}",
        )
    results = [read_config(path) for path in arguments.results]
    note_random(load_model(arguments.folder))  # what cannot be read here is of no use to anybody there
    note(f"sending {arguments.folder} to the Hugging Face hub as {arguments.id}")
    sent = push(
        arguments.folder,
        arguments.id,
        licence=arguments.license,
        results=results,
        private=arguments.private,
        message=arguments.message,
    )
    if arguments.json:
        say_json({"repo": sent.repo, "revision": sent.revision, "url": sent.url})
    else:
        say(f"{sent.url}; get it with 'ser-fewshot pull {sent.repo}@{sent.revision[:12]} --out DIR'")
