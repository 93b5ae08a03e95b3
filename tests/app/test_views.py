"""What the page shows: the state as HTML, in which every name is text."""

from __future__ import annotations

import re

import pytest
from visitors import enrolled, models, recording

from app import handlers, views
from app.insight import Confusion, confusion, map_points
from app.session import Code, Note, Recognised, Session, Trail
from app.streaming import Moment, Stream
from ser_fewshot.classifier import NearestClip, Prediction

HOSTILE = "<script>alert('x')</script>\"&{{1}}"


def hostile() -> tuple[Session, Trail]:
    """A session with markup as names, and its answer."""
    session = handlers.add_clips(Session(), HOSTILE, [recording("low"), recording("low", 1)], models=models())
    session = handlers.add_clips(session, "plain", [recording("high"), recording("high", 1)], models=models())
    return session, handlers.recognise(session, Trail(), recording("low", 2))


def a_stream(label: str, *, unknown: bool = False) -> Stream:
    prediction = Prediction(label, {label: 0.9, "plain": 0.1}, NearestClip("a", label, 0.1), unknown=unknown)
    return Stream(rate=16_000, heard=10.0, moments=(Moment(10.0, prediction, 0.02),))


def test_markup_in_a_name_is_text_wherever_it_is_shown():
    session, trail = hostile()
    points = map_points(session, trail)
    for shown in (
        views.classes(session, language="en"),
        views.answer(session, trail, language="en"),
        views.timeline(a_stream(HOSTILE), session, language="en"),
        views.clip_map(points, labels=session.labels, language="en"),
        views.confusion(confusion(session), language="en"),
        views.notes([Note(Code.FORGOTTEN, "info", {"label": HOSTILE})], language="en"),
    ):
        assert "&lt;script&gt;" in shown
        assert "<script" not in shown


@pytest.mark.parametrize("language", ["en", "ko"])
def test_every_clip_is_listed_with_its_waveform_its_player_and_a_button_to_delete_it(language):
    shown = views.classes(enrolled({"low": 3, "high": 1}), language=language)
    assert shown.count('class="wave"') == shown.count("<audio") == shown.count('data-action="remove"') == 4
    assert shown.count('data-action="forget"') == 2
    assert len(set(re.findall(r'src="(data:audio/mpeg;base64,[^"]+)"', shown))) == 4
    assert [float(width) for width in re.findall(r"width: ([\d.]+)%", shown)] == [100, 33]


def test_the_shares_of_an_answer_and_unknown_sum_to_one():
    prediction = Prediction("a", {"a": 0.8, "b": 0.2}, NearestClip("x", "a", 1.0), unknown=True, novelty=0.5)
    session = enrolled({"low": 1, "high": 1})
    sound = next(iter(session.enrolment.sounds.values()))
    shown = views.answer(session, Trail((Recognised(sound, prediction, 0.01),)), language="en")
    assert re.findall(r'class="percent">(\d+) %', shown) == ["40", "10", "50"]
    assert "Unknown. Most like a" in shown


def test_before_two_labels_there_is_no_answer_but_the_reason():
    assert "two emotions first: 1 so far" in views.answer(enrolled({"low": 2}), Trail(), language="en")


def test_a_window_is_drawn_in_the_row_of_its_answer_and_at_its_time():
    session = enrolled({"low": 1, "high": 1})
    known, unknown = (views.timeline(a_stream("low", unknown=flag), session, language="en") for flag in (False, True))
    assert known.count("<rect") == unknown.count("<rect") == 1
    assert 'x="29.50"' in known  # 30 s wide, and the window ended now
    assert known.index("<rect") < known.index("high")
    assert unknown.index("high") < unknown.index("<rect")


def test_points_of_labels_that_were_forgotten_are_not_on_the_map():
    session, trail = enrolled({"low": 2, "high": 2}), Trail()
    trail = handlers.recognise(session, trail, recording("low", 3))
    points = map_points(session, trail)
    assert views.clip_map(points, labels=session.labels, language="en").count("<title") == 5
    assert views.clip_map(points, labels=("high",), language="en").count("<title") == 2


def test_without_enough_clips_there_is_a_sentence_instead_of_a_table():
    empty = confusion(Session())
    assert isinstance(empty, Confusion)
    assert "<table" not in views.confusion(empty, language="en")
    assert "Too few clips to tell" in views.confusion(empty, language="en")
    assert "needs three clips" in views.clip_map((), labels=(), language="en")


def test_notes_stand_where_the_visitor_acted():
    session = enrolled({"low": 1})
    assert "Clips added" in views.notes_of(session, "teach", language="en")
    assert "Clips added" not in views.notes_of(session, "keep", language="en")
    loaded = handlers.load(session, __file__, models=models())
    assert "cannot be used" in views.notes_of(loaded, "keep", language="en")
    assert "cannot be used" not in views.notes_of(loaded, "teach", language="en")
