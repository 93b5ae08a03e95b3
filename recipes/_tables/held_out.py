"""Two learners on corpora that training never met, and what the split alone does."""

from __future__ import annotations

from _tables._text import RESULTS, percent, read, table


def leave_one_corpus_out() -> str:
    results = [read(path) for path in sorted((RESULTS).glob("leave_out_*.json"))]
    first = results[0]
    spec = first["learners"][next(iter(first["learners"]))]
    head = ["learner", *(result["held_out"] for result in results), "mean"]
    rows = []
    for name in first["learners"]:
        scores = [result["learners"][name]["uar"] for result in results]
        mean = sum(score["mean"] for score in scores) / len(scores)
        rows.append([name, *map(percent, scores), f"{100 * mean:.1f}"])
    rows.append(["chance", *(f"{100 * spec['chance']:.1f}" for _ in results), f"{100 * spec['chance']:.1f}"])
    return (
        f"UAR in %, mean ± 95 % CI over {spec['episodes']} episodes; {spec['protocol']}, {spec['spec']['n_query']} "
        "queries a class; each column was left out of the training.\n\n" + table(head, rows)
    )


def training() -> str:
    results = [read(path) for path in sorted((RESULTS).glob("leave_out_*.json"))]
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
        for result in results
        for name, record in result["kept_epoch"].items()
    ]
    return table(head, rows)


def recall() -> str:
    lines = []
    for path in sorted((RESULTS).glob("leave_out_*.json")):
        result = read(path)
        rates = result["learners"]["ridge, trained"]["recall"]
        lines.append([result["held_out"], ", ".join(f"{label} {100 * rate:.0f}" for label, rate in rates.items())])
    return table(["left out", "recall of each class in %, ridge, trained"], lines)


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
