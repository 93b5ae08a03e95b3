"""Prototypes, and the nearest of them."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from numpy.typing import NDArray

from _figures._style import COLOURS, INK, arrow, canvas

SUPPORT = {
    "anger": ((0.6, 2.5), (1.2, 3.1), (1.5, 2.2)),
    "fear": ((3.3, 2.9), (4.1, 3.2), (4.4, 2.4)),
    "sadness": ((2.0, 0.5), (3.1, 0.45), (2.6, 0.1)),
}
NAMES_AT = {"anger": (0.6, 3.6), "fear": (4.4, 3.6), "sadness": (0.6, 0.0)}
QUERY = (3.1, 1.3)


def prototypes() -> Figure:
    """Stars are the means of three clips each; the query takes the class of the nearest star."""
    figure, (place,) = canvas(5.6, 4.0)
    means = np.array([np.mean(points, axis=0) for points in SUPPORT.values()])  # (3, 2)
    _regions(place, means)
    for (label, points), mean in zip(SUPPORT.items(), means, strict=True):
        place.scatter([x for x, _ in points], [y for _, y in points], color=COLOURS[label], s=40, zorder=3)
        place.scatter([mean[0]], [mean[1]], marker="*", s=260, color=COLOURS[label], edgecolor="white", zorder=4)
        place.text(*NAMES_AT[label], label, ha="center", color=COLOURS[label], fontweight="bold")
    distances = np.linalg.norm(means - QUERY, axis=1)
    for number, mean in enumerate(means):
        nearest = number == int(distances.argmin())
        arrow(place, QUERY, tuple(mean), linestyle="-" if nearest else ":", lw=2 if nearest else 1, arrowstyle="-")
        middle = 0.6 * mean + 0.4 * np.array(QUERY)
        place.text(middle[0] + 0.08, middle[1] + 0.05, f"{distances[number]:.2f}", fontsize=9)
    place.scatter([QUERY[0]], [QUERY[1]], marker="D", s=70, color="white", edgecolor=INK, zorder=5)
    place.text(QUERY[0] + 0.2, QUERY[1] - 0.1, "query", ha="left")
    place.set(xlim=(0, 5), ylim=(-0.3, 4), aspect="equal")
    return figure


def _regions(place: Axes, means: NDArray[np.float64]) -> None:
    """Tint the plane by the nearest mean."""
    x, y = np.meshgrid(np.linspace(0, 5, 160), np.linspace(-0.3, 4, 140))
    points = np.stack([x, y], axis=-1)[..., None, :]  # (140, 160, 1, 2)
    nearest = np.linalg.norm(points - means, axis=-1).argmin(-1)
    tints = ListedColormap([COLOURS[label] for label in SUPPORT])
    place.contourf(x, y, nearest, levels=[-0.5, 0.5, 1.5, 2.5], cmap=tints, alpha=0.12)
