"""Write the page of a benchmark, which need not be finished, and every table of it as CSV and LaTeX."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from ser_fewshot.assets import DEFAULT_MODEL
from ser_fewshot.benchmark.record import Record
from ser_fewshot.benchmark.report import ClipMap, map_clips, select_clips, write_benchmark_report
from ser_fewshot.benchmark.store import read_cells, read_expected, read_results
from ser_fewshot.cli._console import say, say_json, tracker
from ser_fewshot.cli._data import clips_of
from ser_fewshot.cli._text import counted
from ser_fewshot.corpora import Utterance
from ser_fewshot.errors import SettingsError
from ser_fewshot.frontends import FeatureCache, default_directory
from ser_fewshot.models import load_model


def run(arguments: argparse.Namespace) -> None:
    """Read what cells there are, and write the page.

    Raises:
        SettingsError: the folder holds no run, or clips are to be played of which no folder is given.
    """
    if arguments.play and arguments.corpora is None:
        raise SettingsError(
            "--play", found="no corpora", expected="--corpora DIR", remedy="Give the folder that the benchmark ran on."
        )
    records = read_cells(arguments.run) or read_results(arguments.run)
    clips = clips_of(arguments.corpora) if arguments.corpora else ()
    page = write_page(
        arguments.run, records, clips=clips, model=arguments.model, cache=arguments.cache, play=arguments.play
    )
    done = [record for record in records if record.done]
    if arguments.json:
        say_json({"page": str(page), "done": len(done), "cells": len(records)})
    else:
        say(f"{counted(len(done), 'cell')}: {page}")


def write_page(
    folder: Path,
    records: Sequence[Record],
    *,
    clips: Sequence[Utterance] = (),
    model: Path | None = None,
    cache: Path | None = None,
    play: bool = False,
) -> Path:
    """Write the page of a run, with maps of the corpora of which there are clips, and return where it is.

    Args:
        folder: of the run.
        records: its cells.
        clips: of its corpora; without, there are no maps.
        model: of the maps; None is that of the package.
        cache: where features are kept; None is the user's.
        play: whether clips can be played that may not be passed on.
    """
    tested = {record.corpus for record in records}
    shown = [clip for clip in clips if clip.corpus in tested]
    return write_benchmark_report(
        folder,
        records,
        clips=_maps(shown, model or DEFAULT_MODEL, cache) if shown else None,
        model=f"the model {model.name}" if model else "the default model",
        play=play,
        expected=read_expected(folder),
    )


def _maps(clips: Sequence[Utterance], model: Path, cache: Path | None) -> dict[str, ClipMap]:
    loaded = load_model(model)
    kept = FeatureCache(cache or default_directory(), loaded.frontend.identity)
    return {
        corpus: map_clips(loaded, some, cache=kept, track=tracker(f"map of {corpus}"))
        for corpus, some in select_clips(clips).items()
    }
