"""The report of a benchmark: one page that needs no network, and each of its tables as CSV and LaTeX."""

from __future__ import annotations

import base64
import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from ser_fewshot._files import write_atomically
from ser_fewshot.benchmark.records import Record
from ser_fewshot.benchmark.report.confusion import confusions
from ser_fewshot.benchmark.report.groups import groups
from ser_fewshot.benchmark.report.maps import ClipMap, map_clips, maps, select_clips
from ser_fewshot.benchmark.report.provenance import audit, licences, remarks, repetition
from ser_fewshot.benchmark.report.reliability import calibration, open_set
from ser_fewshot.benchmark.report.results import ProtocolResults, results_of
from ser_fewshot.benchmark.report.scores import scores, shots
from ser_fewshot.benchmark.report.table import TABLES, write_tables
from ser_fewshot.benchmark.tables import legend
from ser_fewshot.report import Look, looks, render

__all__ = ["PAGE", "ClipMap", "map_clips", "select_clips", "write_benchmark_report"]

PAGE = "report.html"
"""The file name of the page, in the folder of a run."""
_LISTED = 5  # records of a notice


def write_benchmark_report(
    folder: Path,
    records: Sequence[Record],
    *,
    title: str = "Few-shot speech emotion recognition: benchmark",
    clips: Mapping[str, ClipMap] | None = None,
    model: str = "the default model",
    play: bool = False,
    expected: Sequence[str] = (),
) -> Path:
    """Write `report.html` and the folder `tables`, and return the path of the page.

    The same records give the same bytes, except for the serial numbers in the sound of clips that can be played.

    Args:
        folder: of the run.
        records: those that the run has; it need not be finished.
        title: of the page.
        clips: a map of each corpus, from `map_clips`; without them the page has no maps.
        model: the model of the maps, in words.
        play: whether clips whose licence does not let them be passed on can be played too; the page says so.
        expected: the keys of all records of the finished run; by default, each method on each protocol and corpus
            that there is.

    Raises:
        SettingsError: a file cannot be written there.
    """
    records = sorted(records, key=lambda record: record.key)
    protocols = results_of(records)
    marks = _looks(records, protocols)
    blocks = {
        "scores": scores(protocols, marks),
        "shots": shots(protocols, marks),
        "confusions": confusions(protocols),
        "groups": groups(protocols, marks),
        "calibration": calibration(protocols, marks),
        "open_set": open_set(protocols, marks),
        "maps": maps(clips or {}, play=play),
        "audit": audit(records),
        "licences": licences(records),
        "repeat": repetition(records),
        "remarks": remarks(records),
    }
    write_tables(folder / TABLES, [table for found in blocks.values() for block in found for table in block.tables])
    page = render(
        "benchmark_report.html.j2",
        title=title,
        summary=_summary(records),
        notices=_notices(records, expected),
        blocks=blocks,
        looks=marks,
        legend=legend(),
        model=model,
        folder=TABLES,
        digest=lambda script: base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )
    write_atomically(folder / PAGE, page.encode(errors="replace"))
    return folder / PAGE


def _looks(records: Sequence[Record], protocols: Sequence[ProtocolResults]) -> dict[str, Look]:
    """Return colour and shape of methods and corpora, the same in all charts; those drawn most differ most."""
    drawn = Counter(method for results in protocols for method in results.best())
    methods = sorted({record.method for record in records}, key=lambda method: (-drawn[method], method))
    return looks(sorted({record.corpus for record in records})) | looks(methods)


def _summary(records: Sequence[Record]) -> str:
    done = [record for record in records if record.done]
    parts = [
        f"{len({getattr(record, name) for record in done})} {plural}"
        for name, plural in (("method", "methods"), ("protocol", "protocols"), ("corpus", "corpora"))
    ]
    days = sorted(record.origin.finished[:10] for record in records)
    dates = [f"{days[0]} to {days[-1]}"] if days else []
    minutes = sum(record.origin.minutes_to_score for record in records)
    return f"{len(done)} records: {', '.join(parts + dates)}; {minutes:.0f} minutes of scoring."


def _notices(records: Sequence[Record], expected: Sequence[str]) -> list[str]:
    """Return what must not be overlooked: records that are missing, that failed, or that break a promise."""
    begun = [record for record in records if record.status != "left out"]
    places = sorted({(record.protocol, record.corpus) for record in begun})
    methods = sorted({record.method for record in begun})
    keys = expected or ["/".join((*place, method)) for place in places for method in methods]
    known = {record.key for record in records}
    found = {
        "The run is not finished, missing": [key for key in keys if key not in known],
        "Failed, see Remarks": [record.key for record in records if record.status == "failed"],
        "✗ Breaking a promise, see Leakage audit": [r.key for r in records if r.audit and r.audit.broken],
    }
    empty = [] if any(record.done for record in records) else ["No record is finished yet: there is nothing to show."]
    return empty + [
        f"{what}: {len(keys)} ({', '.join(keys[:_LISTED])}{', …' if len(keys) > _LISTED else ''})."
        for what, keys in found.items()
        if keys
    ]
