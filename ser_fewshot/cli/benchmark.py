"""Compare all methods on all protocols over a folder of corpora."""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ser_fewshot.cli._console import counted, note, note_skipped, say, say_json, tracker
from ser_fewshot.cli._options import add_shared, count, seed
from ser_fewshot.compute import distributed
from ser_fewshot.errors import SettingsError
from ser_fewshot.storage.paths import what_is

if TYPE_CHECKING:
    from ser_fewshot.benchmark.grid import Plan
    from ser_fewshot.benchmark.methods import Method
    from ser_fewshot.benchmark.protocols import Protocol
    from ser_fewshot.benchmark.record import Record
    from ser_fewshot.frontends import FeatureSet

_EPISODES = 600
_SMOKE_EPISODES = 4
_FAILED = 1
_LISTED = 5  # failed cells, or fields, in a line
_SLASHES = 2  # in the key of a cell


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `benchmark`."""
    add = parser.add_argument
    add("--corpora", type=Path, required=True, metavar="DIR", help="folder of corpora, or of manifests")
    add("--out", type=Path, required=True, metavar="RUN", help="folder of the run, which goes on if it is there")
    add("--learners", nargs="+", default=["all"], metavar="NAME", help="all, or some; NAME:KEY=VALUE changes a setting")
    add("--protocols", nargs="+", metavar="NAME", help="some of them (default: all)")
    add("--baselines", action="store_true", help="what else could be used: openSMILE, GE2E, a probe")
    add("--episodes", type=count, help="of each cell (default: 600)")
    add("--seed", type=seed, default=0, help="of episodes, splits and training (default: 0)")
    add("--workers", type=count, help="processes on this machine (default: one a core)")
    add_shared(parser, "--device")
    add("--smoke", action="store_true", help="train for two steps, to see that all of it runs")
    add("--only", metavar="KEY", help="one cell, PROTOCOL/CORPUS/METHOD as in the results")
    add("--against", type=Path, metavar="RESULTS", help="fail if cells differ from those of this run")
    add("--play", action="store_true", help="let the report play clips whose licence does not let them be passed on")
    add_shared(parser, "--json", "--cache")


def run(arguments: argparse.Namespace) -> None:
    """Compute the missing cells, and write the tables and the report of all cells.

    Leaves with exit code 1 if one of the requested cells failed.
    """
    from ser_fewshot.benchmark.grid import run_grid
    from ser_fewshot.compute.threads import threads

    plan = _plan(arguments)
    with _progress() as track:
        run_grid(plan, workers=arguments.workers or _workers(), only=arguments.only, track=track)
    with distributed.alone(), threads(1):  # the others may have ended; one thread gives the page the bits of the cells
        _report(plan, arguments)


def _plan(arguments: argparse.Namespace) -> Plan:
    """Check the options, read the corpora, and return what is to be computed."""
    from ser_fewshot.benchmark.build import frontend_of
    from ser_fewshot.benchmark.grid import Plan
    from ser_fewshot.frontends import default_directory

    if arguments.only is not None and arguments.only.count("/") < _SLASHES:
        raise SettingsError(
            "--only",
            found=repr(arguments.only),
            expected="PROTOCOL/CORPUS/METHOD",
            remedy="Name a cell as results.jsonl does; what is left out is none.",
        )
    if arguments.out.exists() and not arguments.out.is_dir():
        raise SettingsError(
            "--out", found=f"{arguments.out}, {what_is(arguments.out)}", expected="a folder", remedy="Choose another."
        )
    methods, protocols = _methods(arguments), _protocols(arguments)
    for method in methods:
        frontend_of(method)  # a package that is not installed is reported before an hour of work
    cache = arguments.cache or default_directory()
    clips = _readable(arguments, protocols, cache)
    return Plan(
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


def _readable(arguments: argparse.Namespace, protocols: Sequence[Protocol], cache: Path) -> FeatureSet:
    """Return the clips of the corpora that can be read, and report the others."""
    from ser_fewshot.benchmark.grid import readable
    from ser_fewshot.benchmark.protocols import Case, cases
    from ser_fewshot.cli._data import CHECK_FILES, clips_of
    from ser_fewshot.frontends import FeatureSet

    clips = clips_of(arguments.corpora)
    if not any(isinstance(case, Case) for case in cases(clips, protocols, seed=arguments.seed)):
        return FeatureSet(clips, ())  # no protocol fits these corpora: minutes of analysis would be for nothing
    found = readable(clips, cache, track=tracker("features"))
    note_skipped(found.skipped, rest=CHECK_FILES)
    return found


def _methods(arguments: argparse.Namespace) -> tuple[Method, ...]:
    from ser_fewshot.benchmark.methods import method_named, methods_of

    if arguments.only:
        return (method_named(arguments.only.split("/", 2)[-1]),)
    return methods_of(arguments.learners, baselines=arguments.baselines)


def _protocols(arguments: argparse.Namespace) -> tuple[Protocol, ...]:
    """Return the protocols of --only or --protocols; all of them by default."""
    from ser_fewshot.benchmark.protocols import PROTOCOLS

    names = [arguments.only.partition("/")[0]] if arguments.only else arguments.protocols
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
    """Return the command that repeats a cell, without its key, the device and the folders of this machine."""
    words = ["ser-fewshot", "benchmark", "--corpora", "CORPORA", "--out", "OUT"]
    words += ["--episodes", str(_episodes(arguments)), "--seed", str(arguments.seed)]
    return (*words, *(["--smoke"] if arguments.smoke else []))


@contextmanager
def _progress() -> Iterator[Callable[[int, str], None]]:
    """Show how many jobs are done on a terminal; in a file, a line for each."""
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress, TimeElapsedColumn

    console = Console(stderr=True)
    columns = (*Progress.get_default_columns(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task, n_done = bar.add_task("benchmark", total=None), 0

        def track(total: int, done: str) -> None:
            nonlocal n_done
            n_done += 1
            bar.update(task, total=total, completed=n_done, description=done)
            if not console.is_terminal:
                note(f"{n_done} of {total}: {done}")

        yield track


def _report(plan: Plan, arguments: argparse.Namespace) -> None:
    """Write tables and report, and print how the cells went."""
    from ser_fewshot.benchmark.markdown import PAGE
    from ser_fewshot.benchmark.protocols import keys_of
    from ser_fewshot.benchmark.store import n_cells

    keys = [arguments.only] if arguments.only else keys_of(plan.methods, plan.cases())
    records, missing = _write(plan, keys, arguments)
    while n_cells(plan.out) > len(records):  # others, started beside this one, have finished cells meanwhile
        records, missing = _write(plan, keys, arguments)
    if arguments.against:
        _compare(records, arguments.against)
    _print(records, missing, arguments)
    failed = [record.key for record in records if record.status == "failed" and record.key in set(keys)]
    if failed:
        listed = ", ".join(failed[:_LISTED]) + (" ..." if len(failed) > _LISTED else "")
        note(f"{counted(len(failed), 'cell')} failed: {listed}; the reasons stand in {arguments.out / PAGE}")
        raise SystemExit(_FAILED)


def _write(plan: Plan, keys: Sequence[str], arguments: argparse.Namespace) -> tuple[list[Record], list[str]]:
    """Write tables and report; return the cells, and the keys of those that are missing."""
    from ser_fewshot.benchmark import markdown
    from ser_fewshot.benchmark.store import read_expected
    from ser_fewshot.cli.report import write_page

    records, missing = markdown.write_page(plan.out, [*dict.fromkeys([*read_expected(plan.out), *keys])])
    if arguments.only is None:
        write_page(plan.out, records, plan.utterances, arguments)
    return records, missing


def _compare(records: Sequence[Record], other: Path) -> None:
    """Print that cells equal those of another run: to the bit or, of another kind of processor, within rounding."""
    from ser_fewshot.benchmark.reproduce import differences, same_bins, unexplained
    from ser_fewshot.benchmark.store import read_results

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
    """Return the fields that differ and by how much, the largest difference first."""
    ordered = sorted(fields.items(), key=lambda item: -item[1])
    listed = [f"{path} differs{'' if math.isinf(size) else f' by {size:.1g}'}" for path, size in ordered[:_LISTED]]
    return ", ".join(listed) + (f" and {len(ordered) - _LISTED} more" if len(ordered) > _LISTED else "")


def _print(records: Sequence[Record], missing: Sequence[str], arguments: argparse.Namespace) -> None:
    from ser_fewshot.benchmark.markdown import PAGE
    from ser_fewshot.benchmark.report import PAGE as REPORT

    keys = {status: [one.key for one in records if one.status == status] for status in ("done", "failed", "left out")}
    if arguments.json:
        say_json({**keys, "missing": list(missing), "page": str(arguments.out / PAGE)})
        return
    for status in ("failed",) if keys["done"] else ("failed", "left out"):
        for record in records:
            if record.status == status:
                note(f"{status}: {record.key}: {record.reason}")
    numbers = ", ".join(f"{len(some)} {status}" for status, some in {**keys, "missing": missing}.items() if some)
    say(f"{numbers}; tables: {arguments.out / PAGE}")
    if arguments.only is None:
        say(f"report: {arguments.out / REPORT}")
