"""Write `results.jsonl` and `RESULTS.md` from the cells of a folder, also while some are missing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from ser_fewshot.benchmark import store
from ser_fewshot.benchmark.record import Record
from ser_fewshot.benchmark.results import ALIKE, BEST, TRAINED_ON, ProtocolResults, results_of
from ser_fewshot.benchmark.significance import FEWEST, LEVEL, RESAMPLES
from ser_fewshot.storage.files import write_atomically

PAGE = "RESULTS.md"
_SIGNS = {BEST: "**{}**", ALIKE: "{} †", TRAINED_ON: "{} ‡", "": "{}"}
_KINDS = ("learner", "model", "baseline", "ceiling")
_LISTED = 4  # cells that a note names


def write_page(out: Path, keys: Sequence[str]) -> tuple[list[Record], list[str]]:
    """Write both files of a run, and return its records, sorted by key, and which of its cells are missing.

    Raises:
        SettingsError: a cell is damaged, or a file cannot be written.
    """
    found = sorted(store.read_cells(out), key=lambda record: record.key)
    known = {record.key for record in found}
    missing = [key for key in keys if key not in known]
    store.write_results(out / store.RESULTS, found)
    left_out = [plain(f"- {one.protocol}, {one.corpus}: {one.reason}") for one in found if one.status == "left out"]
    failed = [plain(f"- `{one.key}`: {one.reason}") for one in found if one.status == "failed"]
    parts = [
        "# Results\n",
        f"{legend()}\n",
        *map(as_markdown, results_of(found)),
        _section("Left out, because the corpus cannot serve the protocol", left_out),
        _section("Failed", failed),
        _section("Missing: start the same command again", [plain(f"- `{key}`") for key in missing]),
        _section("Cost", _cost(found)),
        _section("Repeat one row", _command(found)),
    ]
    write_atomically(out / PAGE, "\n".join(part for part in parts if part))
    return found, missing


def legend() -> str:
    """Return what the marks of all tables mean."""
    return (
        "UAR in %, mean ± 95 % CI over episodes; all methods of a column are scored on the same ones. Bold: the best "
        "of a column. †: not significantly worse than it (comparison with the best by paired bootstrap over episodes, "
        f"{RESAMPLES} resamples, Holm's correction over the methods of the column, level {LEVEL:g}): the interval and "
        "the sign are about episodes alone, for every method is trained with one seed. Fewer than "
        f"{FEWEST} episodes are not compared. Intervals are Student's t. ‡: its training set has clips of the corpus, "
        "or a corpus of its name, so it is not compared. The linear probe, if present, is fitted to labels "
        "that no other method has: a ceiling. With speakers as classes, features of one vector per clip are whitened "
        "over the training speakers, except ComParE's, which have 6,373 values."
    )


def as_markdown(results: ProtocolResults) -> str:
    """Return a table, its rows by kind and name of the method, with its episodes and notes."""
    kinds = {method: _KINDS.index(record.kind) for (method, _), record in results.cells.items()}
    methods = sorted(kinds, key=lambda method: (kinds[method], method))
    first = {
        corpus: next(results.cells[name, corpus] for name in methods if (name, corpus) in results.cells)
        for corpus in results.corpora
    }
    rows = [[name, *(_cell(results, name, corpus) for corpus in first)] for name in methods]
    rows += [["chance", *(f"{100 * record.chance:.1f}" for record in first.values())]]
    lines = [_row(["method", *first]), _row(["---"] * (1 + len(first))), *map(_row, rows), ""]
    lines += [plain(f"- {name}: {one.words}; episodes `{one.episodes_sha256[:12]}`") for name, one in first.items()]
    lines += [plain(line) for line in _gains(results)]
    return f"## {results.title}\n\n`{results.protocol}`\n\n" + "\n".join(lines + _notes(results)) + "\n"


def _gains(results: ProtocolResults) -> list[str]:
    """Return what the offset of the query speaker adds to each cell that has one, in %."""
    return [
        f"- {method} on {corpus}: {100 * one.gain.mean:+.1f} ± {100 * (one.gain.ci95 or 0):.1f} to "
        f"{100 * one.plain.mean:.1f} without the voice, on the same queries"
        for (method, corpus), one in sorted(results.cells.items())
        if one.gain and one.plain
    ]


def _cell(results: ProtocolResults, method: str, corpus: str) -> str:
    """Return mean and half-width of the interval in %, with the mark of the cell."""
    record = results.cells.get((method, corpus))
    if record is None or record.uar is None:
        return "-"
    half = "" if record.uar.ci95 is None else f" ± {100 * record.uar.ci95:.1f}"
    return _SIGNS[results.mark(method, corpus)].format(f"{100 * record.uar.mean:.1f}{half}")


def _notes(results: ProtocolResults) -> list[str]:
    """Return the notes of the records, each once, with the cells that have it."""
    cells: dict[str, list[str]] = defaultdict(list)
    for (method, corpus), record in sorted(results.cells.items()):
        for note in record.notes:
            cells[note].append(f"{method} on {corpus}")
    rest = {note: f" and {len(names) - _LISTED} more" if len(names) > _LISTED else "" for note, names in cells.items()}
    return [plain(f"- {note}: {', '.join(names[:_LISTED])}{rest[note]}") for note, names in cells.items()]


def _cost(records: Sequence[Record]) -> list[str]:
    """Return the minutes of all cells; a training that several cells share counts once."""
    done = [one for one in records if one.done]
    trained = {(one.method, one.split.name if one.split else "", one.spec["label"]): one for one in done}
    training = sum(one.origin.minutes_to_train for one in trained.values())
    scoring = sum(one.origin.minutes_to_score for one in done)
    return [
        f"{len(done)} cells: {training:.0f} minutes of one core to train and calibrate, {scoring:.0f} to score. "
        "Features are analysed once and kept; that time is not in it."
    ]


def _command(records: Sequence[Record]) -> list[str]:
    done = [one for one in records if one.done]
    if not done:
        return []
    versions = ", ".join(f"{name} {number}" for name, number in done[0].origin.versions.items())
    return [
        "On a processor of the same kind, with the same versions, a row comes out the same to the bit; on another kind "
        "UAR, episodes and confusion are the same, and ECE, AUROC and losses within rounding. Its command stands in "
        "`results.jsonl`, such as:",
        "",
        f"    {done[0].origin.command}",
        "",
        f"Versions: {versions}.",
    ]


def _section(title: str, rows: Sequence[str]) -> str:
    return f"## {title}\n\n" + "\n".join(rows) + "\n" if rows else ""


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(plain(cell).replace("|", r"\|") for cell in cells) + " |"


def plain(text: str) -> str:
    """Return a text of any origin on one line, without tags, as Markdown shows it."""
    return " ".join(text.split()).replace("<", "&lt;")
