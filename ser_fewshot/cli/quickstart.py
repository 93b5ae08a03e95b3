"""Enrol three emotions, add a fourth, recognise other speakers."""

from __future__ import annotations

import argparse
import itertools
from dataclasses import asdict
from pathlib import Path

from ser_fewshot.cli._console import say, say_json, tracker
from ser_fewshot.cli._options import add_shared, count, require_new, seed


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `quickstart`."""
    add = parser.add_argument
    add("--corpus", help="use a real corpus instead of the synthetic clips: see 'corpora'")
    add("--root", type=Path, help="folder of that corpus")
    add_shared(parser, "--model")
    add("--out", type=Path, help="the report page (default: quickstart-report.html, or -2, -3, ...)")
    add_shared(parser, "--force")
    add("--episodes", type=count, default=200, help="draws behind the interval (default: 200)")
    add("--seed", type=seed, default=0, help="decides which clips are drawn (default: 0)")
    add_shared(parser, "--json", "--cache")


def run(arguments: argparse.Namespace) -> None:
    """Enrol three emotions, add a fourth, recognise clips of other speakers, and write the report page."""
    from ser_fewshot.assets import DEFAULT_MODEL
    from ser_fewshot.quickstart import quickstart

    require_new("--out", arguments.out, arguments)
    result = quickstart(
        corpus=arguments.corpus,
        root=arguments.root,
        model=arguments.model or DEFAULT_MODEL,
        out=arguments.out or _new_page(),
        n_episodes=arguments.episodes,
        seed=arguments.seed,
        cache=arguments.cache,
        say=(lambda _: None) if arguments.json else say,
        track=tracker("features"),
    )
    if arguments.json:
        recognised = [
            {"clip": clip, "truth": truth, **prediction.as_dict()} for clip, truth, prediction in result.predictions
        ]
        say_json({**asdict(result), "predictions": recognised})


def _new_page() -> Path:
    """Return quickstart-report.html or, where that exists, quickstart-report-2.html and so on."""
    numbered = (Path(f"quickstart-report-{number}.html") for number in itertools.count(2))
    return next(path for path in itertools.chain([Path("quickstart-report.html")], numbered) if not path.exists())
