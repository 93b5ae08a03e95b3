"""Write the page of a benchmark, finished or not, and its tables as CSV and LaTeX."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ser_fewshot.cli._console import answer, counted, tracker
from ser_fewshot.cli._options import add_shared
from ser_fewshot.errors import SettingsError

if TYPE_CHECKING:
    from ser_fewshot.benchmark.record import Record
    from ser_fewshot.corpora import Utterance


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `report`."""
    add = parser.add_argument
    add("run", type=Path, metavar="RUN", help="its folder")
    add("--corpora", type=Path, metavar="DIR", help="what it ran on: adds maps with clips to play")
    add("--play", action="store_true", help="also clips that may not be passed on; the page is then for you alone")
    add("--model", type=Path, help="the model of the maps; the one in the package by default")
    add_shared(parser, "--cache", "--json")


def run(arguments: argparse.Namespace) -> None:
    """Read the cells that are there, and write the page."""
    from ser_fewshot.benchmark.store import read_cells, read_results
    from ser_fewshot.cli._data import clips_of

    if arguments.play and arguments.corpora is None:
        raise SettingsError(
            "--play", found="no corpora", expected="--corpora DIR", remedy="Give the folder that the benchmark ran on."
        )
    records = read_cells(arguments.run) or read_results(arguments.run)
    clips = clips_of(arguments.corpora) if arguments.corpora else ()
    page = write_page(arguments.run, records, clips, arguments, model=arguments.model)
    n_done = sum(record.done for record in records)
    value = {"page": str(page), "done": n_done, "cells": len(records)}
    answer(arguments, value, f"{counted(n_done, 'cell')}: {page}")


def write_page(
    folder: Path,
    records: Sequence[Record],
    clips: Sequence[Utterance],
    arguments: argparse.Namespace,
    *,
    model: Path | None = None,
) -> Path:
    """Write the page of a run, with maps by a model of the corpora that there are clips of, and return its path."""
    from ser_fewshot.assets import DEFAULT_MODEL
    from ser_fewshot.benchmark.report import map_clips, select_clips, write_benchmark_report
    from ser_fewshot.benchmark.store import read_expected
    from ser_fewshot.cli._data import cache_of
    from ser_fewshot.models import load_model

    tested = {record.corpus for record in records}
    shown = [clip for clip in clips if clip.corpus in tested]
    maps = None
    if shown:
        loaded = load_model(model or DEFAULT_MODEL)
        cache = cache_of(loaded.frontend, arguments.cache)
        maps = {
            corpus: map_clips(loaded, some, cache=cache, track=tracker(f"map of {corpus}"))
            for corpus, some in select_clips(shown).items()
        }
    return write_benchmark_report(
        folder,
        records,
        clips=maps,
        model=f"the model {model.name}" if model else "the default model",
        play=arguments.play,
        expected=read_expected(folder),
    )
