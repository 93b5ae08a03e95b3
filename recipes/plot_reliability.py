"""Draw reliability diagrams of the default model, before and after calibration.

    uv run python recipes/plot_reliability.py

Reads what recipes/measure_default.py wrote; writes docs/reliability.svg. On the diagonal, probabilities mean what they
say (Guo et al., "On calibration of modern neural networks", 2017, https://arxiv.org/abs/1706.04599).
"""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from ser_fewshot.storage.files import write_atomically

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "default"
FIGURE = HERE.parent / "docs" / "reliability.svg"
FEWEST = 50  # answers in a bin, below which its accuracy is mostly chance
LINES = {"before": ("tab:gray", "--"), "after": ("tab:blue", "-")}


def main() -> None:
    results = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(RESULTS.glob("default_*.json"))]
    figure = Figure(figsize=(3 * len(results), 3.4), layout="constrained")
    places = figure.subplots(1, len(results), sharey=True)
    for place, result in zip(places, results, strict=True):
        draw(place, result["corpus"], result["protocols"]["emotions"]["reliability"])
    places[0].set_ylabel("right, % of the answers")
    figure.supxlabel("how sure the model says it is, %")
    drawn = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": "reliability"}):  # the same numbers make the same file
        figure.savefig(drawn, format="svg", metadata={"Date": None})
    write_atomically(FIGURE, drawn.getvalue())


def draw(place: Any, corpus: str, reliability: dict[str, Any]) -> None:
    place.plot([0, 100], [0, 100], color="black", linewidth=0.5)
    for name, (colour, style) in LINES.items():
        bins = reliability[name]
        points = [
            (100 * confidence, 100 * accuracy)
            for count, confidence, accuracy in zip(bins["count"], bins["confidence"], bins["accuracy"], strict=True)
            if count >= FEWEST
        ]
        place.plot(*zip(*points, strict=True), style, color=colour, label=f"{name}: ECE {bins['ece']:.3f}", marker=".")
    place.set(title=corpus, xlim=(0, 100), ylim=(0, 100), aspect="equal")
    place.legend(fontsize="small", loc="upper left")


if __name__ == "__main__":
    main()
