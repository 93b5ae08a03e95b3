"""Charts drawn by matplotlib, as SVG inside the page: each method or corpus has a colour and a marker of its own."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
from markupsafe import Markup
from matplotlib.figure import Figure as Canvas

from ser_fewshot.report import SHAPES, Look

_HOURGLASS = [(-1.2, -0.9), (1.2, -0.9), (0, 0), (1.2, 0.9), (-1.2, 0.9), (0, 0), (-1.2, -0.9)]
_MARKERS: dict[str, Any] = dict(zip(SHAPES, ("o", "s", "^", "D", "v", "P", _HOURGLASS), strict=True))
_WIDTH, _HEIGHT, _ROW = 3.6, 3.0, 0.24  # inches, of a chart and of a row: text keeps its size on a phone of 390 px
_LONGEST = 26  # characters of a name beside an axis
_STYLE: Any = {
    "svg.fonttype": "none",
    "text.parse_math": False,  # a label with dollar signs is a label
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.6,
    "errorbar.capsize": 2,
}
_REFERENCE: Any = {"color": "#444", "linewidth": 0.8, "linestyle": ":"}  # chance level or diagonal
_UNDATED = dict.fromkeys(("Date", "Creator", "Format", "Type"))  # without these, equal values give equal bytes


@dataclass(frozen=True, eq=False)
class Figure:
    """A drawing with its caption; `alt` is its text alternative, empty where the drawing is text itself."""

    caption: str
    drawing: Markup
    alt: str = ""


@dataclass(frozen=True)
class Series:
    """Points that are drawn alike; `error` is the half-width of an interval around each, or empty."""

    x: Sequence[float]
    y: Sequence[float]
    error: Sequence[float] = ()


def line_chart(
    caption: str,
    lines: Mapping[str, Series],
    looks: Mapping[str, Look],
    *,
    alt: str,
    labels: tuple[str, str],
    reference: Series | None = None,
    ticks: Sequence[int] = (),
) -> Figure:
    """Draw a line per method, with intervals along y.

    Args:
        caption: of the figure.
        lines: by method, in %.
        looks: of the methods.
        alt: the text alternative, which no other chart of the page has.
        labels: of the axes x and y.
        reference: a dotted line, such as the chance level.
        ticks: of x, on a logarithmic axis; by default both axes run from 0 to 100 %.
    """

    def paint(axes: Any) -> None:
        if reference:
            axes.plot(reference.x, reference.y, **_REFERENCE)
        for name, line in lines.items():
            every = max(len(line.x) // 6, 1)  # of a long line, only some points have a marker
            style = {"markersize": 4, "markevery": every, "linewidth": 1.2, "elinewidth": 0.8}
            axes.errorbar(line.x, line.y, yerr=line.error or None, **_mark(looks[name]), **style)
        axes.set(xlabel=labels[0], ylabel=labels[1])
        if ticks:
            axes.set_xscale("log")
            axes.set_xticks(ticks, labels=list(map(str, ticks)))
            axes.set_xticks([], minor=True)
        else:
            axes.set(xlim=(0, 100), ylim=(0, 100), aspect="equal")

    return Figure(caption, _svg(paint, alt), alt)


def dot_chart(
    caption: str,
    rows: Sequence[str],
    dots: Mapping[str, Series],
    looks: Mapping[str, Look],
    *,
    alt: str,
    label: str,
    chance: float | None = None,
) -> Figure:
    """Draw points beside the names of rows: y counts the rows from the top, intervals and `label` are those of x."""

    def paint(axes: Any) -> None:
        for name, series in dots.items():
            style = {"markersize": 3.5, "linestyle": "none", "elinewidth": 0.8, "alpha": 0.85, "capsize": 0}
            axes.errorbar(series.x, series.y, xerr=series.error or None, **_mark(looks[name]), **style)
        if chance is not None:
            axes.axvline(chance, **_REFERENCE)
        names = [row if len(row) <= _LONGEST else f"{row[: _LONGEST - 1]}…" for row in rows]
        axes.set_yticks(range(len(rows)), labels=names)
        axes.set(xlabel=label, ylim=(len(rows) - 0.5, -0.5))

    return Figure(caption, _svg(paint, alt, height=0.7 + _ROW * max(len(rows), 2)), alt)


def _mark(look: Look) -> dict[str, Any]:
    return {"color": look.colour, "marker": _MARKERS[look.shape]}


def _svg(paint: Callable[[Any], None], alt: str, *, height: float = _HEIGHT) -> Markup:
    """Return a chart as an SVG element, whose ids no other chart of the page has."""
    key = hashlib.sha256(alt.encode(errors="replace")).hexdigest()[:12]
    with mpl.rc_context({**_STYLE, "svg.hashsalt": key}):
        canvas = Canvas(figsize=(_WIDTH, height), layout="constrained")
        paint(canvas.add_subplot())
        for number, artist in enumerate(canvas.findobj()):
            artist.set_gid(f"c{key}-{number}")
        out = io.StringIO()
        canvas.savefig(out, format="svg", metadata=_UNDATED)
    drawn = out.getvalue()
    return Markup(drawn[drawn.index("<svg") :])  # noqa: S704  # matplotlib escapes its text
