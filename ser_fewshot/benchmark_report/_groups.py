"""For whom it works: the share of right answers by the gender, the language and the speaker of the query clip."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median

from ser_fewshot.benchmark.records import Record
from ser_fewshot.benchmark_report._curves import Line, dots, room
from ser_fewshot.benchmark_report._grid import Protocol
from ser_fewshot.benchmark_report._page import Block, Figure, Row, Section, by_corpus, identity, label_of, present
from ser_fewshot.benchmark_report._svg import draw
from ser_fewshot.benchmark_report._table import ABSENT, ReportTable, frame, number, percent
from ser_fewshot.report import Look

_DRAWN = 4  # methods whose speakers are drawn
_COLUMNS = ("protocol", "corpus", "method", "kind", "group", "value", "right", "answers", "accuracy")


def breakdown(found: Sequence[Protocol], looks: Mapping[str, Look]) -> Section:
    """Return the section."""
    return Section(
        "groups",
        "Speakers, gender, language",
        "Accuracy over all queries of a group; chance is one in the number of ways. The clips of a group come again "
        "in many episodes and its speakers are few, so a difference holds for these speakers and not for all women, "
        "men or languages: no interval is given.",
        tuple(_block(protocol, looks) for protocol in found if any(record.tallies for record in protocol.records)),
    )


def _block(protocol: Protocol, looks: Mapping[str, Look]) -> Block:
    gender = by_corpus(
        protocol,
        name="gender",
        caption=f"{protocol.name}. Accuracy in % on queries by women / men, and the difference in points.",
        facts=_gender,
        words=lambda row: (
            f"{percent(row['female'])} / {percent(row['male'])} ({number(row['difference'], factor=100)})"
        ),
    )
    speakers = by_corpus(
        protocol,
        name="speakers",
        caption=f"{protocol.name}. Accuracy in % of the worst / median / best recognised speaker (the worst).",
        facts=_speakers,
        words=lambda row: (
            " / ".join(percent(row[name]) for name in ("worst", "median", "best")) + f" ({row['worst_speaker']})"
        ),
    )
    figures = [figure for corpus in protocol.corpora if (figure := _figure(protocol, corpus, looks)) is not None]
    tables = present([gender, speakers, _language(protocol), _all(protocol)])
    return Block(protocol.heading, figures=tuple(figures), tables=tables)


def _figure(protocol: Protocol, corpus: str, looks: Mapping[str, Look]) -> Figure | None:
    """Return a panel with a dot a speaker."""
    best = protocol.best(_DRAWN)
    rows = [record for record in protocol.on(corpus) if record.method in best and record.tallies.get("speaker")]
    if not rows:
        return None
    names = [record.method for record in rows]
    found = {
        record.method: {record.method: Line(tuple(100 * rate for rate in _rates(record, "speaker").values()), (0.0,))}
        for record in rows
    }
    told = "; ".join(f"{record.method}: {_span(record)}" for record in rows)
    drawing = draw(
        dots(names, found, looks, x_label="accuracy of each speaker, %", chance=100 * rows[0].chance),
        name=f"speakers {protocol.name} {corpus}",
        title=f"Accuracy of each speaker of {corpus}",
        description=told,
        **room(names),
    )
    return Figure(f"{corpus}: a mark a speaker; dotted: chance", drawing)


def _language(protocol: Protocol) -> ReportTable | None:
    """Return accuracy by language, over all corpora in which it is spoken."""
    sums: dict[tuple[str, str], list[int]] = {}
    for record in protocol.records:
        for language, (right, answers) in record.tallies.get("language", {}).items():
            total = sums.setdefault((record.method, language), [0, 0])
            total[0] += right
            total[1] += answers
    languages = sorted({language for _, language in sums})
    if not languages:
        return None
    columns = ("protocol", "method", "language", "right", "answers", "accuracy")
    return ReportTable(
        f"languages_{protocol.slug}",
        f"{protocol.name}. Accuracy in % by language (ISO 639-3), over all corpora in which it is spoken.",
        frame(
            [
                (protocol.name, method, language, right, answers, right / max(answers, 1))
                for (method, language), (right, answers) in sums.items()
            ],
            columns=columns,
        ),
        frame(
            [
                [label_of(protocol, method), *(_share(sums.get((method, language))) for language in languages)]
                for method in protocol.methods
            ],
            columns=["method", *languages],
        ),
    )


def _all(protocol: Protocol) -> ReportTable:
    """Return the best method's groups one by one; as numbers those of all methods."""
    numbers = [
        {
            **identity(record),
            "group": group,
            "value": value,
            "right": right,
            "answers": answers,
            "accuracy": right / max(answers, 1),
        }
        for record in protocol.records
        for group, tally in record.tallies.items()
        for value, (right, answers) in tally.items()
    ]
    first = protocol.best(1) or protocol.methods[:1]
    shown = [
        [row["corpus"], row["group"], row["value"], str(row["answers"]), percent(row["accuracy"])]
        for row in numbers
        if row["method"] in first
    ]
    return ReportTable(
        f"groups_{protocol.slug}",
        f"{protocol.name}. Every group of queries as {first[0]} recognises it, in %. The CSV file has all methods.",
        frame(numbers, columns=_COLUMNS),
        frame(shown, columns=["corpus", "by", "group", "answers", "accuracy"]),
        row_heads=3,
        folded=True,
    )


def _gender(record: Record) -> Row | None:
    rates = _rates(record, "gender")
    if not {"female", "male"} <= set(rates):
        return None
    return {"female": rates["female"], "male": rates["male"], "difference": rates["female"] - rates["male"]}


def _speakers(record: Record) -> Row | None:
    rates = _rates(record, "speaker")
    if not rates:
        return None
    worst = min(rates, key=lambda name: (rates[name], name))
    spread = {"worst": rates[worst], "median": median(rates.values()), "best": max(rates.values())}
    return {"speakers": len(rates), **spread, "worst_speaker": worst}


def _rates(record: Record, group: str) -> dict[str, float]:
    return {value: right / answers for value, (right, answers) in record.tallies.get(group, {}).items() if answers}


def _share(tally: list[int] | None) -> str:
    return ABSENT if tally is None else percent(tally[0] / max(tally[1], 1))


def _span(record: Record) -> str:
    rates = _rates(record, "speaker").values()
    return f"{percent(min(rates))} to {percent(max(rates))} % over {len(rates)} speakers"
