"""The options of the command that writes the report of a benchmark."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def add_report(commands: argparse._SubParsersAction[Any]) -> argparse.ArgumentParser:
    """Add the command `report`."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "report", help="write the page of a benchmark, finished or not, and its tables as CSV and LaTeX"
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="its folder")
    parser.add_argument("--corpora", type=Path, metavar="DIR", help="what it ran on: adds maps with clips to play")
    parser.add_argument(
        "--play", action="store_true", help="also clips that may not be passed on; the page is then for you alone"
    )
    parser.add_argument("--model", type=Path, help="the model of the maps; the one in the package by default")
    parser.add_argument("--cache", type=Path, metavar="DIR", help="where features are kept (default: the user's cache)")
    parser.add_argument("--json", action="store_true", help="print what was written as JSON")
    return parser
