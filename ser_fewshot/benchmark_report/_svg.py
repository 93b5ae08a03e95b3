"""A panel drawn by matplotlib, as SVG that stands inside the page: the same numbers make the same text.

Words stay words, an id is found in one panel only, and a title and a description say what a screen reader cannot see.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from typing import Any

import matplotlib as mpl
from markupsafe import Markup
from matplotlib.figure import Figure

INCHES = (3.6, 3.0)
"""Of a panel: on a phone of 390 px it keeps its size, so its words can be read there."""
_RIGHT, _BOTTOM, _TOP = 0.12, 0.48, 0.08  # inches around the axes

_STYLE: Any = {
    "svg.fonttype": "none",
    "text.parse_math": False,  # a label with dollars is a label
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
}
_UNDATED = dict.fromkeys(("Date", "Creator", "Format", "Type"))
_GLOBAL_STYLE = re.compile(r"\s*<defs>\s*<style[^>]*>[^<]*</style>\s*</defs>")  # it would hold for the whole page
_NAMED_GROUP = re.compile(r'<g id="[^"]*"')  # "axes_1" and such, which every panel has


def draw(
    paint: Callable[[Any], None],
    *,
    name: str,
    title: str,
    description: str,
    inches: tuple[float, float] = INCHES,
    left: float = 0.5,
) -> Markup:
    """Return a panel.

    Args:
        paint: draws into the axes that it is given.
        name: of this panel alone: its ids are made from it.
        title: what it shows.
        description: what one sees in it.
        inches: width and height.
        left: inches for the words left of the axes.
    """
    width, height = inches
    place = (left / width, _BOTTOM / height, 1 - (left + _RIGHT) / width, 1 - (_BOTTOM + _TOP) / height)
    with mpl.rc_context({**_STYLE, "svg.hashsalt": name}):
        figure = Figure(figsize=inches)
        paint(figure.add_axes(place))
        out = io.StringIO()
        figure.savefig(out, format="svg", metadata=_UNDATED)
    drawn = out.getvalue()
    body = _GLOBAL_STYLE.sub("", drawn[drawn.index(">", drawn.index("<svg")) + 1 : drawn.rindex("</svg>")])
    head = Markup(
        '<svg class="drawn" viewBox="0 0 {} {}" width="{}" height="{}" role="img"><title>{}</title><desc>{}</desc>'
    ).format(72 * width, 72 * height, round(96 * width), round(96 * height), title, description)
    return head + Markup(_NAMED_GROUP.sub("<g", body)) + Markup("</svg>")  # noqa: S704  # matplotlib escapes its text
