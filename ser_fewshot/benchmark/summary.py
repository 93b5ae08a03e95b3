"""From the cells of a folder to what is read: results.jsonl and RESULTS.md, also while some are missing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ser_fewshot.benchmark import store
from ser_fewshot.benchmark.clock import by_the_clock
from ser_fewshot.benchmark.records import RESULTS, Record, write_results
from ser_fewshot.benchmark.tables import as_markdown, legend, plain, tables_of
from ser_fewshot.storage.files import write_atomically

PAGE = "RESULTS.md"


def assemble(out: Path, keys: Sequence[str]) -> tuple[list[Record], list[str]]:
    """Write everything that is made of cells.

    Args:
        out: folder of the run.
        keys: of the cells that the run is to have.

    Returns:
        The records, sorted by key, and the keys of the cells that are missing.

    Raises:
        SettingsError: a cell is damaged, or something cannot be written.
    """
    found = sorted(store.read_cells(out), key=lambda record: record.key)
    known = {record.key for record in found}
    missing = [key for key in keys if key not in known]
    write_results(out / RESULTS, found)
    parts = ["# Results\n", f"{legend()}\n", *map(as_markdown, tables_of(found)), _left_out(found), _failed(found)]
    parts += [_missing(missing), _cost(found, by_the_clock(out)), _repeat(found)]
    write_atomically(out / PAGE, "\n".join(part for part in parts if part))
    return found, missing


def _left_out(records: Sequence[Record]) -> str:
    rows = [plain(f"- {one.protocol}, {one.corpus}: {one.reason}") for one in records if one.status == "left out"]
    return _section("Left out, because the corpus cannot be asked", rows)


def _failed(records: Sequence[Record]) -> str:
    return _section("Failed", [plain(f"- `{one.key}`: {one.reason}") for one in records if one.status == "failed"])


def _missing(keys: Sequence[str]) -> str:
    return _section("Missing: start the same command again", [plain(f"- `{key}`") for key in keys])


def _cost(records: Sequence[Record], clock: str) -> str:
    """Return the minutes that all cells took; a training that several cells share counts once."""
    done = [one for one in records if one.done]
    trained = {(one.method, one.split.name if one.split else "", one.spec["label"]): one for one in done}
    training = sum(one.origin.minutes_to_train for one in trained.values())
    scoring = sum(one.origin.minutes_to_score for one in done)
    rows = [
        f"{len(done)} cells: {training:.0f} minutes of one core to train and calibrate, {scoring:.0f} to score. "
        "Features are analysed once and kept; that time is not in it."
    ]
    rows += [clock] if clock else []
    return _section("Cost", rows)


def _repeat(records: Sequence[Record]) -> str:
    done = [one for one in records if one.done]
    if not done:
        return ""
    versions = ", ".join(f"{name} {number}" for name, number in done[0].origin.versions.items())
    rows = [
        "On a processor of the same kind, with the same versions, a row comes out the same to the bit; on another kind "
        "UAR, episodes and confusion are the same, and ECE, AUROC and losses within rounding. Its command stands in "
        "`results.jsonl`, such as:",
        "",
        f"    {done[0].origin.command}",
        "",
        f"Versions: {versions}.",
    ]
    return _section("Repeat one row", rows)


def _section(title: str, rows: Sequence[str]) -> str:
    return f"## {title}\n\n" + "\n".join(rows) + "\n" if rows else ""
