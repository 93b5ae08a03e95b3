"""Labels and clips to enrol: labels become one clean line, and a single clip is not taken for several."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from conftest import tone

from ser_fewshot.audio import Clip
from ser_fewshot.classifier.inputs import checked_label, checked_sources, one_line
from ser_fewshot.errors import EnrollmentError


def test_a_label_is_stripped_and_composed():
    for label in (" \tawe\n", "\N{NO-BREAK SPACE}awe"):
        assert checked_label(label) == "awe"
    assert checked_label("me\N{COMBINING ACUTE ACCENT}pris") == "m\N{LATIN SMALL LETTER E WITH ACUTE}pris"
    joined = "\N{ARABIC LETTER MEEM}\N{ZERO WIDTH NON-JOINER}\N{ARABIC LETTER MEEM}"
    for label in ("mild awe", joined, "[red]awe[/red]", "../awe", "a" * 255):
        assert checked_label(label) == label


def test_what_is_no_label_is_refused_by_one_line(subtests):
    invisible = [
        "",
        " \n",
        "\N{ZERO WIDTH SPACE}",
        "\x00",
        "a\x00b",
        "a\nb",
        "a\N{LINE SEPARATOR}b",
        "\x1b[31m",
        "\ud800",
    ]
    for label in (*invisible, "a" * 256, None, 3, b"awe", ["awe"], math.nan):
        with subtests.test(f"{label!a:.30}"):
            with pytest.raises(EnrollmentError) as caught:
                checked_label(label)
            assert str(caught.value).isprintable()


def test_clips_may_come_in_any_collection():
    for clips in (["a.wav"], ("a.wav",), (path for path in ["a.wav"]), {"a.wav"}, [Path("a.wav")], [(16_000, tone())]):
        assert len(checked_sources("awe", clips)) == 1


def test_a_single_clip_is_not_taken_for_several_and_none_is_refused(tmp_path, subtests):
    (tmp_path / "a.wav").write_bytes(b"RIFF\n\n")
    with (tmp_path / "a.wav").open("rb") as file:
        single = ["a.wav", b"RIFF", Path("a.wav"), (16_000, tone()), Clip(tone(), "a"), tone(), {"a": "a.wav"}, 3, None]
        for clips in (*single, file):
            kind = type(clips).__name__
            with subtests.test(kind), pytest.raises(EnrollmentError, match=f"a single {kind}"):
                checked_sources("awe", clips)
    for nothing in ([], (), iter(())):
        with pytest.raises(EnrollmentError, match="none"):
            checked_sources("awe", nothing)


def test_what_is_printed_is_one_line_of_readable_length():
    assert one_line("a\x1b\n\ud800b" + "c" * 999) == "a" + 3 * "\N{REPLACEMENT CHARACTER}" + "b" + 250 * "c"
    assert one_line("mépris 愤怒 🙂") == "mépris 愤怒 🙂"
