"""List the corpora and formats that can be read."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import Any

from ser_fewshot.cli._console import say, say_json, say_table, words
from ser_fewshot.cli._options import add_shared


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `corpora`."""
    parser.add_argument("name", nargs="?", help="show all about one of them")
    add_shared(parser, "--json")


def run(arguments: argparse.Namespace) -> None:
    """Print every corpus with its licence, or all about one."""
    from ser_fewshot import corpora

    chosen = [arguments.name] if arguments.name is not None else corpora.names()
    cards = {name: asdict(corpora.card(name)) for name in chosen}
    if arguments.json:
        say_json(cards)
    elif arguments.name is not None:
        for field, value in cards[arguments.name].items():
            say(f"{field}: {words(value)}")
    else:
        header = ("name", "title", "language", "speakers", "clips", "licence")
        say_table(header, ((name, *_row(card)) for name, card in cards.items()))


def _row(card: dict[str, Any]) -> tuple[object, ...]:
    clips = sum(card["expected"].values())
    return card["title"], card["language_name"], card["n_speakers"] or "", clips or "", card["licence"]
