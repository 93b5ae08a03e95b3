"""The HTML of a state: figures are tables, lists and SVG, for eyes and for screen readers.

Templates escape what they fill in, so a name with markup is text. A label has a shape beside its colour everywhere.
"""

from __future__ import annotations

import base64
import functools
import io
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal
from weakref import WeakKeyDictionary

import jinja2
import numpy as np
import soundfile
from markupsafe import escape

from ser_fewshot.benchmark.html import Look, looks, on_canvas
from ser_fewshot.classifier import Prediction

from . import limits
from .clips import Sound
from .comparison import Comparison
from .diagnostics import Confusion, MapPoint, nearest_enrolled
from .languages import sentence, text, text_of
from .live import HOP_SECONDS, TIMELINE_SECONDS, WINDOW_SECONDS, Stream, marks, runs, stable_answer
from .notes import Code, Note
from .session import History, Recognised, Session, SessionVoice

_FOLDER = Path(__file__).parent / "templates"
ACTIONS = (_FOLDER / "actions.js").read_text(encoding="utf-8")
"""Turns buttons inside the HTML into events of the page: "remove", "forget", "correct", each with a name."""
FOCUS = (_FOLDER / "focus.js").read_text(encoding="utf-8")
"""Keeps the focus near a button that had it and goes."""

_BARS = 48  # of a waveform
_LOWEST = 0.03  # height of a bar, so that the line does not break
_WIDTH, _HEIGHT, _MARGIN = 560, 360, 20  # of the map, in its own units
_NONE = Look("#767676", "M-.8-.8L.8 .8M-.8 .8L.8-.8")  # of a clip of no label on the map: a cross
_players: WeakKeyDictionary[Sound, str] = WeakKeyDictionary()


def notes(items: Sequence[Note], *, language: str) -> str:
    """Return sentences, each with a word for its level."""
    return _render("notes.html.j2", language, notes=items)


def notes_of(session: Session, card: Literal["teach", "keep"], *, language: str) -> str:
    """Return the notes of the last action, if they belong to a card; those of a correction are in the history."""
    cards = {note.code.card for note in session.notes}
    shown = next((one for one in ("keep", "recognise") if one in cards), "teach")
    return notes(session.notes if card == shown else (), language=language)


def classes(session: Session, *, language: str) -> str:
    """Return each label with its clips, their players, and how many they are beside the largest."""
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


def answer(session: Session, history: History, *, language: str) -> str:
    """Return the latest answer: the shares of the labels and of none of them, doubts, and buttons to correct it.

    An answer with a class that is no longer enrolled is not shown; one from before the last change is marked so.
    """
    last = _last(session, history)
    return _render(
        "answer.html.j2",
        language,
        last=last,
        earlier=last is not None and last.classifier() is not session.enrolment.classifier,
        sounds=session.enrolment.sounds,
        labels=session.labels,
        looks=looks(session.labels),
        empty=_empty(session, "recognise.ready", language=language),
        most_characters=limits.LABEL_CHARACTERS,
    )


def answer_announcement(session: Session, history: History, *, language: str) -> str:
    """Return the latest answer for a screen reader, which reads what changes: hence the clip's number."""
    last = _last(session, history)
    if last is None:
        return ""
    found, number = last.prediction, len(history.recognised)
    label, percent = _word(language, found.answer), round(100 * found.shares[found.answer])
    spoken = text(language, "recognise.announcement", number=number, label=label, percent=percent)
    if found.unknown:
        spoken = f"{spoken}, {text(language, 'recognise.most_like', label=found.label)}"
    return str(escape(spoken))


def timeline(stream: Stream, session: Session, *, language: str) -> str:
    """Return the answers of the last TIMELINE_SECONDS, a row for each label, and the same in words."""
    windows, look, now = stream.valid_windows(session.enrolment), looks(session.labels), stream.seconds
    rows = [{"name": name, "look": look[name], "marks": marks(windows, name, now=now)} for name in session.labels]
    rows.append({"name": _word(language, None), "look": None, "marks": marks(windows, None, now=now)})
    return _render(
        "timeline.html.j2",
        language,
        windows=windows,
        notes=stream.notes,
        rows=rows,
        runs=[(_named(language, answer), *times) for answer, *times in runs(windows, now=now)],
        looks=look,
        seconds=now,
        empty=_empty(session, "recognise.ready_live", language=language),
        span=round(TIMELINE_SECONDS),
        window=WINDOW_SECONDS,
        hop=HOP_SECONDS,
    )


def timeline_announcement(stream: Stream, session: Session, *, language: str) -> str:
    """Return the running answer for a screen reader: it changes only when another answer is stable."""
    answer = stable_answer(stream.valid_windows(session.enrolment))
    return str(escape("" if answer is None else _named(language, answer)))


def voice(known: SessionVoice, session: Session, *, language: str) -> str:
    """Return on how many clips the voice rests, in words; nothing before the first."""
    current = known.of(session)
    if current is None:
        return ""
    name = "recognise.voice_clip" if current.n_clips == 1 else "recognise.voice_clips"
    return str(escape(text(language, name, count=current.n_clips)))


def waiting(streams: int, *, language: str) -> str:
    """Return the timeline from the start of the microphone until its first samples: others may be before it."""
    return _render("waiting.html.j2", language, streams=streams)


def clip_map(points: Sequence[MapPoint], *, labels: Sequence[str], language: str) -> str:
    """Return the map of clips as a picture, and as a table of nearest neighbours."""
    plane = np.array([(point.x, -point.y) for point in points])  # SVG counts downwards
    places = on_canvas(plane, width=_WIDTH, height=_HEIGHT, margin=_MARGIN).tolist() if points else []
    pairs = list(zip(points, nearest_enrolled(points), strict=True))
    known = looks(labels)
    drawn = [_NONE if point.label is None else known[point.label] for point in points]
    counts = Counter((point.label, near.label) for point, near in pairs if point.kind == "enrolled")
    return _render(
        "map.html.j2",
        language,
        points=[(*at, point, look) for at, point, look in zip(places, points, drawn, strict=True)],
        neighbours=[(label, [counts[label, other] for other in labels]) for label in labels],
        recognised=[(point, near) for point, near in pairs if point.kind == "recognised"],
        legend=[*known.items(), *([(None, _NONE)] if _NONE in drawn else [])],
        width=_WIDTH,
        height=_HEIGHT,
    )


def confusion(result: Confusion, *, language: str) -> str:
    """Return the confusion matrix, and what would help."""
    rows = list(zip(result.labels, result.counts.tolist(), strict=True)) if result.counts.size else []
    return _render("confusion.html.j2", language, rows=rows, hints=result.hints)


def comparison(rows: Sequence[Comparison], *, language: str) -> str:
    """Return learners side by side."""
    all_shots = sorted({shots for row in rows for shots in row.shots})
    return _render("comparison.html.j2", language, rows=rows, all_shots=all_shots)


def _word(language: str, label: str | None) -> str:
    """Return a label, or the word for none of them."""
    return text(language, "recognise.unknown") if label is None else label


def _named(language: str, prediction: Prediction | None) -> str:
    """Return an answer in a word: a label, unknown, or that nobody spoke."""
    return text(language, "recognise.no_voice") if prediction is None else _word(language, prediction.answer)


def _last(session: Session, history: History) -> Recognised | None:
    """Return the latest clip, unless a class of its prediction is no longer enrolled."""
    last = history.last
    return last if last is not None and session.can_recognise and last.is_valid(session.enrolment) else None


def _empty(session: Session, ready: str, *, language: str) -> str:
    """Return the text in place of an answer: that all is ready, or that a class is missing."""
    if session.can_recognise:
        return text(language, ready)
    return text_of(language, "recognise.need_two", session.enrolment.mode, count=len(session.labels))


def _player(sound: Sound) -> str:
    """Return a clip as the address of an audio element: MP3 in the page itself, about 10 kB, so no file is written."""
    if sound not in _players:
        rate, samples = sound.playable
        encoded = io.BytesIO()
        soundfile.write(encoded, samples, rate, format="MP3")
        _players[sound] = "data:audio/mpeg;base64," + base64.b64encode(encoded.getvalue()).decode("ascii")
    return _players[sound]


def _waveform(sound: Sound) -> str:
    """Return the peaks of a clip as an SVG path, _BARS wide and from -1 to 1 high, as loud as it is."""
    peaks = [float(np.abs(part).max(initial=_LOWEST)) for part in np.array_split(sound.clip.waveform, _BARS)]
    return "".join(f"M{x + 0.5} {-min(peak, 1):.2f}V{min(peak, 1):.2f}" for x, peak in enumerate(peaks))


@functools.cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_FOLDER), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    environment.globals |= {"wave_bars": _BARS, "player": _player, "waveform": _waveform}
    return environment


def _render(template: str, language: str, /, **values: object) -> str:
    fills: dict[str, Callable[..., str]] = {"t": text, "say": sentence, "word": _word, "named": _named}
    words = {name: functools.partial(fill, language) for name, fill in fills.items()}
    return _environment().get_template(template).render(**words, **values)
