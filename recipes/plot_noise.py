"""Draw how UAR falls with noise, a room and the telephone, for clips enrolled as recorded and through them.

    uv run python recipes/plot_noise.py

Reads what recipes/noise_robustness.py wrote; writes docs/noise.svg.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from _figures._style import by_corpus

from ser_fewshot.storage.files import write_atomically

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "noise_robustness.json"
FIGURE = HERE.parent / "docs" / "noise.svg"
LOOKS = {"recorded": ("tab:gray", "o"), "augmented": ("tab:blue", "s"), "matched": ("tab:green", "^")}


def main() -> None:
    result = json.loads(RESULTS.read_text(encoding="utf-8"))
    write_atomically(FIGURE, drawn(result["corpora"]))


def drawn(corpora: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the figure as SVG: axes for each corpus, a line for each kind of support."""
    return by_corpus(corpora, draw, size=(3.2, 3.8), label="UAR, %", legend="clips enrolled", salt="noise")


def draw(place: Any, rows: Mapping[str, Any]) -> None:
    """Draw UAR with its interval under every condition, and chance."""
    conditions = list(dict.fromkeys(name.partition(", support ")[0] for name in rows))
    for support, (colour, marker) in LOOKS.items():
        found = {number: rows.get(f"{name}, support {support}") for number, name in enumerate(conditions)}
        points = [(number, row["uar"]["mean"], row["uar"]["ci95"]) for number, row in found.items() if row]
        at, uar, half = (np.array(values) for values in zip(*points, strict=True))
        place.errorbar(at, 100 * uar, 100 * half, color=colour, marker=marker, markersize=4, label=support)
    place.axhline(100 * next(iter(rows.values()))["chance"], color="black", linewidth=0.5, linestyle="--")
    place.set_xticks(range(len(conditions)), conditions, rotation=60, ha="right", fontsize="small")


if __name__ == "__main__":
    main()
