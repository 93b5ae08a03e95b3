"""Leave-one-corpus-out results of two learners, and the effect of the split alone."""

from __future__ import annotations

from typing import Any

from _tables._text import RESULTS, by_corpus, percent, read, table


def leave_one_corpus_out() -> str:
    result = {one["held_out"]: one["learners"] for one in _results()}
    learners = next(iter(result.values()))
    spec = next(iter(learners.values()))["spec"]
    remark = f", {spec['n_query']} queries a class; each column was left out of the training"
    return by_corpus(result, list(learners), "learner", remark)


def training() -> str:
    head = [
        "left out",
        "learner",
        "kept epoch",
        "UAR on meta-validation, %",
        "minutes",
        "threads",
        "episodes (SHA-256)",
    ]
    rows = [
        [
            result["held_out"],
            name,
            str(record["epoch"]),
            f"{100 * record['validation_uar']:.1f} ± {100 * record['validation_ci95']:.1f}",
            str(record["minutes"]),
            str(result["threads"]),
            result["learners"][name]["episodes_sha256"][:12],
        ]
        for result in _results()
        for name, record in result["kept_epoch"].items()
    ]
    return table(head, rows)


def recall() -> str:
    rates = {result["held_out"]: result["learners"]["ridge, trained"]["recall"] for result in _results()}
    rows = [[name, ", ".join(f"{label} {100 * rate:.0f}" for label, rate in of.items())] for name, of in rates.items()]
    return table(["left out", "recall of each class in %, ridge, trained"], rows)


def split_protocols() -> str:
    result = read(RESULTS / "split_protocols.json")["corpora"]
    head = [
        "learned from, tested on",
        *(f"{name}, {next(iter(of.values()))['n_way']}-way" for name, of in result.items()),
    ]
    rows = [
        [
            protocol,
            *(f"{percent(of[protocol]['uar'])} ({of[protocol]['clips']:g} clips a class)" for of in result.values()),
        ]
        for protocol in next(iter(result.values()))
    ]
    rows.append(["chance", *(f"{100 * next(iter(of.values()))['chance']:.1f}" for of in result.values())])
    return table(head, rows)


def _results() -> list[dict[str, Any]]:
    return [read(path) for path in sorted(RESULTS.glob("leave_out_*.json"))]
