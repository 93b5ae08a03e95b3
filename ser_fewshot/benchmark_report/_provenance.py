"""What the numbers rest on: what the two sides of a test share, on what terms, and how each cell is run again."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from importlib import metadata

from ser_fewshot._versions import MACHINE, PROCESSOR
from ser_fewshot.benchmark.records import Audit, Licence, Record
from ser_fewshot.benchmark_report._page import Block, Section
from ser_fewshot.benchmark_report._table import ABSENT, ReportTable, Tone, frame, number

_SHARED = (
    ("support_query_clips", "support and query: clips"),
    ("support_query_speakers", "speakers"),
    ("support_query_sentences", "sentences"),
    ("train_test_clips", "training and test: clips"),
    ("train_test_speakers", "speakers"),
    ("train_test_sentences", "sentences"),
)
_LONGEST = 60  # characters of the name of a licence: some packages give its whole text there
_LISTED = 4  # cells of a remark
_CELL = ("key", "command", "seed", "episodes", "episodes_sha256", "split", "split_sha256", "device", "threads")


def audit(records: Sequence[Record]) -> Section:
    """Return the section on leakage."""
    audited = [record for record in records if record.audit is not None]
    broken = [record.key for record in audited if record.audit and record.audit.broken]
    kept = f"Every promise holds in all {len(audited)} cells."
    verdict = (
        f"✗ {len(broken)} of {len(audited)} cells break a promise: {', '.join(broken[:10])}." if broken else f"✓ {kept}"
    )
    block = Block(
        "What both sides share", notes=(verdict,) if audited else (), tables=(_audit_table(audited),), open=True
    )
    return Section(
        "audit",
        "Leakage audit",
        "Distinct clips, speakers and sentences that two sides share: support and query within each episode, summed "
        "over all episodes; training and test once. ✓ marks a zero that the protocol promises, ✗ a promise that is "
        "broken; a number without a sign was not promised to be zero. - stands for a method that learned "
        "from clips of the corpus it is tested on: a ceiling, or a model that has them in its training set.",
        (block,) if audited else (),
    )


def licences(records: Sequence[Record]) -> Section:
    """Return the section on the terms of what took part."""
    terms = {item.corpus: item for record in records for item in record.licences}
    versions = {name: version for record in records for name, version in record.origin.versions.items()}
    for name in (MACHINE, PROCESSOR):
        versions.pop(name, None)
    tables = (_corpora_table([terms[name] for name in sorted(terms)]), _libraries_table(versions))
    return Section(
        "licences",
        "Licences",
        "Of the corpora that were learned from or tested on, and of the programs. A model that learned from a corpus "
        "is bound by its terms.",
        (Block("Corpora and programs", tables=tables, open=True),) if terms or versions else (),
    )


def repetition(records: Sequence[Record]) -> Section:
    """Return the section on how each cell is run again."""
    notes = [
        "CORPORA and OUT stand for folders of yours. The same command with the same versions on the same kind of "
        "processor gives the same numbers, to the bit; on another kind, UAR and episodes are the same, and ECE, AUROC "
        "and losses within rounding.",
        *(f"Versions of {count} cells: {told}." for told, count in _versions(records)),
    ]
    block = Block(f"Commands of {len(records)} cells", notes=tuple(notes), tables=(_cells_table(records),))
    return Section(
        "repeat",
        "How to repeat a number",
        "Equal hashes of episodes are equal tasks; equal hashes of a split are equal clips on both sides.",
        (block,) if records else (),
    )


def not_done(records: Sequence[Record]) -> Section:
    """Return the section on cells without a number, and on those whose number needs a word."""
    missing = [record for record in records if not record.done]
    noted: dict[tuple[str, str], list[str]] = {}
    for record in records:
        for remark in _remarks(record):
            noted.setdefault(remark, []).append(record.key)
    numbers = [(what, why, len(keys), " ".join(keys)) for (what, why), keys in noted.items()]
    shown = [(what, why, str(count), _first(keys.split())) for what, why, count, keys in numbers]
    columns = ("what", "why", "n", "cells")
    table = ReportTable(
        "remarks",
        "Cells without a number, and numbers that need a word.",
        frame(numbers, columns=columns),
        frame(shown, columns=columns),
        row_heads=4,
    )
    return Section(
        "remarks",
        "Remarks",
        f"{len(missing)} of {len(records)} cells have no number: an error stopped them, or the corpus "
        "cannot give such episodes.",
        (Block(f"{len(noted)} remarks", tables=(table,)),) if noted else (),
    )


def _remarks(record: Record) -> Iterator[tuple[str, str]]:
    """Yield what is to be said of a record: a kind, and words."""
    if not record.done:
        yield record.status, record.reason
    yield from (("note", note) for note in record.notes)
    if record.diverged:
        reason = next(iter(record.diverged.values()))
        yield "diverged", f"{len(record.diverged)} of {record.episodes} episodes count as chance: {reason}"


def _first(keys: Sequence[str]) -> str:
    more = f", and {len(keys) - _LISTED} more" if len(keys) > _LISTED else ""
    return ", ".join(keys[:_LISTED]) + more


def _audit_table(records: Sequence[Record]) -> ReportTable:
    """Return a row for each protocol, corpus and split; methods that share all of it share the row."""
    rows: dict[tuple[str, ...], tuple[Audit, list[str]]] = {}
    for record in records:
        if record.audit is not None:
            counts = tuple(_signed(record.audit, name) for name, _ in _SHARED)
            at = (record.protocol, record.corpus, record.split.name if record.split else ABSENT, *counts)
            rows.setdefault(at, (record.audit, []))[1].append(record.method)
    ordered = sorted(rows.items())
    shown = [[*at[:3], str(len(methods)), *at[3:]] for at, (_, methods) in ordered]
    numbers = [
        (
            *at[:3],
            " ".join(sorted(methods)),
            *(getattr(found, name) if found.tells(name) else None for name, _ in _SHARED),
            " ".join(found.promised),
            not found.broken,
        )
        for at, (found, methods) in ordered
    ]
    tones: dict[tuple[int, int], Tone] = {
        (row, 4 + column): "fail" if getattr(found, name) else "pass"
        for row, (_, (found, _)) in enumerate(ordered)
        for column, (name, _) in enumerate(_SHARED)
        if name in found.promised
    }
    return ReportTable(
        "audit",
        "What two sides share, as counts.",
        frame(
            numbers,
            columns=("protocol", "corpus", "split", "methods", *(name for name, _ in _SHARED), "promised", "holds"),
        ),
        frame(shown, columns=("protocol", "corpus", "split", "methods", *(words for _, words in _SHARED))),
        tones=tones,
        row_heads=3,
    )


def _signed(found: Audit, name: str) -> str:
    if not found.tells(name):
        return ABSENT
    count = getattr(found, name)
    return f"{count} {'✗' if count else '✓'}" if name in found.promised else str(count)


def _corpora_table(terms: Sequence[Licence]) -> ReportTable:
    allowed = {True: "allowed", False: "not allowed", None: "not stated"}
    names = ("corpus", "title", "language", "licence", "commercial_use", "citation", "url")
    return ReportTable(
        "licences",
        "Corpora: cite them as their publishers ask.",
        frame([[getattr(item, name) for name in names] for item in terms], columns=names),
        frame(
            [
                [item.title, item.licence, allowed[item.commercial_use], f"{item.citation}. {item.url}"]
                for item in terms
            ],
            columns=("corpus", "licence", "commercial use", "source"),
        ),
        row_heads=4,
    )


def _libraries_table(versions: dict[str, str]) -> ReportTable:
    rows = [(name, version, _licence_of(name)) for name, version in sorted(versions.items())]
    table = frame(rows, columns=("program", "version", "licence"))
    return ReportTable(
        "programs",
        "Programs, with the licence that their metadata name; what they carry, such as openSMILE's core, may have "
        "another.",
        table,
        table,
        row_heads=3,
    )


def _licence_of(package: str) -> str:
    """Return what an installed package says of its licence."""
    if package.lower() == "python":
        return "PSF-2.0"
    with contextlib.suppress(metadata.PackageNotFoundError):
        said = metadata.metadata(package)
        kinds = [line.rpartition(" :: ")[2] for line in said.get_all("Classifier") or [] if line.startswith("License")]
        given = [said[name] for name in ("License-Expression", "License") if name in said]
        named = [told for told in given if len(told) < _LONGEST and told != "UNKNOWN"]
        return " ".join((named or [", ".join(kinds)])[0].split()) or "not named"
    return "not installed here"


def _cells_table(records: Sequence[Record]) -> ReportTable:
    names = (*_CELL, "minutes_to_train", "minutes_to_score", "finished")
    numbers = [
        [*_cell(record), record.origin.minutes_to_train, record.origin.minutes_to_score, record.origin.finished]
        for record in records
    ]
    shown = [
        [
            record.key,
            record.origin.command,
            str(record.origin.seed),
            record.episodes_sha256[:12],
            number(record.origin.minutes_to_train + record.origin.minutes_to_score),
        ]
        for record in records
    ]
    return ReportTable(
        "cells",
        "Every cell: the command that computes it alone, its seed, the hash of its episodes, and minutes to train and "
        "to score. The CSV file has all columns.",
        frame(numbers, columns=names),
        frame(shown, columns=("cell", "command", "seed", "episodes", "minutes")),
        row_heads=2,
    )


def _cell(record: Record) -> list[object]:
    origin, split = record.origin, record.split
    parted = ("", "") if split is None else (split.name, split.sha256)
    tested = (record.episodes, record.episodes_sha256)
    return [record.key, origin.command, origin.seed, *tested, *parted, origin.device, origin.threads]


def _versions(records: Iterable[Record]) -> list[tuple[str, int]]:
    counts: dict[str, int] = {}
    for record in records:
        told = ", ".join(f"{name} {version}" for name, version in sorted(record.origin.versions.items()))
        counts[told] = counts.get(told, 0) + 1
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))
