"""Learners on a corpus, on classes and on speakers that training never met, and what the split alone does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from _tables._text import RESULTS, percent, read, table

CONVENTIONAL = ("finetune, head", "finetune, whole", "multitask")
UNTRAINED = ("nearest, mean log-mel", "nearest, statistics", "ridge, statistics")


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


def learners(*kinds: str) -> str:
    """Every learner on the questions of some kinds; what is not above the baseline is marked."""
    columns = [
        (f"{result['question']}, {spec.split(' by ')[0]}", {name: row["scores"][spec] for name, row in of.items()})
        for result in questions()
        if result["kind"] in kinds
        for of in [result["learners"]]
        for spec in next(iter(of.values()))["scores"]
    ]
    _, first = columns[0]
    baseline = next(iter(first))
    rows = [[name, *(_marked(of, name, baseline) for _, of in columns)] for name in first]
    rows.append(["chance", *(f"{100 * of[baseline]['chance']:.1f}" for _, of in columns)])
    return (
        f"UAR in %, mean ± 95 % CI over {first[baseline]['episodes']} episodes. Bold: the best of a column. ↓: its "
        f"interval is not wholly above that of {baseline}.\n\n"
        + table(["learner", *(question for question, _ in columns)], rows)
    )


def _marked(scores: Mapping[str, Any], name: str, baseline: str) -> str:
    uar, base = scores[name]["uar"], scores[baseline]["uar"]
    best = max(score["uar"]["mean"] for score in scores.values())
    above = name == baseline or uar["mean"] - uar["ci95"] > base["mean"] + base["ci95"]
    text = f"**{percent(uar)}**" if uar["mean"] == best else percent(uar)
    return text if above else f"{text} ↓"


def contrast() -> str:
    """Whether meta-learning, its contrasts or no training at all win a question."""
    rows = []
    for result in questions():
        for spec in next(iter(result["learners"].values()))["scores"]:
            scores = {name: row["scores"][spec]["uar"] for name, row in result["learners"].items()}
            meta = [name for name in scores if name not in CONVENTIONAL + UNTRAINED]
            best = [max(group, key=lambda name: scores[name]["mean"]) for group in (meta, CONVENTIONAL, UNTRAINED)]
            first, second = sorted((scores[name] for name in best), key=lambda uar: -uar["mean"])[:2]
            apart = first["mean"] - first["ci95"] > second["mean"] + second["ci95"]
            winner = max(best, key=lambda name: scores[name]["mean"]) if apart else "none"
            question = f"{result['question']}, {spec.split(' by ')[0]}"
            rows.append([question, *(f"{name}: {percent(scores[name])}" for name in best), winner])
    return table(["question", "best meta-learner", "best fine-tuning or multi-task", "best untrained", "wins"], rows)


def questions() -> list[dict[str, Any]]:
    """Return the results of compare_learners.py, each with what it asked in a few words."""
    results = []
    for path in sorted((RESULTS / "learners").glob("*.json")):
        kind, corpus = path.stem.split("_")
        words = {"emotions": corpus, "classes": f"unseen classes of {corpus}", "speakers": f"speakers of {corpus}"}
        results.append({"question": words[kind], "kind": kind, **read(path)})
    return sorted(results, key=lambda result: ("emotions", "classes", "speakers").index(result["kind"]))


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
