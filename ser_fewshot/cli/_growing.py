"""The options of commands that grow: where to compute, how exactly, and the command that fills the cache beforehand."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def add_device(parser: argparse.ArgumentParser) -> None:
    """Add where networks compute: one option and one default for all commands."""
    parser.add_argument(
        "--device", default="auto", help="cpu | cuda | cuda:NUMBER | auto, a GPU where there is one (default: auto)"
    )


def add_precision(parser: argparse.ArgumentParser) -> None:
    """Add what encoders are trained in."""
    parser.add_argument(
        "--precision",
        choices=("fp32", "bf16", "fp16"),
        default="fp32",
        help="what the encoder computes in while it is trained (default: fp32)",
    )


def add_extract(commands: argparse._SubParsersAction[Any]) -> argparse.ArgumentParser:
    """Add the command `extract`."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "extract", help="fill the cache with features, which train and evaluate begin with"
    )
    parser.add_argument("--manifest", type=Path, nargs="+", required=True, metavar="TABLE", help="what 'scan' wrote")
    parser.add_argument("--model", type=Path, help="folder of a saved model; the one in the package by default")
    parser.add_argument("--cache", type=Path, metavar="DIR", help="where features are kept (default: the user's cache)")
    parser.add_argument("--json", action="store_true", help="print as JSON")
    add_device(parser)
    return parser
