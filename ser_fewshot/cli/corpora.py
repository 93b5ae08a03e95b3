"""List the corpora that can be read, or show the card of one."""

from __future__ import annotations

import argparse
from dataclasses import asdict

from ser_fewshot import corpora
from ser_fewshot.cli._console import say, say_json, say_table
from ser_fewshot.cli._text import words


def run(arguments: argparse.Namespace) -> None:
    """Print every corpus with its licence, or all about one."""
    chosen = [arguments.name] if arguments.name is not None else corpora.names()
    cards = {name: asdict(corpora.card(name)) for name in chosen}
    if arguments.json:
        say_json(cards)
    elif arguments.name is not None:
        for field, value in cards[arguments.name].items():
            say(f"{field}: {words(value)}")
    else:
        say_table(
            ("name", "title", "language", "speakers", "clips", "licence"),
            (
                (
                    name,
                    card["title"],
                    card["language_name"],
                    card["n_speakers"] or "",
                    sum(card["expected"].values()) or "",
                    card["licence"],
                )
                for name, card in cards.items()
            ),
        )
