"""What the page shows of a state, as HTML: figures are tables, lists and SVG, for eyes and for screen readers.

Templates escape what they fill in, so a name with markup is text. A label has a shape beside its colour everywhere.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import jinja2
import numpy as np

from ser_fewshot.classifier import Prediction
from ser_fewshot.report import looks, on_canvas

from . import limits
from .comparing import Comparison
from .insight import Confusion, MapPoint
from .players import BARS, player, waveform
from .session import Code, Note, Session, Trail
from .streaming import HOP_SECONDS, TIMELINE_SECONDS, Stream
from .texts import sentence, text

_FOLDER = Path(__file__).parent / "templates"
ACTIONS = (_FOLDER / "actions.js").read_text(encoding="utf-8")
"""What makes buttons inside the HTML events of the page: "remove", "forget", "correct", each with a name."""

_ABOUT_FILES = frozenset(
    {
        Code.SAVED,
        Code.LOADED,
        Code.NOTHING_TO_SAVE,
        Code.BAD_FILE,
        Code.NO_STORE,
        Code.BAD_PROFILE_NAME,
        Code.UNKNOWN_PROFILE,
        Code.STORE_FULL,
        Code.PROFILE_SAVED,
        Code.PROFILE_DELETED,
        Code.EVERYTHING_FORGOTTEN,
    }
)
_WIDTH, _HEIGHT, _MARGIN = 560, 360, 20  # of the map, in its own units
_FAINTEST = 0.3  # of the timeline's marks, so that each can be seen


def notes(items: Sequence[Note], *, language: str) -> str:
    """Return sentences, each with a word that says how grave it is."""
    return _render("notes.html.j2", language, notes=items)


def notes_of(session: Session, place: Literal["teach", "keep"], *, language: str) -> str:
    """Return what the last action has to say, if this is where it is answered; the trail answers a correction."""
    codes = {note.code for note in session.notes}
    there = "keep" if codes & _ABOUT_FILES else "recognise" if Code.CORRECTED in codes else "teach"
    return notes(session.notes if place == there else (), language=language)


def classes(session: Session, *, language: str) -> str:
    """Return what is enrolled: each label with its clips, their players, and how it compares with the largest."""
    clips = session.enrolment.clips
    latest = next((note.values["label"] for note in session.notes if note.code is Code.ADDED), None)
    return _render(
        "classes.html.j2",
        language,
        clips=clips,
        sounds=session.enrolment.sounds,
        looks=looks(session.labels),
        most=max(map(len, clips.values()), default=1),
        open=latest,
    )


def answer(session: Session, trail: Trail, *, language: str) -> str:
    """Return the latest answer: how probable each label is, what speaks against it, and buttons to correct it."""
    last = trail.last if session.can_recognise else None
    return _render(
        "answer.html.j2",
        language,
        last=last,
        shares=_shares(last.prediction, language=language) if last else (),
        unknown_row=last is not None and last.prediction.novelty is not None,
        sounds=session.enrolment.sounds,
        labels=session.labels,
        looks=looks(session.labels),
        can_recognise=session.can_recognise,
        most_characters=limits.LABEL_CHARACTERS,
    )


def timeline(stream: Stream, session: Session, *, language: str) -> str:
    """Return the answers of the last TIMELINE_SECONDS, a row for each label."""
    look = looks(session.labels)
    rows = [{"name": name, "look": look[name], "marks": _marks(stream, name)} for name in session.labels]
    unknown = {"name": text(language, "recognise.unknown"), "look": None, "marks": _marks(stream, None)}
    return _render(
        "timeline.html.j2",
        language,
        moments=stream.moments,
        notes=stream.notes,
        rows=[*rows, unknown],
        looks=look,
        labels=session.labels,
        can_recognise=session.can_recognise,
        span=round(TIMELINE_SECONDS),
        hop=HOP_SECONDS,
    )


def clip_map(points: Sequence[MapPoint], *, labels: Sequence[str], language: str) -> str:
    """Return the map of clips; points of labels that are enrolled no more are left out."""
    known = [point for point in points if point.label in labels]
    plane = np.array([(point.x, -point.y) for point in known])  # SVG counts downwards
    places = on_canvas(plane, width=_WIDTH, height=_HEIGHT, margin=_MARGIN).tolist() if known else []
    return _render(
        "map.html.j2",
        language,
        points=[(x, y, point) for (x, y), point in zip(places, known, strict=True)],
        looks=looks(labels),
        width=_WIDTH,
        height=_HEIGHT,
    )


def confusion(result: Confusion, *, language: str) -> str:
    """Return what the clips are taken for, and what would help."""
    rows = list(zip(result.labels, result.counts.tolist(), strict=True)) if result.counts.size else []
    return _render("confusion.html.j2", language, rows=rows, hints=result.hints)


def comparison(rows: Sequence[Comparison], *, language: str) -> str:
    """Return learners side by side."""
    all_shots = sorted({shots for row in rows for shots in row.shots})
    return _render("comparison.html.j2", language, rows=rows, all_shots=all_shots)


def _shares(prediction: Prediction, *, language: str) -> list[tuple[str, float]]:
    """Return (label, share) of all labels and, where the model can tell, of none of them; they sum to 1."""
    novelty = prediction.novelty or 0.0
    shares = [(label, share * (1 - novelty)) for label, share in prediction.probabilities.items()]
    return [*shares, (text(language, "recognise.unknown"), novelty)] if prediction.novelty is not None else shares


def _headline(language: str, prediction: Prediction) -> str:
    if prediction.unknown:
        return text(language, "recognise.unknown_most_like", label=prediction.label)
    return prediction.label


def _marks(stream: Stream, label: str | None) -> list[tuple[float, float]]:
    """Return (start in s, strength) of the windows whose answer was a label; of those that were unknown for None."""
    answers = [(moment.end, moment.prediction) for moment in stream.moments if moment.prediction is not None]
    origin = stream.heard - TIMELINE_SECONDS
    return [
        (end - origin - HOP_SECONDS, max(answer.probabilities[answer.label], _FAINTEST))
        for end, answer in answers
        if label == (None if answer.unknown else answer.label)
    ]


@functools.cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_FOLDER), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    environment.globals |= {"wave_bars": BARS, "player": player, "waveform": waveform}
    return environment


def _render(template: str, language: str, /, **values: object) -> str:
    words = {name: functools.partial(fill, language) for name, fill in (("t", text), ("say", sentence))}
    headline = functools.partial(_headline, language)
    return _environment().get_template(template).render(**words, headline=headline, **values)
