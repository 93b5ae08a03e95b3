"""Hand the clips of a manifest on to audformat or datasets."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ser_fewshot.cli._console import answer, counted
from ser_fewshot.cli._options import add_shared
from ser_fewshot.errors import SettingsError

if TYPE_CHECKING:
    from ser_fewshot.corpora import Utterance


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `convert`."""
    add = parser.add_argument
    add("manifest", type=Path, nargs="+", metavar="TABLE", help="what 'scan' wrote")
    add("--to", choices=("audformat", "datasets"), required=True, help="the library that reads them")
    add("--out", type=Path, required=True, metavar="DIR", help="a new folder")
    add("--copy", action="store_true", help="copy the clips too (audformat; datasets always has them)")
    add_shared(parser, "--json")


def run(arguments: argparse.Namespace) -> None:
    """Write the clips in another format, which `scan` reads back."""
    from ser_fewshot.cli._data import read_manifests
    from ser_fewshot.corpora import write_audformat

    clips = read_manifests(arguments.manifest).utterances
    if arguments.to == "audformat":
        write_audformat(arguments.out, clips, copy=arguments.copy)
    elif arguments.copy:
        raise SettingsError(
            "--copy", found="it beside --to datasets", expected="--to audformat", remedy="Leave it out: clips go along."
        )
    else:
        _save_dataset(arguments.out, clips)
    name = {"audformat": "audformat_db", "datasets": "hf_dataset"}[arguments.to]
    answer(
        arguments,
        {"clips": len(clips), "format": name, "out": str(arguments.out)},
        f"{counted(len(clips), 'clip')} in {arguments.out}; read it with 'ser-fewshot scan {name} {arguments.out}'",
    )


def _save_dataset(out: Path, clips: Sequence[Utterance]) -> None:
    """Write a data set under a temporary name and rename it, so that it is there whole or not at all."""
    from ser_fewshot.corpora import to_dataset

    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise SettingsError(
            str(out), found="something there already", expected="a new folder", remedy="Choose another place."
        )
    out.parent.mkdir(parents=True, exist_ok=True)
    with _without_progress_bars(), tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as draft:
        to_dataset(clips).save_to_disk(f"{draft}/whole")
        Path(draft, "whole").replace(out)


@contextmanager
def _without_progress_bars() -> Iterator[None]:
    from ser_fewshot.corpora.hf_dataset import package

    library = package()
    shown = not library.are_progress_bars_disabled()
    library.disable_progress_bars()
    try:
        yield
    finally:
        if shown:
            library.enable_progress_bars()
