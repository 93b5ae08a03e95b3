"""The recipes, one question each: the row of each in the README, and all rows of each on their own page."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from _tables._text import RESULTS, percent, read, table

QUESTIONS = (
    "within_corpus",
    "unseen_classes",
    "new_emotions",
    "leave_one_corpus_out",
    "speakers_as_classes",
    "emotion_speaker_classes",
    "mtl_phases",
    "pretrained_features",
    "personal_enrolment",
    "listened_voice",
    "split_protocols",
    "fine_tuning",
    "noise_robustness",
    "shots_curve",
)
OF_MANY_FILES = {"leave_one_corpus_out": "leave_out_*.json", "pretrained_features": "pretrained_*-base.json"}
_LEFT_OUT_HEADLINE = ("ridge, statistics", "ridge, trained")
_PRETRAINED_HEADLINE = ("layer 2, mean and std", "weighted, ridge", "weighted, mtl")


def recipes(folder: Path = RESULTS) -> str:
    """Every recipe with its question, its command, how long it took and what came out."""
    rows = [_row(name, folder) for name in QUESTIONS]
    return table(["recipe", "its question", "command", "minutes", "UAR in %, mean ± 95 % CI over episodes"], rows)


def details(name: str, folder: Path = RESULTS) -> str:
    """Every row of a recipe, a column a corpus."""
    found = results(name, folder)
    if not found:
        return f"Not measured yet: `uv run python recipes/{name}.py --corpora DIR`\n"
    corpora = {corpus: rows for result in found for corpus, rows in result["corpora"].items()}
    names = list(dict.fromkeys(row for rows in corpora.values() for row in rows))
    lines = [[row, *(_cell(rows.get(row)) for rows in corpora.values())] for row in names]
    return f"{_caption(name, found)}\n\n" + table(["", *corpora], lines)


def results(name: str, folder: Path = RESULTS) -> list[dict[str, Any]]:
    """Return the result files of a recipe in one form, however many it has written."""
    paths = sorted(folder.glob(OF_MANY_FILES.get(name, f"{name}.json")))
    return [_in_one_form(name, read(path)) for path in paths]


def question(name: str) -> str:
    """Return the question that the docstring of a recipe begins with."""
    source = (RESULTS.parent / f"{name}.py").read_text(encoding="utf-8")
    return source.partition('"""')[2].partition("?")[0] + "?"


def _in_one_form(name: str, result: dict[str, Any]) -> dict[str, Any]:
    if name == "leave_one_corpus_out":
        minutes = sum(kept["minutes"] for kept in result["kept_epoch"].values())
        corpora = {result["held_out"]: result["learners"]}
        command = result["command"].partition(" --held-out")[0].partition(" --corpus ")[0]  # for all of them
        return {**result, "minutes": minutes, "command": command, "headline": _LEFT_OUT_HEADLINE, "corpora": corpora}
    if name == "pretrained_features":
        return {"minutes": None, "headline": _PRETRAINED_HEADLINE, **result}
    return {"minutes": None, "headline": list(next(iter(result["corpora"].values())))[:2], **result}


def _row(name: str, folder: Path) -> list[str]:
    found = results(name, folder)
    if not found:
        return [
            _title(name),
            question(name),
            f"`uv run python recipes/{name}.py --corpora DIR`",
            "-",
            "not measured yet",
        ]
    taken = [result.get("processor_minutes", result["minutes"]) for result in found]
    known = [minutes for minutes in taken if minutes is not None]
    minutes = f"{sum(known):.0f}" if known and sum(known) >= 1 else "under 1" if known else "-"
    return [_title(name), question(name), f"`{found[0]['command']}`", minutes, "<br>".join(_results(found))]


def _results(found: list[dict[str, Any]]) -> Iterator[str]:
    """Yield the headline of a recipe on each corpus, in a line."""
    for result in found:
        for corpus, rows in result["corpora"].items():
            scores = [f"{name} {percent(rows[name]['uar'])}" for name in result["headline"] if name in rows]
            chance = next(iter(rows.values()))["chance"]
            mark = " (the default model was trained on it)" if corpus in _trained_on(result) else ""
            yield f"{corpus}{mark}: {'; '.join(scores)} (chance {100 * chance:.1f})"


def _trained_on(result: dict[str, Any]) -> list[str]:
    """Return the corpora of a result that its finished model was trained on."""
    return [corpus for corpus, of in result.get("models", {}).items() if of["had_heard_it"]]


def _title(name: str) -> str:
    return f"[{name.replace('_', ' ')}](recipes/{name}.py)"


def _caption(name: str, found: list[dict[str, Any]]) -> str:
    rows = next(iter(found[0]["corpora"].values()))
    protocols = dict.fromkeys(row["protocol"] for row in rows.values() if "protocol" in row)
    text = "; ".join(protocols)
    trained = [corpus for result in found for corpus in _trained_on(result)]
    warning = f" The default model was trained on {', '.join(trained)}, so its rows measure nothing." if trained else ""
    return f"{question(name)} UAR in %, mean ± 95 % CI{f'; {text}' if text else ''}.{warning} `{found[0]['command']}`"


def _cell(row: dict[str, Any] | None) -> str:
    return "-" if row is None else percent(row["uar"])
