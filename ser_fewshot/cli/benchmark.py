"""Run every method on every protocol over all corpora of a folder, and write the tables."""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol as Interface

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from ser_fewshot.benchmark.build import frontend_of
from ser_fewshot.benchmark.grid import Plan, readable, run_grid
from ser_fewshot.benchmark.markdown import PAGE, write_page
from ser_fewshot.benchmark.methods import Method, method_named, methods_of
from ser_fewshot.benchmark.protocols import PROTOCOLS, Case, Protocol, cases, keys_of
from ser_fewshot.benchmark.record import Record
from ser_fewshot.benchmark.report import PAGE as REPORT
from ser_fewshot.benchmark.reproduce import differences, same_bins, unexplained
from ser_fewshot.benchmark.store import Session, n_cells, read_expected, read_results
from ser_fewshot.cli._console import note, report_skipped, say, say_json, tracker
from ser_fewshot.cli._data import clips_of
from ser_fewshot.cli._text import counted
from ser_fewshot.cli.report import write_page as write_report
from ser_fewshot.compute import distributed
from ser_fewshot.compute.threads import threads
from ser_fewshot.corpora import Utterance
from ser_fewshot.errors import SettingsError
from ser_fewshot.frontends import FeatureSet, default_directory
from ser_fewshot.storage.paths import what_is

_EPISODES = 600
_SMOKE_EPISODES = 4
_FAILED = 1
_LISTED = 5  # failed cells, or fields, in a line
_SLASHES = 2  # in the key of a cell


def run(arguments: argparse.Namespace) -> None:
    """Compute the cells that are missing, and write everything that is made of them.

    Leaves with exit code 1 if a cell of those that were asked for failed.

    Raises:
        SettingsError: an option is wrong, or the folder holds another run.
    """
    only, session = arguments.only, Session(workers=arguments.workers or _workers())
    if only is not None and only.count("/") < _SLASHES:
        raise SettingsError(
            "--only",
            found=repr(only),
            expected="PROTOCOL/CORPUS/METHOD",
            remedy="Name a cell as results.jsonl does; what is left out is none.",
        )
    if arguments.out.exists() and not arguments.out.is_dir():
        raise SettingsError(
            "--out", found=f"{arguments.out}, {what_is(arguments.out)}", expected="a folder", remedy="Choose another."
        )
    methods, protocols = _methods(arguments), _protocols([only.partition("/")[0]] if only else arguments.protocols)
    for method in methods:
        frontend_of(method)  # what is not installed is known before an hour of work
    cache = arguments.cache or default_directory()
    clips = FeatureSet(tuple(clips_of(arguments.corpora)), ())
    if any(isinstance(case, Case) for case in cases(clips.utterances, protocols, seed=arguments.seed)):
        # Minutes of analysis, in vain where no corpus can serve a protocol.
        clips = _readable(clips.utterances, cache)
    plan = Plan(
        utterances=clips.utterances,
        keys=clips.keys,
        methods=methods,
        protocols=protocols,
        out=arguments.out,
        cache=cache,
        episodes=_episodes(arguments),
        seed=arguments.seed,
        smoke=arguments.smoke,
        device=arguments.device,
        command=_command(arguments),
    )
    with _progress() as track:

        def finished(total: int, done: str) -> None:
            session.save(plan.out)
            track(total, done)

        run_grid(plan, workers=session.workers, only=only, track=finished)
    with distributed.alone(), threads(1):  # the others need not be there any more; the page has the bits of the cells
        _report(plan, arguments)


def _report(plan: Plan, arguments: argparse.Namespace) -> None:
    """Write what is made of the cells, and say how they went."""
    only = arguments.only
    keys = [only] if only else keys_of(plan.methods, plan.cases())
    records, missing = _write(plan, keys, arguments)
    while n_cells(plan.out) > len(records):  # others, started beside this one, have finished cells meanwhile
        records, missing = _write(plan, keys, arguments)
    if arguments.against:
        _compare(records, arguments.against)
    _tell(records, missing, arguments)
    asked = set(keys)
    failed = [record.key for record in records if record.status == "failed" and record.key in asked]
    if failed:
        told = ", ".join(failed[:_LISTED]) + (" ..." if len(failed) > _LISTED else "")
        note(f"{counted(len(failed), 'cell')} failed: {told}; the reasons stand in {arguments.out / PAGE}")
        raise SystemExit(_FAILED)


def _write(plan: Plan, keys: Sequence[str], arguments: argparse.Namespace) -> tuple[list[Record], list[str]]:
    """Write what is made of the cells; return them, and the keys of those that are missing."""
    records, missing = write_page(plan.out, [*dict.fromkeys([*read_expected(plan.out), *keys])])
    if arguments.only is None:
        write_report(plan.out, records, clips=plan.utterances, cache=plan.cache, play=arguments.play)
    return records, missing


def _readable(clips: Sequence[Utterance], cache: Path) -> FeatureSet:
    """Return the clips that can be read, and say which cannot."""
    found = readable(clips, cache, track=tracker("features"))
    report_skipped(found.skipped, rest="check that the audio files stand where the manifest says")
    return found


def _methods(arguments: argparse.Namespace) -> tuple[Method, ...]:
    if arguments.only:
        return (method_named(arguments.only.split("/", 2)[-1]),)
    return methods_of(arguments.learners, baselines=arguments.baselines)


def _protocols(names: Sequence[str] | None) -> tuple[Protocol, ...]:
    """Return the protocols of some names; all of them by default.

    Raises:
        SettingsError: there is no protocol of a name.
    """
    known = {protocol.name: protocol for protocol in PROTOCOLS}
    unknown = [name for name in names or () if name not in known]
    if unknown:
        raise SettingsError(
            "--protocols", found=", ".join(unknown), expected=" | ".join(known), remedy="Choose some of these."
        )
    return tuple(known[name] for name in names or known)


def _episodes(arguments: argparse.Namespace) -> int:
    """Return how many episodes a cell has."""
    return int(arguments.episodes or (_SMOKE_EPISODES if arguments.smoke else _EPISODES))


def _workers() -> int:
    """Return how many processes this machine has cores for; one beside others that a launcher started."""
    if "RANK" in os.environ:
        return 1
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _command(arguments: argparse.Namespace) -> tuple[str, ...]:
    """Return what repeats a cell, without its key, the device and the folders of this machine."""
    words = ["ser-fewshot", "benchmark", "--corpora", "CORPORA", "--out", "OUT"]
    words += ["--episodes", str(_episodes(arguments)), "--seed", str(arguments.seed)]
    return (*words, *(["--smoke"] if arguments.smoke else []))


class _Track(Interface):
    def __call__(self, total: int, done: str) -> None: ...


@contextmanager
def _progress() -> Iterator[_Track]:
    """Show how many jobs are done on a terminal; in a file, a line for each."""
    console = Console(stderr=True)
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(TextColumn("{task.description}"), *columns, console=console, disable=not console.is_terminal) as bar:
        task, finished = bar.add_task("benchmark", total=None), 0

        def track(total: int, done: str) -> None:
            nonlocal finished
            finished += 1
            bar.update(task, total=total, completed=finished, description=done)
            if not console.is_terminal:
                note(f"{finished} of {total}: {done}")

        yield track


def _compare(records: Sequence[Record], other: Path) -> None:
    """Say whether cells are those of another run: to the bit or, of another kind of processor, within rounding.

    Raises:
        SettingsError: one is not.
    """
    theirs = {record.key: record for record in read_results(other)}
    both = [record for record in records if record.key in theirs and record.status != "left out"]
    found = {one.key: differences(one, theirs[one.key]) for one in both if one.done}
    wrong = {one.key: unexplained(found[one.key], one, theirs[one.key]) for one in both if one.done}
    differing = [f"{one.key} (failed)" for one in both if not one.done]
    differing += [f"{key} ({_sizes(fields)})" for key, fields in wrong.items() if fields]
    if differing or not both:
        raise SettingsError(
            "--against",
            found=f"other values in {', '.join(differing)}" if differing else "no cell that both runs have",
            expected=f"the values of {other}",
            remedy="Compare the versions, the processor and the threads that both records name.",
        )
    unlike = [one.key for one in both if not same_bins(one, theirs[one.key])]
    if unlike:
        say(f"reliability left out of the comparison of {counted(len(unlike), 'cell')}: another number of bins")
    rounded = {key: fields for key, fields in found.items() if fields}
    if len(rounded) < len(both):
        say(f"{counted(len(both) - len(rounded), 'cell')} the same to the bit as in {other}")
    for key, fields in rounded.items():
        say(f"{key} the same as in {other} within the rounding of another kind of processor: {_sizes(fields)}")


def _sizes(fields: Mapping[str, float]) -> str:
    """Return which fields differ by how much, the largest first."""
    ordered = sorted(fields.items(), key=lambda item: -item[1])
    told = [f"{path} differs{'' if math.isinf(size) else f' by {size:.1g}'}" for path, size in ordered[:_LISTED]]
    return ", ".join(told) + (f" and {len(ordered) - _LISTED} more" if len(ordered) > _LISTED else "")


def _tell(records: Sequence[Record], missing: Sequence[str], arguments: argparse.Namespace) -> None:
    counts = {status: [one.key for one in records if one.status == status] for status in ("done", "failed", "left out")}
    if arguments.json:
        say_json({**counts, "missing": list(missing), "page": str(arguments.out / PAGE)})
        return
    for record in records:
        if record.status == "failed":
            note(f"failed: {record.key}: {record.reason}")
    if not counts["done"]:
        for record in records:
            if record.status == "left out":
                note(f"left out: {record.key}: {record.reason}")
    numbers = ", ".join(f"{len(keys)} {status}" for status, keys in {**counts, "missing": missing}.items() if keys)
    say(f"{numbers}; tables: {arguments.out / PAGE}")
    if arguments.only is None:
        say(f"report: {arguments.out / REPORT}")
