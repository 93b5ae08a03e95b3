"""Charts by matplotlib, as SVG inside the page; each method or corpus has its own colour and marker."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
from markupsafe import Markup
from matplotlib.figure import Figure as Canvas

from ser_fewshot.benchmark.html import SHAPES, Look

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
}
_UNDATED = dict.fromkeys(("Date", "Creator", "Format", "Type"))  # without these, equal values give equal bytes


@dataclass(frozen=True, eq=False)
class Figure:
    """A drawing with its caption; `alt` is its text alternative, "" where the drawing is text itself."""

    caption: str
    drawing: Markup
    alt: str = ""


@dataclass(frozen=True)
class Series:
    """Points of one line; `error` is the half-width of an interval around each, or empty."""

    x: Sequence[float]
    y: Sequence[float]
    error: Sequence[float] = ()


def chart(
    caption: str,
    series: Mapping[str, Series],
    looks: Mapping[str, Look],
    *,
    alt: str,
    labels: tuple[str, str],
    reference: Series | None = None,
    ticks: Sequence[int] = (),
    rows: Sequence[str] = (),
) -> Figure:
    """Draw a line per method with intervals along y; or, with `rows`, dots beside their names, intervals along x.

    Args:
        caption: of the figure.
        series: by method or corpus; with `rows`, y counts these from the top.
        looks: colour and shape of each.
        alt: the text alternative, unique on the page.
        labels: of the axes x and y.
        reference: a dotted line, such as the chance level.
        ticks: of x, on a logarithmic axis; without ticks and rows, both axes run from 0 to 100 %.
        rows: names on the y axis.
    """
    key = hashlib.sha256(alt.encode(errors="replace")).hexdigest()[:12]  # no two charts of a page share an id
    with mpl.rc_context({**_STYLE, "svg.hashsalt": key}):
        height = 0.7 + _ROW * max(len(rows), 2) if rows else _HEIGHT
        canvas = Canvas(figsize=(_WIDTH, height), layout="constrained")
        axes = canvas.add_subplot()
        axes.set(xlabel=labels[0], ylabel=labels[1])
        for name, one in series.items():
            _draw(axes, one, looks[name], dots=bool(rows))
        if reference:
            axes.plot(reference.x, reference.y, color="#444", linewidth=0.8, linestyle=":")
        _scale(axes, ticks, rows)
        for number, artist in enumerate(canvas.findobj()):
            artist.set_gid(f"c{key}-{number}")
        out = io.StringIO()
        canvas.savefig(out, format="svg", metadata=_UNDATED)
    drawn = out.getvalue()
    return Figure(caption, Markup(drawn[drawn.index("<svg") :]), alt)  # noqa: S704  # matplotlib escapes its text


def _draw(axes: Any, series: Series, look: Look, *, dots: bool) -> None:
    style = {"color": look.colour, "marker": _MARKERS[look.shape], "markersize": 4, "elinewidth": 0.8}
    error = {"xerr" if dots else "yerr": series.error or None}
    line = {"linestyle": "none", "alpha": 0.85} if dots else {"linewidth": 1.2, "capsize": 2}
    every = 1 if dots else max(len(series.x) // 6, 1)  # of a long line, only some points have a marker
    axes.errorbar(series.x, series.y, **error, **style, **line, markevery=every)


def _scale(axes: Any, ticks: Sequence[int], rows: Sequence[str]) -> None:
    if rows:
        names = [row if len(row) <= _LONGEST else f"{row[: _LONGEST - 1]}…" for row in rows]
        axes.set_yticks(range(len(rows)), labels=names)
        axes.set(ylim=(len(rows) - 0.5, -0.5))
    elif ticks:
        axes.set_xscale("log")
        axes.set_xticks(ticks, labels=list(map(str, ticks)))
        axes.set_xticks([], minor=True)
    else:
        axes.set(xlim=(0, 100), ylim=(0, 100), aspect="equal")
