"""What the page shows: the state as HTML, in which every name is text."""

from __future__ import annotations

import re
from collections.abc import Sequence

from visitors import enrolled, models, recording

from app import handlers, views
from app.diagnostics import MapPoint, confusion, map_points
from app.live import HOP_SECONDS, Stream, Window
from app.notes import Code, Note
from app.session import History, Recognised, Session
from ser_fewshot.classifier import NearestClip, Prediction

TWO = enrolled({"low": 3, "high": 3})
HOSTILE = "<script>alert('x')</script>\"&{{1}}"


def hostile() -> tuple[Session, History]:
    """A session with markup as names, and its answer."""
    session = handlers.add_clips(Session(), HOSTILE, [recording("low"), recording("low", 1)], models=models())
    session = handlers.add_clips(session, "plain", [recording("high"), recording("high", 1)], models=models())
    return session, handlers.recognise(session, History(), recording("low", 2))


def a_stream(*labels: str, novelty: float | None = None, known: Sequence[str] = ("low", "high")) -> Stream:
    """A stream that answered a label in every window; "" where nobody spoke."""
    answers = [
        Prediction(label, dict.fromkeys(known, 0.5), NearestClip("a", label, 0.1), novelty=novelty) if label else None
        for label in labels
    ]
    windows = tuple(Window(10 - HOP_SECONDS * ago, answer, 0.02) for ago, answer in enumerate(answers[::-1]))[::-1]
    return Stream(rate=16_000, seconds=10.0, windows=windows)


def test_markup_in_a_name_is_text_wherever_it_is_shown():
    session, history = hostile()
    points = map_points(session, history)
    for shown in (
        views.classes(session, language="en"),
        views.answer(session, history, language="en"),
        views.timeline(a_stream(HOSTILE, known=session.labels), session, language="en"),
        views.clip_map(points, labels=session.labels, language="en"),
        views.confusion(confusion(session), language="en"),
        views.notes([Note(Code.FORGOTTEN, {"label": HOSTILE})], language="en"),
    ):
        assert "&lt;script&gt;" in shown
        assert "<script" not in shown


def test_every_clip_is_listed_with_its_waveform_its_player_and_a_button_to_delete_it():
    shown = views.classes(enrolled({"low": 3, "high": 1}), language="ko")
    assert shown.count('class="wave"') == shown.count("<audio") == shown.count('data-action="remove"') == 4
    assert shown.count('data-action="forget"') == 2
    assert len(set(re.findall(r'src="(data:audio/mpeg;base64,[^"]+)"', shown))) == 4
    assert [float(width) for width in re.findall(r"width: ([\d.]+)%", shown)] == [100, 33]


def test_the_shares_of_an_answer_and_unknown_sum_to_one():
    prediction = Prediction("low", {"low": 0.8, "high": 0.2}, NearestClip("x", "low", 1.0), novelty=0.5)
    session = enrolled({"low": 1, "high": 1})
    sound = next(iter(session.enrolment.sounds.values()))
    shown = views.answer(session, History((Recognised(sound, prediction, 0.01),)), language="en")
    assert re.findall(r'class="percent">(\d+) %', shown) == ["40", "10", "50"]
    assert re.search(r'class="headline">unknown <span class="closest">most like low<', shown)


def test_before_two_labels_there_is_no_answer_but_the_reason():
    assert "two emotions first: 1 so far" in views.answer(enrolled({"low": 2}), History(), language="en")
    people = enrolled({"low": 2}, handlers.change_mode(Session(), "speaker"))
    assert "two people first: 1 so far" in views.answer(people, History(), language="en")
    assert "Name a person" in views.classes(handlers.change_mode(Session(), "speaker"), language="en")


def test_a_window_is_drawn_in_the_row_of_its_answer_and_at_its_time():
    session = enrolled({"low": 1, "high": 1})
    known, unknown = (views.timeline(a_stream("low", novelty=one), session, language="en") for one in (0.3, 0.6))
    assert known.count("<rect") == unknown.count("<rect") == 1
    assert 'x="29.50"' in known  # 30 s wide, and the window ended now
    assert known.index("<rect") < known.index("high")
    assert unknown.index("high") < unknown.index("<rect")


def test_the_timeline_says_in_words_what_it_shows():
    stream = a_stream("low", "low", "", "high")
    shown = views.timeline(stream, TWO, language="en")
    assert re.findall(r"<li>(.*?)</li>", shown) == [
        "low, from 2.0 to 1.0 s ago",
        "no voice, from 1.0 to 0.5 s ago",
        "high, from 0.5 to 0.0 s ago",
    ]


def test_screen_readers_read_a_running_answer_once_two_windows_agree_and_that_to_a_clip_with_its_number():
    for labels, announced in (
        (["low"], ""),
        (["low", "low", "high"], "low"),
        (["low", "low", "high", "high"], "high"),
        (["low", "low", "", ""], "low"),
    ):
        assert views.timeline_announcement(a_stream(*labels), TWO, language="en") == announced
        unknown = views.timeline_announcement(a_stream(*labels, novelty=0.6), TWO, language="en")
        assert unknown == ("unknown" if announced else "")
    history = History()
    assert views.answer_announcement(TWO, history, language="en") == ""
    for number in (1, 2):
        history = handlers.recognise(TWO, history, recording("low", 3))
        announced = views.answer_announcement(TWO, history, language="en")
        assert re.fullmatch(rf"Clip {number}: low, \d+ %", announced)


def test_listening_shows_before_the_first_window_is_full():
    assert "Ready. Start the microphone" in views.timeline(Stream(), TWO, language="en")
    assert "Listening: 0.5 of the 2.0 s" in views.timeline(Stream(seconds=0.5), TWO, language="en")
    assert "computed in 20 ms" in views.timeline(a_stream("low"), TWO, language="en")
    assert "4 microphones are served at the same time" in views.waiting(4, language="en")


def test_an_answer_with_a_class_that_is_no_longer_enrolled_is_not_shown():
    session = enrolled({"low": 2, "high": 2, "shrill": 2})
    session = handlers.add_clips(session, "awe", [recording("low", 5)], models=models())
    history, stream = (
        handlers.recognise(session, History(), recording("high", 5)),
        a_stream("high", "low", "low", "awe"),
    )
    assert "headline" in views.answer(session, history, language="en")
    assert sum(point.kind == "recognised" for point in map_points(session, history)) == 1
    for changed in (
        handlers.forget(session, "high"),
        enrolled({"low": 3, "high": 3}, handlers.change_mode(session, "speaker")),
        handlers.undo(session),
    ):
        assert changed.can_recognise
        assert "headline" not in views.answer(changed, history, language="en")
        assert views.answer_announcement(changed, history, language="en") == ""
        assert sum(point.kind == "recognised" for point in map_points(changed, history)) == 0
    forgotten = handlers.forget(enrolled({"shrill": 1}, TWO), "high")
    shown = views.timeline(stream, forgotten, language="en")
    assert "<rect" not in shown
    assert "live-answer" not in shown
    assert views.timeline_announcement(stream, forgotten, language="en") == ""


def test_an_answer_from_before_a_change_is_marked_and_points_to_no_clip_that_may_be_gone():
    history = handlers.recognise(TWO, History(), recording("low", 5))
    more = enrolled({"shrill": 1}, TWO)
    before = views.answer(TWO, history, language="en")
    assert "before the last change" not in before
    assert re.search(r"computed in \d+ ms", before)
    shown = views.answer(more, history, language="en")
    assert "before the last change" in shown
    assert "Sounds most like" not in shown
    again = views.answer(handlers.undo(more), history, language="en")
    assert "before the last change" not in again
    assert "Sounds most like" in again


def test_the_map_says_in_a_table_which_clips_stand_beside_which():
    places = {"a": (0, 0, "low"), "b": (1, 0, "low"), "c": (2.5, 0, "high"), "d": (9, 9, "high")}
    points = [MapPoint(x, y, name, label, "enrolled") for name, (x, y, label) in places.items()]
    points.append(MapPoint(8, 9, "new", "low", "recognised"))
    shown = views.clip_map(points, labels=("low", "high"), language="en")
    table = re.search(r"<table.*</table>", shown, re.DOTALL)[0]
    assert re.findall(r"<t[hd].*?>(\w+)</t[hd]>", table) == ["low", "high", "low", "2", "0", "high", "1", "1"]
    assert "new, recognised as low, stands beside d (high)" in shown


def test_without_enough_clips_there_is_a_sentence_instead_of_a_figure():
    shown = views.confusion(confusion(Session()), language="en")
    assert "<table" not in shown
    assert "Too few clips to tell" in shown
    assert "needs three clips" in views.clip_map((), labels=(), language="en")


def test_notes_stand_where_the_visitor_acted():
    session = enrolled({"low": 1})
    assert "Clips added" in views.notes_of(session, "teach", language="en")
    assert "Clips added" not in views.notes_of(session, "keep", language="en")
    loaded = handlers.load(session, __file__, models=models())
    assert "cannot be used" in views.notes_of(loaded, "keep", language="en")
    assert "cannot be used" not in views.notes_of(loaded, "teach", language="en")
