"""Draw the figures of docs/concepts: what an episode is, how families adapt, what scale and shift are, how to split.

    uv run python recipes/plot_concepts.py

Writes docs/figures/*.svg; the same code writes the same files.
"""

from __future__ import annotations

import io
from pathlib import Path

import matplotlib as mpl
from _figures import gradients, metric, protocol
from matplotlib.figure import Figure

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
    """Return a figure as SVG; text stays text, so that it can be searched and read aloud."""
    with mpl.rc_context({"svg.hashsalt": name, "svg.fonttype": "none", "font.size": 10, "font.family": "sans-serif"}):
        figure: Figure = FIGURES[name]()
        written = io.StringIO()
        figure.savefig(written, format="svg", metadata={"Date": None, "Creator": None})
    return "".join(f"{line.rstrip()}\n" for line in written.getvalue().splitlines())


if __name__ == "__main__":
    main()
