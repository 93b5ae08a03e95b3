"""Numbers, rows and files of all tables."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parents[1] / "results"


def milliseconds(seconds: float) -> str:
    return f"{1000 * seconds:.0f} ms"


def percent(score: Mapping[str, float]) -> str:
    return f"{100 * score['mean']:.1f} ± {100 * score['ci95']:.1f}"


def table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def read(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def by_corpus(result: Mapping[str, Mapping[str, Any]], names: Sequence[str], head: str, remark: str = "") -> str:
    """Return UAR of some rows on every corpus, with their mean and chance, as a table with a caption."""
    first = next(iter(result.values()))[names[0]]
    rows = []
    for name in names:
        scores = [of[name]["uar"] for of in result.values()]
        mean = sum(score["mean"] for score in scores) / len(scores)
        rows.append([name, *map(percent, scores), f"{100 * mean:.1f}"])
    rows.append(["chance", *(f"{100 * first['chance']:.1f}" for _ in (*result, "mean"))])
    caption = f"UAR in %, mean ± 95 % CI over {first['episodes']} episodes; {first['protocol']}{remark}.\n\n"
    return caption + table([head, *result, "mean"], rows)
