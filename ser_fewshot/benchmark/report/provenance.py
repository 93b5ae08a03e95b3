"""Leakage audit, licences, the command of each record, and remarks."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import fields
from importlib import metadata

import pandas as pd

from ser_fewshot.benchmark.record import Audit, Licence, Record
from ser_fewshot.benchmark.report.table import ABSENT, Block, ReportTable, Row, Tones, number
from ser_fewshot.compute.versions import MACHINE, PROCESSOR

_PLACE = ["protocol", "corpus", "split"]
_AUDITED = {
    f"{sides}_{what}": f"{title}: {what}"
    for sides, title in (("support_query", "support and query"), ("train_test", "training and test"))
    for what in ("clips", "speakers", "sentences")
}
_LICENCE = {"title": "corpus", "licence": "licence", "commercial_use": "commercial use", "source": "source"}
_COMMERCIAL = {True: "allowed", False: "not allowed", None: "not stated"}
_MAX_LICENCE = 60  # characters of the name of a licence: some packages give its whole text there
_LISTED = 4  # records of a remark on the page


def audit_blocks(records: Sequence[Record]) -> list[Block]:
    """Return the counts of clips, speakers and sentences that support and query, or training and test, share."""
    audited = [(record, record.audit) for record in records if record.audit]
    broken = [record.key for record, found in audited if found.broken]
    verdict = f"✓ All promises are kept in all {len(audited)} records."
    if broken:
        verdict = f"✗ {len(broken)} of {len(audited)} records break a promise: {', '.join(broken[:10])}."
    rows = pd.DataFrame([_audited(record, found) for record, found in audited])
    return [Block("Shared by both sides", [verdict], tables=[_audit_table(rows)])] if audited else []


def _audited(record: Record, found: Audit) -> Row:
    place = {"protocol": record.protocol, "corpus": record.corpus, "split": record.split.name if record.split else "-"}
    counts = {name: getattr(found, name) if found.applies(name) else None for name in _AUDITED}
    promises = {"promised": " ".join(found.promised), "holds": not found.broken}
    return {**place, "methods": record.method, **counts, **promises}


def _audit_table(rows: pd.DataFrame) -> ReportTable:
    """Return a row per protocol, corpus and split; methods with the same counts share it."""
    same = [name for name in rows if name != "methods"]
    groups = rows.groupby(same, dropna=False)["methods"].agg(lambda names: " ".join(sorted(names))).reset_index()
    data, tones = groups[list(rows)], Tones()
    shown = data[_PLACE].assign(methods=data["methods"].str.split().str.len().astype(str))
    for column, (name, title) in enumerate(_AUDITED.items(), start=len(shown.columns)):
        promised = [name in names.split() for names in data["promised"]]
        shown[title] = list(map(_signed, data[name], promised))
        tones |= {(i, column): "fail" if data[name][i] else "pass" for i, sign in enumerate(promised) if sign}
    return ReportTable(
        "audit", "Number of clips, speakers and sentences that two sides share.", data, shown, tones, text_columns=3
    )


def _signed(count: float, promised: bool) -> str:
    if pd.isna(count):
        return ABSENT
    return f"{count:.0f}{(' ✗' if count else ' ✓') if promised else ''}"


def licence_blocks(records: Sequence[Record]) -> list[Block]:
    """Return the licences of the corpora that were trained or tested on, and of the programs."""
    terms = {item.corpus: item for record in records for item in record.licences}
    rows = [terms[corpus] for corpus in sorted(terms)]
    data = pd.DataFrame([vars(item) for item in rows], columns=[one.name for one in fields(Licence)], dtype=object)
    allowed = [_COMMERCIAL[item.commercial_use] for item in rows]
    shown = data.assign(commercial_use=allowed, source=data["citation"] + ". " + data["url"])
    shown = shown[list(_LICENCE)].rename(columns=_LICENCE)
    caption = "Corpora: cite them as their publishers ask."
    tables = [ReportTable("licences", caption, data, shown, text_columns=4), _programs(records)]
    return [Block("Corpora and programs", tables=tables)] if records else []


def _programs(records: Sequence[Record]) -> ReportTable:
    versions = {name: version for record in records for name, version in record.origin.versions.items()}
    names = sorted(versions.keys() - {MACHINE, PROCESSOR})
    rows = [(name, versions[name], _licence_of(name)) for name in names]
    data = pd.DataFrame(rows, columns=["program", "version", "licence"])
    caption = "Programs, with the licence in their metadata; parts of them, such as openSMILE's core, may have another."
    return ReportTable("programs", caption, data, data, text_columns=3)


def _licence_of(package: str) -> str:
    """Return the licence that the metadata of an installed package name."""
    if package.lower() == "python":
        return "PSF-2.0"
    with contextlib.suppress(metadata.PackageNotFoundError):
        known = metadata.metadata(package)
        named = [" ".join(known[name].split()) for name in ("License-Expression", "License") if name in known]
        kinds = [line.rpartition(" :: ")[2] for line in known.get_all("Classifier") or [] if line.startswith("License")]
        short = [text for text in named if 0 < len(text) < _MAX_LICENCE and text != "UNKNOWN"]
        return (short or [", ".join(kinds)])[0] or "not named"
    return "not installed here"


def command_blocks(records: Sequence[Record]) -> list[Block]:
    """Return the command, the seed and the episodes of every record, and the versions that were used."""
    versions = Counter(
        ", ".join(f"{name} {version}" for name, version in sorted(record.origin.versions.items())) for record in records
    )
    notes = [f"Versions of {n} records: {names}." for names, n in versions.most_common()]
    return [Block(f"Commands of {len(records)} records", notes, tables=[_commands(records)])] if records else []


def _commands(records: Sequence[Record]) -> ReportTable:
    origin = ["device", "threads", "minutes_to_train", "minutes_to_score", "finished"]
    rows = [
        [one.key, one.origin.command, one.origin.seed, one.episodes, one.episodes_sha256]
        + ([one.split.name, one.split.sha256] if one.split else ["", ""])
        + [getattr(one.origin, name) for name in origin]
        for one in records
    ]
    names = ["key", "command", "seed", "episodes", "episodes_sha256", "split", "split_sha256", *origin]
    data = pd.DataFrame(rows, columns=names)
    shown = data[["key", "command"]].rename(columns={"key": "record"})
    shown["seed"], shown["episodes"] = data["seed"].astype(str), data["episodes_sha256"].str[:12]
    shown["minutes"] = (data["minutes_to_train"] + data["minutes_to_score"]).map(number)
    caption = (
        "Every record: the command that computes it alone, its seed, the digest of its episodes, and the minutes to "
        "train and to score. The CSV file has more columns."
    )
    return ReportTable("cells", caption, data, shown, text_columns=2)


def remark_blocks(records: Sequence[Record]) -> list[Block]:
    """Return the reasons of records without a number, and the notes of all others."""
    keys: dict[tuple[str, str], list[str]] = {}
    for record in records:
        for remark in _remarks(record):
            keys.setdefault(remark, []).append(record.key)
    rows = [(*remark, len(found), " ".join(found)) for remark, found in keys.items()]
    shown = [
        (*remark, str(len(found)), ", ".join(found[:_LISTED]) + (", …" if len(found) > _LISTED else ""))
        for remark, found in keys.items()
    ]
    table = ReportTable(
        "remarks",
        "Records without a number, and remarks on those that have one.",
        pd.DataFrame(rows, columns=["what", "why", "n", "cells"]),
        pd.DataFrame(shown, columns=["kind", "remark", "records", "such as"]),
        text_columns=4,
    )
    return [Block(f"{len(keys)} remarks", tables=[table])] if keys else []


def _remarks(record: Record) -> Iterator[tuple[str, str]]:
    """Yield the kind and the text of each remark on a record."""
    if not record.done:
        yield record.status, record.reason
    yield from (("note", note) for note in record.notes)
    if record.diverged:
        reason = next(iter(record.diverged.values()))
        yield "diverged", f"{len(record.diverged)} of {record.episodes} episodes count as chance: {reason}"
