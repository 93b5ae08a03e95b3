"""Draw the figures of docs/concepts: what an episode is, how families adapt, what scale and shift are, how to split.

    uv run python recipes/plot_concepts.py

Writes docs/figures/*.svg; the same code writes the same files.
"""

from __future__ import annotations

from pathlib import Path

from _figures import gradients, metric, protocol
from _figures._style import svg

from ser_fewshot.storage.files import write_atomically

FOLDER = Path(__file__).parents[1] / "docs" / "figures"
FIGURES = {
    "episode": protocol.episode,
    "splits": protocol.splits,
    "prototypes": metric.prototypes,
    "loops": gradients.loops,
    "scale_shift": gradients.scale_shift,
}


def main() -> None:
    for name in FIGURES:
        write_atomically(FOLDER / f"{name}.svg", drawn(name))


def drawn(name: str) -> str:
    """Return a figure as SVG."""
    return svg(FIGURES[name], salt=name, **{"font.size": 10, "font.family": "sans-serif"})


if __name__ == "__main__":
    main()
