"""The texts of the page: every language has all of them, with the same values, and none is left over."""

from __future__ import annotations

import ast
import string
from pathlib import Path

import pytest
from test_architecture import UNSAFE

from app.languages import DEFAULT, languages, preferred, sentence, text, texts
from app.models import LEARNERS
from app.notes import Code, Note

APP = Path(__file__).parents[2] / "app"
TREES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in sorted(APP.rglob("*.py"))}
ABOUT_EMOTIONS = {"en": ("emotion", "feeling"), "ko": ("감정",)}
OF_BOTH_MODES = {"page.title", "page.lead", "page.ethics", "teach.mode_emotion"}
"""What the page is for, and the name of the other mode."""


def values(words: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(words) if name is not None}


@pytest.mark.parametrize("language", languages())
def test_a_language_has_every_text_with_the_same_values_and_nothing_of_emotions_for_the_other_mode(language):
    own, english = texts(language), texts(DEFAULT)
    assert {name: values(words) for name, words in own.items()} == {n: values(words) for n, words in english.items()}
    assert all(words.strip() for words in own.values())
    if language != DEFAULT:
        assert [name for name, words in own.items() if words == english[name]] == []
    seen = {name for name in own if f"{name}_speaker" not in own} - OF_BOTH_MODES
    assert {"teach.what_speaker", "note.too_long", "inside.what"} <= seen
    assert [name for name in seen if any(word in own[name].lower() for word in ABOUT_EMOTIONS[language])] == []


def test_every_note_has_a_sentence_and_is_made_with_its_values():
    made = {}
    for tree in TREES.values():
        for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
            if ast.unparse(call.func) == "note" and ast.unparse(call.args[0]).startswith("Code."):
                code = Code[ast.unparse(call.args[0]).removeprefix("Code.")]
                made.setdefault(code, []).append({keyword.arg for keyword in call.keywords})
    for code, keywords in made.items():
        assert all(values(texts(DEFAULT)[f"note.{code}"]) <= given for given in keywords), code
    summaries = {Code.EXAMPLES_LOADED, Code.SAVED, Code.LOADED}
    assert set(Code) - set(made) == summaries | {
        Code.BAD_LABEL,
        Code.BAD_PROFILE_NAME,
    }  # by a helper, of a code that it gets
    assert all(values(texts(DEFAULT)[f"note.{code}"]) == {"count", "labels"} for code in summaries)


def test_every_text_is_used():
    sources = [path.read_text(encoding="utf-8") for kind in ("*.py", "*.j2") for path in APP.rglob(kind)]
    source = "\n".join(sources)
    by_value = {f"note.{code}" for code in Code} | {f"learner.{name}" for name in LEARNERS}
    by_value |= {f"page.saying_{level}" for level in ("info", "warning", "error")}
    by_value |= {f"keep.profile_{name}" for name in ("keep", "replace", "open", "delete")}
    by_value |= {name for name in texts(DEFAULT) if f'text_of(language, "{name.removesuffix("_speaker")}"' in source}
    by_value |= {"inside.enrolled", "inside.recognised"}
    assert {name for name in texts(DEFAULT) if f'"{name}"' not in source} - by_value == set()


def test_languages_are_chosen_by_the_browser_and_none_is_read_outside_the_folder():
    assert languages() == {"en": "English", "ko": "한국어"}
    accepted = {"ko-KR,ko;q=0.9,en;q=0.8": "ko", "de-DE,de;q=0.9,ko;q=0.7": "ko", "fr": "en", "": "en", "../en": "en"}
    assert {one: preferred(one) for one in accepted} == accepted
    for language in ("xx", "../languages/en", "en.toml", ""):
        with pytest.raises(KeyError):
            text(language, "page.title")


def test_a_note_is_a_sentence_in_which_names_stay_as_they_are():
    note = Note(Code.FORGOTTEN, {"label": "{label.__class__} {0}"})
    assert sentence("en", note) == "{label.__class__} {0} is forgotten."
    assert text("ko", "teach.mode_speaker") in sentence("ko", Note(Code.MODE_CHANGED, {"mode": "speaker"}))
    close = sentence("ko", Note(Code.CLOSE_CALL, {"first": "기쁨", "second": "슬픔"}))
    assert close == "슬픔일 수도 있습니다. 확률이 거의 기쁨만큼 높았습니다."


def test_the_page_imports_itself_relatively_and_nothing_that_unpickles():
    """It works under two names, `app` and `ser_fewshot.app`."""
    for path, tree in TREES.items():
        names = [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
        names += ["." * n.level + (n.module or "") for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)]
        assert not {name.partition(".")[0] for name in names} & {"app", "tests", "recipes", *UNSAFE}, path
