"""Recordings and files that come before their name."""

from __future__ import annotations

import pytest
from visitors import codes, enrolled, models, recording

from app.sections.teach import added
from app.session import Code, Session


@pytest.mark.parametrize("name", ["", "  ", "x" * 41])
def test_a_clip_without_a_name_is_asked_for_one_and_changes_nothing(name):
    before = enrolled({"low": 1})
    after = added(before, name, recording("high"), [], models=models())
    assert after.enrolment is before.enrolment
    assert codes(after) == [Code.NAME_FIRST]


def test_what_was_recorded_and_what_was_dropped_come_under_the_name_together():
    after = added(Session(), "low", recording("low"), [recording("low", 1), recording("low", 2)], models=models())
    assert after.enrolment.count == 3
    assert [code for code in codes(after) if code is not Code.NO_SPEECH] == [Code.ADDED, Code.ADDED]  # tones are none


def test_a_name_alone_adds_nothing_and_says_nothing():
    after = added(Session(), "low", None, [], models=models())
    assert (after.labels, after.notes) == ((), ())
