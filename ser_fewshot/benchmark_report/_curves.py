"""What the panels of the report paint: points, lines and bands, each method with a colour and a shape of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ser_fewshot.benchmark_report._svg import INCHES
from ser_fewshot.report import Look, looks

_HOURGLASS = [(-1.2, -0.9), (1.2, -0.9), (0, 0), (1.2, 0.9), (-1.2, 0.9), (0, 0), (-1.2, -0.9)]
_NAMES: tuple[Any, ...] = ("o", "s", "^", "D", "v", "P", _HOURGLASS)
_MARKERS = {look.shape: name for look, name in zip(looks("1234567").values(), _NAMES, strict=True)}
"""What matplotlib calls the shapes that the legend has."""
_LONGEST = 26  # characters of a name beside an axis
_DENSE = 12  # points of a line, above which few have a mark

Paint = Callable[[Any], None]


@dataclass(frozen=True)
class Line:
    """Points of one method, in order; `spread` is half an interval around each y, or empty."""

    x: tuple[float, ...]
    y: tuple[float, ...]
    spread: tuple[float, ...] = ()


def lines(
    found: Mapping[str, Line],
    marks: Mapping[str, Look],
    *,
    x_label: str,
    y_label: str,
    square: bool = False,
    diagonal: bool = False,
    chance: float | None = None,
    ticks: Sequence[float] = (),
) -> Paint:
    """Return what paints a line a method; all values of y are in %."""

    def paint(axes: Any) -> None:
        if diagonal:
            axes.plot([0, 100], [0, 100], color="#444", linewidth=0.8)
        if chance is not None:
            axes.axhline(chance, color="#444", linewidth=0.8, linestyle=":")
        for name, line in found.items():
            _line(axes, line, marks[name], dense=len(line.x) > _DENSE)
        axes.set(xlabel=x_label, ylabel=y_label)
        if square:
            axes.set(xlim=(0, 100), ylim=(0, 100), aspect="equal")
        if ticks:
            axes.set_xscale("log")
            axes.set_xticks(ticks, labels=[f"{tick:g}" for tick in ticks])
            axes.set_xticks([], minor=True)

    return paint


def dots(
    rows: Sequence[str],
    found: Mapping[str, Mapping[str, Line]],
    marks: Mapping[str, Look],
    *,
    x_label: str,
    chance: float | None,
) -> Paint:
    """Return what paints values beside the names of rows.

    Args:
        rows: their names, from top to bottom.
        found: for each of what has a mark, its x by row; spread is along x.
        marks: how each is drawn.
        x_label: what x is.
        chance: in %; None where it is not the same for all.
    """

    def paint(axes: Any) -> None:
        place = {row: number for number, row in enumerate(rows)}
        step = 0.6 / max(len(found) - 1, 1) if len(found) > 1 else 0.0
        for number, (name, values) in enumerate(found.items()):
            for row, line in values.items():
                y = [place[row] + (number - (len(found) - 1) / 2) * step] * len(line.x)
                style = {"color": marks[name].colour, "marker": _MARKERS[marks[name].shape], "linestyle": "none"}
                axes.errorbar(line.x, y, xerr=line.spread or None, markersize=3.5, linewidth=0.8, alpha=0.85, **style)
        if chance is not None:
            axes.axvline(chance, color="#444", linewidth=0.8, linestyle=":")
        axes.set_yticks(range(len(rows)), labels=[shortened(row) for row in rows])
        axes.set(xlabel=x_label, ylim=(len(rows) - 0.5, -0.5))

    return paint


def room(rows: Sequence[str]) -> dict[str, Any]:
    """Return how large a panel of `dots` is, and what its names take, as `draw` asks for it."""
    longest = max(len(shortened(row)) for row in rows)
    return {"inches": (INCHES[0], 0.7 + 0.24 * max(len(rows), 2)), "left": 0.25 + 0.075 * longest}


def shortened(name: str) -> str:
    """Return a name that fits beside an axis."""
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…"


def _line(axes: Any, line: Line, look: Look, *, dense: bool) -> None:
    every = max(len(line.x) // 6, 1) if dense else 1
    axes.plot(
        line.x, line.y, color=look.colour, marker=_MARKERS[look.shape], markersize=4, markevery=every, linewidth=1.2
    )
    if line.spread:
        axes.errorbar(line.x, line.y, yerr=line.spread, color=look.colour, linestyle="none", linewidth=0.8, capsize=2)
