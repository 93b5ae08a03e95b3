"""Show the whole of it once: enrol, add, recognise, report."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from itertools import count
from pathlib import Path

from ser_fewshot.assets import DEFAULT_MODEL
from ser_fewshot.cli._console import say, say_json, tracker
from ser_fewshot.cli._outputs import require_new
from ser_fewshot.quickstart import quickstart


def run(arguments: argparse.Namespace) -> None:
    """Enrol three emotions, add a fourth, recognise clips of other voices, and write the report page."""
    require_new("--out", arguments.out, arguments)
    result = quickstart(
        corpus=arguments.corpus,
        root=arguments.root,
        model=arguments.model or DEFAULT_MODEL,
        out=arguments.out or _free(Path("quickstart-report.html")),
        n_episodes=arguments.episodes,
        seed=arguments.seed,
        cache=arguments.cache,
        say=(lambda _: None) if arguments.json else say,
        track=tracker("features"),
    )
    if arguments.json:
        recognised = [
            {"clip": clip, "truth": truth, **asdict(prediction)} for clip, truth, prediction in result.predictions
        ]
        say_json({**asdict(result), "predictions": recognised})


def _free(path: Path) -> Path:
    """Return a path, with a number where it is taken: quickstart-report-2.html."""
    numbered = (path.with_stem(f"{path.stem}-{number}") for number in count(2))
    return path if not path.exists() else next(free for free in numbered if not free.exists())
