"""Colours, shapes and SVG output of all figures."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

COLOURS = {"anger": "#c0392b", "fear": "#7d3c98", "sadness": "#2471a3", "awe": "#1e8449"}
BLUE = "#2471a3"
GREY = "#d5d8dc"
INK = "#222222"


def canvas(width: float, height: float, columns: int = 1) -> tuple[Figure, list[Axes]]:
    """Return a figure of a size in inches with so many empty places, which no global state of pyplot keeps."""
    figure = Figure(figsize=(width, height), layout="constrained")
    places = list(figure.subplots(1, columns, squeeze=False)[0])
    for place in places:
        place.axis("off")
    return figure, places


def box(place: Axes, x: float, y: float, text: str, *, colour: str, size: tuple[float, float] = (0.86, 0.62)) -> None:
    """Draw a rounded box around (x, y) with a text in it."""
    width, height = size
    corner = (x - width / 2, y - height / 2)
    shape = FancyBboxPatch(corner, width, height, boxstyle="round,pad=0,rounding_size=0.08", facecolor=colour)
    shape.set_edgecolor("white")
    place.add_patch(shape)
    dark = colour != GREY
    place.text(x, y, text, ha="center", va="center", color="white" if dark else INK, fontsize=9)


def arrow(place: Axes, start: tuple[float, float], end: tuple[float, float], **style: Any) -> None:
    """Draw an arrow from one point to another."""
    look = {"arrowstyle": "->", "color": INK, "lw": 1.5, "shrinkA": 0, "shrinkB": 0, **style}
    place.annotate("", xy=end, xytext=start, arrowprops=look)


def svg(draw: Callable[[], Figure], *, salt: str, **style: Any) -> str:
    """Return a figure as SVG, the same for the same values; text stays text, so that it can be searched and read."""
    settings: Any = {"svg.hashsalt": salt, "svg.fonttype": "none", **style}  # matplotlib types every key
    with mpl.rc_context(settings):
        written = io.StringIO()
        draw().savefig(written, format="svg", metadata={"Date": None, "Creator": None})
    return "".join(f"{line.rstrip()}\n" for line in written.getvalue().splitlines())


def by_corpus(
    corpora: Mapping[str, Any],
    draw: Callable[[Axes, Any], None],
    *,
    size: tuple[float, float],
    label: str,
    legend: str,
    salt: str,
) -> str:
    """Return a figure as SVG with axes for each corpus.

    Args:
        corpora: what is drawn of each.
        draw: draws it.
        size: of one corpus, in inches.
        label: of the vertical axis, which all share.
        legend: title of the legend.
        salt: of the identifiers in the file.
    """

    def figure() -> Figure:
        whole = Figure(figsize=(size[0] * len(corpora), size[1]), layout="constrained")
        places = whole.subplots(1, len(corpora), sharey=True, squeeze=False)[0]
        for place, (corpus, rows) in zip(places, corpora.items(), strict=True):
            draw(place, rows)
            place.set_title(corpus)
        places[0].set_ylabel(label)
        places[0].legend(title=legend, fontsize="small")
        return whole

    return svg(figure, salt=salt)
