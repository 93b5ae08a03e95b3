"""What the page shows of a state, as HTML: figures are tables, lists and SVG, for eyes and for screen readers.

Templates escape what they fill in, so a name with markup is text. A label has a shape beside its colour everywhere.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import jinja2
import numpy as np

from ser_fewshot.benchmark.html import looks, on_canvas
from ser_fewshot.classifier import Prediction

from . import limits
from .comparing import Comparison
from .insight import Confusion, MapPoint, beside
from .players import BARS, player, waveform
from .session import Code, Note, Recognised, Session, Trail
from .streaming import HOP_SECONDS, TIMELINE_SECONDS, WINDOW_SECONDS, Stream
from .texts import sentence, text, text_of
from .timeline import known, marks, runs, settled

_FOLDER = Path(__file__).parent / "templates"
ACTIONS = (_FOLDER / "actions.js").read_text(encoding="utf-8")
"""What makes buttons inside the HTML events of the page: "remove", "forget", "correct", each with a name."""
FOCUS = (_FOLDER / "focus.js").read_text(encoding="utf-8")
"""What keeps the focus near where it was when a button goes that had it."""

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
        Code.PROFILE_EXISTS,
        Code.PROFILE_SAVED,
        Code.PROFILE_DELETED,
        Code.EVERYTHING_FORGOTTEN,
    }
)
_WIDTH, _HEIGHT, _MARGIN = 560, 360, 20  # of the map, in its own units


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
        nothing=text_of(language, "teach.nothing", session.enrolment.mode),
        sounds=session.enrolment.sounds,
        looks=looks(session.labels),
        most=max(map(len, clips.values()), default=1),
        open=latest,
    )


def answer(session: Session, trail: Trail, *, language: str) -> str:
    """Return the latest answer: how probable each label is, what speaks against it, and buttons to correct it.

    An answer that names what is no longer enrolled is not shown; one from before the last change is marked so.
    """
    last = _shown(session, trail)
    return _render(
        "answer.html.j2",
        language,
        last=last,
        earlier=last is not None and last.given_by() is not session.enrolment.classifier,
        shares=_shares(last.prediction, language=language) if last else (),
        unknown_row=last is not None and last.prediction.novelty is not None,
        sounds=session.enrolment.sounds,
        labels=session.labels,
        looks=looks(session.labels),
        empty=_empty(session, "recognise.ready", language=language),
        most_characters=limits.LABEL_CHARACTERS,
    )


def answer_said(session: Session, trail: Trail, *, language: str) -> str:
    """Return the latest answer for a screen reader, which reads it aloud when it changes: hence the clip's number."""
    last = _shown(session, trail)
    if last is None:
        return ""
    label, share = max(_shares(last.prediction, language=language), key=lambda share: share[1])
    said = text(language, "recognise.said", number=len(trail.recognised), label=label, percent=round(100 * share))
    return _render("said.html.j2", language, said=said)


def timeline(stream: Stream, session: Session, *, language: str) -> str:
    """Return the answers of the last TIMELINE_SECONDS, a row for each label, and the same in words."""
    moments, look = known(stream, session.enrolment), looks(session.labels)
    rows = [
        {"name": name, "look": look[name], "marks": marks(moments, name, heard=stream.heard)} for name in session.labels
    ]
    unknown = {
        "name": text(language, "recognise.unknown"),
        "look": None,
        "marks": marks(moments, None, heard=stream.heard),
    }
    return _render(
        "timeline.html.j2",
        language,
        moments=moments,
        notes=stream.notes,
        rows=[*rows, unknown],
        runs=[(run, _name(run.prediction, language=language)) for run in runs(moments, heard=stream.heard)],
        looks=look,
        heard=stream.heard,
        empty=_empty(session, "recognise.ready_live", language=language),
        span=round(TIMELINE_SECONDS),
        window=WINDOW_SECONDS,
        hop=HOP_SECONDS,
    )


def timeline_said(stream: Stream, session: Session, *, language: str) -> str:
    """Return the running answer for a screen reader: it changes only when another answer has settled."""
    answer = settled(known(stream, session.enrolment))
    said = "" if answer is None else _name(answer, language=language)
    return _render("said.html.j2", language, said=said)


def waiting(streams: int, *, language: str) -> str:
    """Return what is seen from the start of the microphone until it is heard: others may be before it."""
    return _render("waiting.html.j2", language, streams=streams)


def clip_map(points: Sequence[MapPoint], *, labels: Sequence[str], language: str) -> str:
    """Return the map of clips as a picture, and as a table of which stand beside which."""
    plane = np.array([(point.x, -point.y) for point in points])  # SVG counts downwards
    places = on_canvas(plane, width=_WIDTH, height=_HEIGHT, margin=_MARGIN).tolist() if points else []
    pairs = list(zip(points, beside(points), strict=True))
    stand = Counter((point.label, near.label) for point, near in pairs if point.kind == "enrolled")
    return _render(
        "map.html.j2",
        language,
        points=[(x, y, point) for (x, y), point in zip(places, points, strict=True)],
        beside=[(label, [stand[label, other] for other in labels]) for label in labels],
        heard=[(point, near) for point, near in pairs if point.kind == "recognised"],
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


def _name(prediction: Prediction | None, *, language: str) -> str:
    """Return an answer in a word: a label, or that it is none of them, or that nobody spoke."""
    if prediction is None:
        return text(language, "recognise.no_voice")
    return text(language, "recognise.unknown") if prediction.unknown else prediction.label


def _shown(session: Session, trail: Trail) -> Recognised | None:
    """Return the clip whose answer is shown."""
    return trail.answer(session.enrolment) if session.can_recognise else None


def _empty(session: Session, ready: str, *, language: str) -> str:
    """Return what stands where no answer is: that all is ready, or that there is too little to tell apart."""
    if session.can_recognise:
        return text(language, ready)
    return text_of(language, "recognise.need_two", session.enrolment.mode, count=len(session.labels))


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
