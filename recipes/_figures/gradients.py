"""Inner and outer loop of the learners that take gradient steps, and what meta-transfer learning moves."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from _figures._style import BLUE, COLOURS, GREY, INK, arrow, box, canvas

START = (0.0, 0.0)
TASKS = {"anger": (2.3, 1.5), "sadness": (2.6, -0.35), "awe": (1.5, -1.3)}  # where the steps of three tasks lead
QUERY_STEP = (0.75, 0.35)
"""Of MAML: it need not lie between the ways of the tasks, as it is the gradient at another place."""
REPTILE_RATE = 0.4
N_UNITS, N_INPUTS = 4, 6
TIMES = "\N{MULTIPLICATION SIGN}"


def loops() -> Figure:
    """MAML follows the query's gradient through the steps; Reptile walks towards where they end."""
    figure, places = canvas(9.0, 3.5, columns=2)
    _task_arrows(places[0], "MAML: the gradient of the query loss, through the steps", lead=False)
    _task_arrows(places[1], "Reptile: part of the way to where the steps end", lead=True)
    return figure


def _task_arrows(place: Axes, title: str, *, lead: bool) -> None:
    for number, (colour, end) in enumerate(TASKS.items(), start=1):
        steps = np.linspace(START, end, 4)
        for begin, after in pairwise(steps):
            arrow(place, tuple(begin), tuple(after), color=COLOURS[colour])
        place.text(end[0] + 0.1, end[1], f"task {number}: {'end' if lead else 'query loss'}", va="center")
        if not lead:
            place.scatter(*end, marker="D", s=35, color=COLOURS[colour], zorder=3)
    way = REPTILE_RATE * np.mean(list(TASKS.values()), axis=0)
    arrow(place, START, tuple(way) if lead else QUERY_STEP, lw=4, color=INK)
    place.scatter(*START, s=60, color=INK, zorder=4)
    place.text(-0.1, 0.12, "start", ha="right")
    place.text(0, 0.8, "outer step", ha="left", fontweight="bold")
    place.text(0.35, -1.45, "inner steps\non a support", ha="center", va="center", fontsize=9)
    place.set(xlim=(-0.7, 4.3), ylim=(-1.9, 2.0))
    place.set_title(title, fontsize=10)


def scale_shift() -> Figure:
    """Three phases: train all weights; freeze them and learn a scale and a shift a neuron; adapt the classifier."""
    figure, places = canvas(9.6, 3.2, columns=3)
    _layer(places[0], "1. pretrain: all weights", "classifier of all classes", weights=True)
    _layer(places[1], "2. meta-train: scales and shifts", "classifier: where it begins", scales=True)
    _layer(places[2], "3. adapt: the classifier alone", "classifier of the new task", scales=False)
    return figure


def _layer(place: Axes, title: str, classifier: str, *, weights: bool = False, scales: bool | None = None) -> None:
    """Draw a layer's weights, a row a neuron, its scales and shifts if there are any, and the classifier below.

    What moves is blue, what is frozen is grey.
    """
    cell = (0.7, 0.7)
    for row in range(N_UNITS):
        for column in range(N_INPUTS):
            box(place, column, -row, "", colour=BLUE if weights else GREY, size=cell)
        if scales is not None:
            for offset, sign in ((0.4, TIMES), (1.4, "+")):
                box(place, N_INPUTS + offset, -row, sign, colour=BLUE if scales else GREY, size=cell)
    middle = (N_INPUTS - 1) / 2
    place.text(middle, 0.6, "weights" if weights else "weights, frozen", ha="center")
    if scales is not None:
        place.text(N_INPUTS + 0.9, 0.6, "scale, shift", ha="center")
    box(place, middle, -N_UNITS - 0.3, classifier, colour=BLUE, size=(N_INPUTS - 0.3, 0.8))
    place.set(xlim=(-0.8, N_INPUTS + 2.4), ylim=(-N_UNITS - 1.0, 1.2))
    place.set_title(title, fontsize=10)
