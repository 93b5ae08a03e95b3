"""The report of a benchmark: one page that needs no network, and every table of it as CSV and LaTeX."""

from __future__ import annotations

import base64
import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from markupsafe import Markup

from ser_fewshot._files import write_atomically
from ser_fewshot.benchmark.records import Record
from ser_fewshot.benchmark.tables import Table, tables_of
from ser_fewshot.benchmark_report._confidence import calibration, open_set
from ser_fewshot.benchmark_report._confusions import confusions
from ser_fewshot.benchmark_report._grid import protocols
from ser_fewshot.benchmark_report._groups import breakdown
from ser_fewshot.benchmark_report._maps import Mapped, chosen, mapped, maps
from ser_fewshot.benchmark_report._page import Section
from ser_fewshot.benchmark_report._provenance import audit, licences, not_done, repetition
from ser_fewshot.benchmark_report._scores import scores
from ser_fewshot.benchmark_report._shots import shots
from ser_fewshot.benchmark_report._table import TABLES, write_tables
from ser_fewshot.report import TEMPLATES, Look, looks, render

__all__ = ["PAGE", "Mapped", "chosen", "mapped", "write_benchmark_report"]

PAGE = "report.html"
"""What the page is called in the folder of a run."""


def write_benchmark_report(
    folder: Path,
    records: Sequence[Record],
    *,
    title: str = "Few-shot speech emotion recognition: benchmark",
    notices: Sequence[str] = (),
    clips: Mapping[str, Mapped] | None = None,
    model: str = "the default model",
    play: bool = False,
    asked: Sequence[str] = (),
) -> Path:
    """Write `report.html` and the folder `tables`, and return the path of the page.

    The same records give the same page; where clips can be played, all but the serial numbers in their sound.

    Args:
        folder: of the run.
        records: what is there: a run need not be finished.
        title: the heading.
        notices: what a reader must know before the numbers.
        clips: the map of each corpus, from `mapped`; without, the page has no maps.
        model: what `clips` were mapped by, in words.
        play: whether clips can be played whose licence does not let them be passed on; the page says so.
        asked: the keys of the cells that the run is to have; by default every method is to be asked all that is there.

    Raises:
        SettingsError: a file cannot be written there.
    """
    records = sorted(records, key=lambda record: record.key)
    scored = tables_of(records)
    told = _sections(records, scored, clips or {}, model=model, play=play)
    sections = [section for section in told if section.blocks]
    write_tables(folder / TABLES, [table for section in sections for table in section.tables])
    script = Markup((TEMPLATES / "benchmark_report.js").read_text(encoding="utf-8"))  # noqa: S704  # our own file
    page = render(
        "benchmark_report.html.j2",
        title=title,
        summary=_summary(records),
        notices=[*notices, *_notices(records, asked)],
        sections=sections,
        looks=_looks(records),
        folder=TABLES,
        styles=Markup((TEMPLATES / "benchmark_report.css").read_text(encoding="utf-8")),  # noqa: S704
        script=script,
        script_digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )
    write_atomically(folder / PAGE, page.encode(errors="replace"))
    return folder / PAGE


def _sections(
    records: Sequence[Record], scored: Sequence[Table], clips: Mapping[str, Mapped], *, model: str, play: bool
) -> Iterable[Section]:
    found, marks = protocols(records), _looks(records)
    yield scores(found, {table.protocol: table for table in scored}, marks)
    yield shots(found, marks)
    yield confusions(found)
    yield breakdown(found, marks)
    yield calibration(found, marks)
    yield open_set(found, marks)
    yield maps(clips, play=play, model=model)
    yield audit(records)
    yield licences(records)
    yield repetition(records)
    yield not_done(records)


def _looks(records: Sequence[Record]) -> dict[str, Look]:
    """Return how methods and corpora are drawn: alike in all figures, and those apart that are drawn together most."""
    drawn = Counter(method for protocol in protocols(records) for method in protocol.best())
    methods = sorted({record.method for record in records}, key=lambda method: (-drawn[method], method))
    return looks(sorted({record.corpus for record in records})) | looks(methods)


def _summary(records: Sequence[Record]) -> str:
    done = [record for record in records if record.done]
    days = sorted(record.origin.finished[:10] for record in records)
    counts = {
        "methods": len({record.method for record in done}),
        "protocols": len({record.protocol for record in done}),
        "corpora": len({record.corpus for record in done}),
    }
    minutes = sum(record.origin.minutes_to_score for record in records)
    told = ", ".join(f"{number} {name}" for name, number in counts.items())
    when = f", {days[0]} to {days[-1]}" if days else ""
    return f"{len(done)} cells: {told}{when}; {minutes:.0f} minutes of scoring."


def _absent(records: Sequence[Record], keys: Sequence[str]) -> list[str]:
    """Return the cells that a run must still get."""
    known = {record.key for record in records}
    begun = [record for record in records if record.status != "left out"]
    asked = sorted({(record.protocol, record.corpus) for record in begun})
    methods = sorted({record.method for record in begun})
    keys = keys or ["/".join((*question, method)) for question in asked for method in methods]
    return [key for key in keys if key not in known]


def _notices(records: Sequence[Record], asked: Sequence[str]) -> list[str]:
    """Return what must not be overlooked."""
    failed = [record.key for record in records if record.status == "failed"]
    broken = [record.key for record in records if record.audit is not None and record.audit.broken]
    told = []
    if not any(record.done for record in records):
        told.append("No cell is done yet: there is nothing to show.")
    absent = _absent(records, asked)
    if absent:
        number = "1 cell is" if len(absent) == 1 else f"{len(absent)} cells are"
        told.append(f"The run is not finished: {number} not there yet, such as {absent[0]}.")
    if failed:
        told.append(f"Cells that failed: {len(failed)} ({', '.join(failed[:5])}); see Remarks.")
    if broken:
        told.append(f"✗ Cells that break a promise: {len(broken)} ({', '.join(broken[:5])}); see Leakage audit.")
    return told
