"""How much more clips help: UAR over the number of shots, where one kind of protocol was run with several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ser_fewshot.benchmark.records import Record
from ser_fewshot.benchmark_report._curves import Line, lines
from ser_fewshot.benchmark_report._grid import DRAWN, Protocol, protocols, slug
from ser_fewshot.benchmark_report._page import Block, Figure, Section, identity
from ser_fewshot.benchmark_report._svg import draw
from ser_fewshot.benchmark_report._table import ABSENT, ReportTable, frame, percent
from ser_fewshot.report import Look

_COLUMNS = ("protocol", "corpus", "method", "kind", "k_shot", "uar", "uar_ci95")


def shots(found: Sequence[Protocol], looks: Mapping[str, Look]) -> Section:
    """Return the section; it has no blocks where no protocol was run with several numbers of shots."""
    families: dict[str, list[Record]] = {}
    for protocol in found:
        families.setdefault(protocol.family, []).extend(protocol.records)
    several = {name: records for name, records in families.items() if len({_k(record) for record in records}) > 1}
    return Section(
        "shots",
        "Number of shots",
        f"UAR over the clips that each class is enrolled with, for the best {DRAWN} methods; "
        "bars are 95 % confidence intervals over episodes.",
        tuple(_block(name, records, looks, open=name == min(several)) for name, records in sorted(several.items())),
    )


def _block(family: str, records: Sequence[Record], looks: Mapping[str, Look], *, open: bool) -> Block:
    by_corpus: dict[str, list[Record]] = {}
    for record in records:
        by_corpus.setdefault(record.corpus, []).append(record)
    ranked = max((protocol.best() for protocol in protocols(records)), key=len)
    figures = [_figure(family, corpus, by_corpus[corpus], looks, methods=ranked) for corpus in sorted(by_corpus)]
    return Block(family, legend=ranked, figures=tuple(figures), tables=(_table(family, records),), open=open)


def _figure(
    family: str, corpus: str, own: Sequence[Record], looks: Mapping[str, Look], *, methods: Sequence[str]
) -> Figure:
    by_method: dict[str, list[Record]] = {method: [] for method in methods}
    for record in own:
        by_method.setdefault(record.method, []).append(record)
    found = {method: _line(by_method[method]) for method in methods}
    drawn = {method: line for method, line in found.items() if line.x}
    chance = {100 * record.chance for record in own}
    paint = lines(
        drawn,
        looks,
        x_label="clips a class (shots)",
        y_label="UAR, %",
        chance=chance.pop() if len(chance) == 1 else None,
        ticks=sorted({_k(record) for record in own}),
    )
    told = "; ".join(
        f"{method}: {', '.join(f'{y:.1f} % with {x:g}' for x, y in zip(line.x, line.y, strict=True))}"
        for method, line in drawn.items()
    )
    title = f"UAR by number of shots on {corpus}"
    return Figure(corpus, draw(paint, name=f"shots {family} {corpus}", title=title, description=told))


def _line(records: Sequence[Record]) -> Line:
    points = sorted((_k(record), record.uar.mean, record.uar.ci95 or 0.0) for record in records if record.uar)
    return Line(
        tuple(float(k) for k, _, _ in points),
        tuple(100 * mean for _, mean, _ in points),
        tuple(100 * ci95 for _, _, ci95 in points),
    )


def _table(family: str, records: Sequence[Record]) -> ReportTable:
    cells = {(record.method, record.corpus, _k(record)): record for record in records if record.uar is not None}
    ks = sorted({k for _, _, k in cells})
    rows = sorted({(corpus, method) for method, corpus, _ in cells})
    shown = [[corpus, method, *(_score(cells.get((method, corpus, k))) for k in ks)] for corpus, method in rows]
    numbers = [
        {**identity(record), "k_shot": _k(record), "uar": record.uar.mean, "uar_ci95": record.uar.ci95}
        for record in cells.values()
        if record.uar is not None
    ]
    return ReportTable(
        f"shots_{slug(family)}",
        f"{family}: UAR in %, mean ± 95 % confidence interval over episodes, by the number of shots.",
        frame(numbers, columns=_COLUMNS),
        frame(shown, columns=["corpus", "method", *(f"{k}-shot" for k in ks)]),
        row_heads=2,
    )


def _score(record: Record | None) -> str:
    return ABSENT if record is None or record.uar is None else percent(record.uar.mean, record.uar.ci95)


def _k(record: Record) -> int:
    return int(record.spec["k_shot"])
