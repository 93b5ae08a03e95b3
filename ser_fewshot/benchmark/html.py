"""HTML and SVG figures (confusion matrix, map of embeddings), and the page of the quickstart with both.

Templates write them: text stays text, in any script, for eyes and screen readers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import jinja2
import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from ser_fewshot.assets import TEMPLATES
from ser_fewshot.classifier import Prediction
from ser_fewshot.evaluation import Evaluation, interval
from ser_fewshot.storage.files import write_atomically

_WIDTH, _HEIGHT, _MARGIN = 640, 420, 16  # of the map, in its own units
_DARK = 75  # % from which white text is easier to read than black on the colour of a cell
# Dark enough for thin lines on white, and each with a shape of its own: colour must not be the only sign.
PALETTE = ("#0072b2", "#c24e00", "#007a5a", "#8a4fa0", "#8f6200", "#c2185b", "#4d4d4d", "#00798c", "#5b7000", "#3f51b5")
SHAPES = (
    "M-1 0a1 1 0 1 0 2 0a1 1 0 1 0-2 0z",
    "M-.9-.9h1.8v1.8h-1.8z",
    "M0-1.1L1.1 .9H-1.1z",
    "M0-1.3L1.1 0 0 1.3-1.1 0z",
    "M0 1.1L1.1-.9H-1.1z",
    "M-.4-1.1h.8v.7h.7v.8h-.7v.7h-.8v-.7h-.7v-.8h.7z",
    "M-1.2-.9h2.4L0 0l1.2.9h-2.4L0 0z",
)
"""SVG paths around the origin, about 1 in radius."""


@dataclass(frozen=True)
class Look:
    """How a label is drawn: its colour in CSS, and one of SHAPES."""

    colour: str
    shape: str


@dataclass(frozen=True)
class MapMark:
    """One mark on a map: label, tooltip, whether it is filled, and the id of the player of its sound, if any."""

    label: str
    title: str
    filled: bool = False
    player: str = ""


def write_report(
    path: Path,
    *,
    title: str,
    notice: str,
    steps: Sequence[str],
    predictions: Sequence[tuple[str, str, Prediction]],
    evaluation: Evaluation,
    embeddings: NDArray[np.float32],
    marks: Sequence[MapMark],
) -> None:
    """Write the page of an enrolment, of how its queries were recognised and of scores over many such episodes.

    The notice, such as that voices are synthetic, stands before the numbers; `steps` say what was done, in order, and
    `predictions` are (clip, true label, prediction) of every query.

    Raises:
        SettingsError: the page cannot be written there.
    """
    page = render(
        "report.html.j2",
        title=title,
        notice=notice,
        steps=steps,
        predictions=predictions,
        evaluation=evaluation,
        uar=str(interval(evaluation.uar)),
        accuracy=str(interval(evaluation.accuracy)),
        confusion=confusion_table(evaluation.labels, evaluation.confusion),
        map=map_figure(embeddings, marks),
    )
    write_atomically(path, page.encode(errors="replace"))  # a name that is not valid Unicode has no other spelling


def confusion_table(labels: Sequence[str], counts: NDArray[np.int64]) -> Markup:
    """(n_labels,) and (n_labels, n_labels), true class by row -> the matrix as an HTML table, in % of each row."""
    rates = 100 * counts / counts.sum(1, keepdims=True).clip(1)
    rows = zip(labels, rates.tolist(), strict=True)
    return render("confusion.html.j2", labels=labels, rows=list(rows), dark=_DARK)


def map_figure(embeddings: NDArray[np.float32], marks: Sequence[MapMark]) -> Markup:
    """(n, width) embeddings of n marks, enrolled ones filled -> their map as SVG with a legend and a caption."""
    plane, share = principal_plane(embeddings)
    caption = (
        f"The first two principal components of the embeddings ({100 * share:.0f} % of the variance). "
        "Filled: enrolled. Hollow: recognised."
    )
    return draw_map(plane, marks) + Markup("<figcaption>{}</figcaption>").format(caption)


def draw_map(plane: NDArray[np.float64], marks: Sequence[MapMark]) -> Markup:
    """(n, 2) places of n marks -> a map as SVG with a legend, both axes on one scale."""
    places = on_canvas(plane, width=_WIDTH, height=_HEIGHT, margin=_MARGIN).tolist()
    labels = list(dict.fromkeys(mark.label for mark in marks))
    drawn = sorted(zip(places, marks, strict=True), key=lambda item: item[1].player != "")  # those to play on top
    return render("map.html.j2", marks=drawn, looks=looks(labels), width=_WIDTH, height=_HEIGHT)


def on_canvas(plane: NDArray[np.float64], *, width: float, height: float, margin: float) -> NDArray[np.float64]:
    """(n, 2) -> the same, scaled to the margins of a figure and centred; both axes on one scale."""
    low, high = plane.min(0), plane.max(0)
    span = (high - low).clip(1e-9)
    scale = min((width - 2 * margin) / span[0], (height - 2 * margin) / span[1])
    return np.asarray((plane - (low + high) / 2) * scale + np.array([width, height]) / 2)


def looks(labels: Sequence[str]) -> dict[str, Look]:
    """Return colour and shape by label; the same labels in the same order look the same everywhere."""
    return {label: Look(PALETTE[i % len(PALETTE)], SHAPES[i % len(SHAPES)]) for i, label in enumerate(labels)}


def principal_plane(embeddings: NDArray[np.float32]) -> tuple[NDArray[np.float64], float]:
    """(n, width) -> the first two principal components of each, (n, 2), and their share of the variance.

    The largest entry of each component is made positive, so that the same clips give the same map.
    """
    centred = embeddings.astype(np.float64) - embeddings.mean(0, dtype=np.float64)
    u, s, _ = np.linalg.svd(centred, full_matrices=False)
    scores = u[:, :2] * s[:2]
    signs = np.sign(np.take_along_axis(scores, np.abs(scores).argmax(0)[None], 0))
    plane = np.zeros((len(embeddings), 2))
    plane[:, : scores.shape[1]] = scores * signs
    return plane, float((s[:2] ** 2).sum() / max((s**2).sum(), 1e-12))


def render(template: str, **values: object) -> Markup:
    """Return a rendered template of the package; every value is escaped but for `Markup`."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    return Markup(environment.get_template(template).render(**values))  # noqa: S704  # the template escapes
