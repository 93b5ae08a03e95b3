"""The options of `benchmark`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ser_fewshot.cli._growing import add_device
from ser_fewshot.cli._numbers import count, seed


def add_benchmark(commands: argparse._SubParsersAction[Any]) -> argparse.ArgumentParser:
    """Add the command `benchmark`."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "benchmark", help="compare all methods on all protocols over a folder of corpora"
    )
    parser.add_argument("--corpora", type=Path, required=True, metavar="DIR", help="folder of corpora, or of manifests")
    parser.add_argument(
        "--out", type=Path, required=True, metavar="RUN", help="folder of the run, which goes on if it is there"
    )
    parser.add_argument(
        "--learners", nargs="+", default=["all"], metavar="NAME", help="all, or some; NAME:KEY=VALUE changes a setting"
    )
    parser.add_argument("--protocols", nargs="+", metavar="NAME", help="some of them (default: all)")
    parser.add_argument("--baselines", action="store_true", help="what else could be used: openSMILE, GE2E, a probe")
    parser.add_argument("--episodes", type=count, help="of each cell (default: 600)")
    parser.add_argument("--seed", type=seed, default=0, help="of episodes, splits and training (default: 0)")
    parser.add_argument("--workers", type=count, help="processes on this machine (default: one a core)")
    add_device(parser)
    parser.add_argument("--smoke", action="store_true", help="train for two steps, to see that all of it runs")
    parser.add_argument("--only", metavar="KEY", help="one cell, PROTOCOL/CORPUS/METHOD as in the results")
    parser.add_argument("--against", type=Path, metavar="RESULTS", help="fail if cells differ from those of this run")
    parser.add_argument(
        "--play", action="store_true", help="let the report play clips whose licence does not let them be passed on"
    )
    parser.add_argument("--json", action="store_true", help="print what was done as JSON")
    parser.add_argument("--cache", type=Path, metavar="DIR", help="where features are kept (default: the user's cache)")
    return parser
