"""Fetch a model from the Hugging Face hub."""

from __future__ import annotations

import argparse

from ser_fewshot.cli._console import note, note_random, say, say_json
from ser_fewshot.models import load_model
from ser_fewshot.storage.hub import pull


def run(arguments: argparse.Namespace) -> None:
    """Write a model to a folder, read it, and say what it is."""
    note(f"asking the Hugging Face hub for {arguments.id}")
    folder = pull(arguments.id, out=arguments.out)
    model = load_model(folder)
    note_random(model)
    told = {"model": str(folder), "learner": model.config.learner, "frontend": model.config.frontend}
    if arguments.json:
        say_json(told)
    else:
        say(f"{told['learner']} on {told['frontend']}: {folder}; enrol with 'ser-fewshot enroll --model {folder}'")
