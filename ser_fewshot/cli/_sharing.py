"""Options of the commands that deal with what is outside: the hub, other formats, the shell, this installation."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

Commands = argparse._SubParsersAction  # argparse has no public name for what add_subparsers returns


def _push(commands: Commands[Any]) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        "push", help="send a model and its card to the Hugging Face hub"
    )
    parser.add_argument("folder", type=Path, metavar="MODEL", help="folder of a saved model; what else is there stays")
    parser.add_argument("id", metavar="USER/NAME", help="the repository, which is made if it is not there yet")
    parser.add_argument("--license", help="licence of the weights, such as cc-by-4.0, instead of the card's")
    parser.add_argument(
        "--results", type=Path, nargs="+", default=[], metavar="FILE", help="scores that 'evaluate --json' wrote of it"
    )
    parser.add_argument("--private", action="store_true", help="for your own eyes, if the repository is made")
    parser.add_argument("--message", default="A model of ser-fewshot", help="of the commit")
    parser.add_argument("--json", action="store_true", help="print as JSON")
    return parser


def _pull(commands: Commands[Any]) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser("pull", help="fetch a model from the Hugging Face hub")
    parser.add_argument(
        "id", metavar="USER/NAME", help="USER/NAME, or USER/NAME@REVISION for one commit, branch or tag"
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="a new folder (default: the cache of huggingface_hub)")
    parser.add_argument("--json", action="store_true", help="print as JSON")
    return parser


def _convert(commands: Commands[Any]) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        "convert", help="hand the clips of a manifest on to audformat or datasets"
    )
    parser.add_argument("manifest", type=Path, nargs="+", metavar="TABLE", help="what 'scan' wrote")
    parser.add_argument("--to", choices=("audformat", "datasets"), required=True, help="the library that reads them")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="a new folder")
    parser.add_argument("--copy", action="store_true", help="copy the clips too (audformat; datasets always has them)")
    parser.add_argument("--json", action="store_true", help="print as JSON")
    return parser


def _completion(commands: Commands[Any]) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        "completion", help="print what a shell completes commands and options by"
    )
    parser.add_argument("shell", choices=("bash", "zsh", "tcsh"), help='bash: eval "$(ser-fewshot completion bash)"')
    return parser


def _doctor(commands: Commands[Any]) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        "doctor", help="tell what is installed and works, what is missing, and what to do"
    )
    parser.add_argument("--json", action="store_true", help="print as JSON")
    parser.add_argument("--cache", type=Path, metavar="DIR", help="where features are kept (default: the user's cache)")
    return parser


SHARING = (_push, _pull, _convert, _completion, _doctor)
