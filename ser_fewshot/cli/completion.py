"""Print what a shell completes commands and options by."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from ser_fewshot import plugins


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `completion`."""
    parser.add_argument("shell", choices=("bash", "zsh", "tcsh"), help='bash: eval "$(ser-fewshot completion bash)"')


def run(arguments: argparse.Namespace) -> None:
    """Print the script for a shell, made from the parser itself."""
    import shtab

    parser = arguments.parser
    for action in _actions(parser):
        if action.type is Path or action.dest in ("source", "emotion"):
            action.complete = shtab.DIRECTORY if action.metavar == "DIR" else shtab.FILE  # type: ignore[attr-defined]
        elif action.dest in ("learner", "corpus", "name"):
            # Not among the options themselves, so that a wrong name is answered with a hint.
            action.choices = plugins.names("learners" if action.dest == "learner" else "corpora")
    sys.stdout.write(shtab.complete(parser, arguments.shell) + "\n")


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Yield every option and argument of a parser and of its commands."""
    for action in parser._actions:
        yield action
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield from _actions(command)
