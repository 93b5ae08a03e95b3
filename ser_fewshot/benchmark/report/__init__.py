"""The report of a benchmark: one page that needs no network, and each of its tables as CSV and LaTeX."""

from __future__ import annotations

import base64
import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from ser_fewshot.benchmark.html import Look, looks, render
from ser_fewshot.benchmark.markdown import legend
from ser_fewshot.benchmark.record import Record
from ser_fewshot.benchmark.report.maps import ClipMap, map_blocks, map_clips, select_clips
from ser_fewshot.benchmark.report.predictions import calibration_blocks, confusion_blocks, group_blocks, open_set_blocks
from ser_fewshot.benchmark.report.provenance import audit_blocks, command_blocks, licence_blocks, remark_blocks
from ser_fewshot.benchmark.report.scores import score_blocks, shots_blocks
from ser_fewshot.benchmark.report.table import TABLES, write_tables
from ser_fewshot.benchmark.results import ProtocolResults, results_of
from ser_fewshot.settings import fill
from ser_fewshot.storage.files import write_atomically

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

    `clips` are a map of each corpus, from `map_clips`, by the model of that name; with `play`, clips whose licence
    forbids copies can be played too, and the page warns about it. `expected` are the keys of the finished run, by
    default each method on each protocol and corpus that there is.

    Raises:
        SettingsError: a file cannot be written there.
    """
    records = sorted(map(_printable, records), key=lambda record: record.key)
    protocols = results_of(records)
    marks = _looks(records, protocols)
    blocks = {
        "scores": score_blocks(protocols, marks),
        "shots": shots_blocks(protocols, marks),
        "confusions": [block for results in protocols for block in confusion_blocks(results)],
        "groups": [block for results in protocols for block in group_blocks(results, marks)],
        "calibration": [block for results in protocols for block in calibration_blocks(results, marks)],
        "open_set": [block for results in protocols for block in open_set_blocks(results, marks)],
        "maps": map_blocks(clips or {}, play=play),
        "audit": audit_blocks(records),
        "licences": licence_blocks(records),
        "repeat": command_blocks(records),
        "remarks": remark_blocks(records),
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


def _printable(record: Record) -> Record:
    """Return a record without characters that cannot be encoded, as in a folder name that is not UTF-8."""
    text = json.dumps(asdict(record), ensure_ascii=False)
    return fill(Record, json.loads(text.encode(errors="replace")), where="record")


def _looks(records: Sequence[Record], protocols: Sequence[ProtocolResults]) -> dict[str, Look]:
    """Return colour and shape of methods and corpora for all charts; those drawn most often come first."""
    drawn = Counter(method for results in protocols for method in results.best())
    methods = sorted({record.method for record in records}, key=lambda method: (-drawn[method], method))
    return looks(sorted({record.corpus for record in records})) | looks(methods)


def _summary(records: Sequence[Record]) -> str:
    done = [record for record in records if record.done]
    plurals = {"method": "methods", "protocol": "protocols", "corpus": "corpora"}
    parts = [f"{len({getattr(record, name) for record in done})} {plural}" for name, plural in plurals.items()]
    days = sorted(record.origin.finished[:10] for record in records)
    dates = [f"{days[0]} to {days[-1]}"] if days else []
    minutes = sum(record.origin.minutes_to_score for record in records)
    return f"{len(done)} records: {', '.join(parts + dates)}; {minutes:.0f} minutes of scoring."


def _notices(records: Sequence[Record], expected: Sequence[str]) -> list[str]:
    """Return warnings: records that are missing, that failed, or that break a promise of the protocol."""
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
