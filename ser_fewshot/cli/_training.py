"""The options of `train`, and those that it shares with other commands that read manifests."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ser_fewshot import plugins
from ser_fewshot.cli._growing import add_device, add_precision
from ser_fewshot.cli._numbers import count, seed


def add_train(commands: argparse._SubParsersAction[Any]) -> argparse.ArgumentParser:
    """Add the command `train`."""
    parser: argparse.ArgumentParser = commands.add_parser("train", help="meta-train a learner over episodes")
    add_manifest(parser)
    parser.add_argument("--out", type=Path, required=True, help="folder of the run; the model goes to OUT/model")
    parser.add_argument("--learner", default="protonet", help=" | ".join(plugins.names("learners")))
    parser.add_argument(
        "--model", type=Path, help="train on the front-end, and the blocks to tune, of this one from 'import'"
    )
    parser.add_argument("--config", type=Path, help="TOML with the sections [settings], [train] and [augmentation]")
    parser.add_argument("--hold-out-corpus", nargs="+", default=[], metavar="NAME", help="corpora kept for meta-test")
    parser.add_argument("--hold-out-emotion", nargs="+", default=[], metavar="NAME", help="emotions kept for meta-test")
    parser.add_argument(
        "--hold-out-speakers",
        nargs="+",
        default=[],
        metavar="NAME",
        help="speakers kept for meta-test, as NAME or CORPUS/NAME; their clips go to OUT/held_out.csv",
    )
    parser.add_argument("--epochs", type=count, help="instead of the configuration's")
    parser.add_argument("--seed", type=seed, help="instead of the configuration's (default: 0)")
    parser.add_argument("--resume", action="store_true", help="go on from the run's last finished epoch")
    add_device(parser)
    add_precision(parser)
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    add_normalization(parser)
    add_cache(parser)
    return parser


def add_manifest(parser: argparse.ArgumentParser) -> None:
    """Add the tables of clips."""
    parser.add_argument("--manifest", type=Path, nargs="+", required=True, metavar="TABLE", help="what 'scan' wrote")


def add_cache(parser: argparse.ArgumentParser) -> None:
    """Add where features are kept."""
    parser.add_argument("--cache", type=Path, metavar="DIR", help="where features are kept (default: the user's cache)")


def add_normalization(parser: argparse.ArgumentParser) -> None:
    """Add what features are measured against."""
    parser.add_argument(
        "--normalization",
        choices=("none", "clip", "speaker"),
        help="mean and spread that features are measured against; 'speaker' looks at all of a speaker's clips",
    )
