"""The texts of the page: every language has all of them, with the same values, and none is left over."""

from __future__ import annotations

import re
import string
from pathlib import Path

import pytest

from app.comparing import LEARNERS
from app.session import Code, Note
from app.texts import DEFAULT, languages, preferred, sentence, text, texts

APP = Path(__file__).parents[2] / "app"
SOURCES = [path for kind in ("*.py", "*.j2") for path in sorted(APP.rglob(kind))]


def values(sentence: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(sentence) if name is not None}


def test_english_and_korean_are_there_and_call_themselves_by_their_names():
    assert languages() == {"en": "English", "ko": "한국어"}


@pytest.mark.parametrize("language", languages())
def test_every_language_has_the_same_texts_with_the_same_values(language):
    assert texts(language).keys() == texts(DEFAULT).keys()
    for name, english in texts(DEFAULT).items():
        assert values(texts(language)[name]) == values(english), name
        assert texts(language)[name].strip(), name


def test_korean_is_not_english_left_untranslated():
    same = {name for name, words in texts("ko").items() if words == texts(DEFAULT)[name]}
    assert same == set()


@pytest.mark.parametrize("code", Code)
def test_every_note_has_a_sentence_with_the_values_that_it_names(code):
    declared = re.search(rf'^    {code.name} = ".*?"(.*)$', (APP / "session.py").read_text(encoding="utf-8"), re.M)
    assert values(texts(DEFAULT)[f"note.{code}"]) <= values(declared[1]) | {"name"}


def test_every_text_is_used():
    source = "\n".join(path.read_text(encoding="utf-8") for path in SOURCES)
    named_by_value = [f"note.{code}" for code in Code] + [f"learner.{name}" for name in LEARNERS]
    named_by_value += [f"page.saying_{level}" for level in ("info", "warning", "error")]
    named_by_value += [
        name for name in texts(DEFAULT) if f'text_of(language, "{name.removesuffix("_speaker")}"' in source
    ]
    named_by_value += ["inside.enrolled", "inside.recognised"]
    unused = {name for name in texts(DEFAULT) if f'"{name}"' not in source} - set(named_by_value)
    assert unused == set()


ABOUT_EMOTIONS = {"en": ("emotion", "feeling"), "ko": ("감정",)}
OF_BOTH_MODES = {"page.title", "page.lead", "page.ethics", "teach.mode_emotion"}
"""What the page is for, and the name of the other mode."""


@pytest.mark.parametrize("language", languages())
def test_who_tells_people_apart_reads_nothing_of_emotions(language):
    seen = {name for name in texts(language) if f"{name}_speaker" not in texts(language)} - OF_BOTH_MODES
    assert {"teach.what_speaker", "note.too_long", "inside.what"} <= seen
    assert [
        name for name in seen if any(word in texts(language)[name].lower() for word in ABOUT_EMOTIONS[language])
    ] == []


def test_korean_says_what_a_native_speaker_would_say():
    close = sentence("ko", Note(Code.CLOSE_CALL, "info", {"first": "기쁨", "second": "슬픔"}))
    assert close == "슬픔일 수도 있습니다. 확률이 거의 기쁨만큼 높았습니다."
    assert "올바른 마이크를 골랐나요?" in texts("ko")["note.silent"]
    assert "녹음 몇 개로는 충분하지 않습니다" in texts("ko")["page.ethics"]
    assert text("ko", "inside.time") == "학습 시간"


def test_a_name_that_looks_like_a_place_for_a_value_stays_as_it_is():
    note = Note(Code.FORGOTTEN, "info", {"label": "{label.__class__} {0}"})
    assert sentence("en", note) == "{label.__class__} {0} is forgotten."


def test_the_mode_is_said_in_the_language_of_the_page():
    note = Note(Code.MODE_CHANGED, "info", {"mode": "speaker"})
    assert text("ko", "teach.mode_speaker") in sentence("ko", note)


@pytest.mark.parametrize(
    ("accepted", "language"),
    [("ko-KR,ko;q=0.9,en;q=0.8", "ko"), ("de-DE,de;q=0.9,ko;q=0.7", "ko"), ("fr", "en"), ("", "en"), ("../en", "en")],
)
def test_the_page_speaks_the_first_known_language_of_the_browser(accepted, language):
    assert preferred(accepted) == language


@pytest.mark.parametrize("language", ["xx", "../languages/en", "en.toml", ""])
def test_a_language_that_is_not_there_is_refused(language):
    with pytest.raises(KeyError):
        text(language, "page.title")
