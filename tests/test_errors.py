"""Errors are one printable line for people and four parts for programs, here and in a worker process."""

from __future__ import annotations

import copy
import pickle
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest

from ser_fewshot import errors
from ser_fewshot.errors import AudioError, EpisodeError, SerFewshotError

KINDS = sorted(
    (kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, SerFewshotError)),
    key=lambda kind: kind.__name__,
)


def example(kind: type[SerFewshotError] = AudioError) -> SerFewshotError:
    return kind("clip.wav", found="silence", expected="sound", remedy="Record again.")


def raise_example() -> None:
    raise EpisodeError("5-way", found="3 classes", expected="5", remedy="Add two.")


def test_the_line_holds_all_four_parts():
    assert str(example()) == "clip.wav: found silence; expected sound. Record again."


def test_pickling_and_copying_keep_the_kind_and_the_four_parts():
    for kind in KINDS:
        original = example(kind)
        for again in (pickle.loads(pickle.dumps(original)), copy.copy(original), copy.deepcopy(original)):
            assert type(again) is kind
            assert vars(again) == vars(original)
            assert str(again) == str(original)


def test_an_error_of_a_worker_process_arrives_whole():
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool, pytest.raises(EpisodeError) as caught:
        pool.submit(raise_example).result(timeout=60)
    assert (caught.value.subject, caught.value.found, caught.value.remedy) == ("5-way", "3 classes", "Add two.")


def test_the_line_is_one_line_whatever_the_parts_hold():
    for breaking in ("\n", "\r\n", "\t", "\v", "\f", "\x1c", "\x85", "\u2028", "\u2029", "   "):
        line = str(
            SerFewshotError(f"a{breaking}b", found=f"{breaking}c", expected=f"d{breaking}", remedy=f"e{breaking}f")
        )
        assert len(line.splitlines()) == 1
        assert line == "a b: found c; expected d . e f"


def test_the_line_can_be_printed_and_names_of_any_script_stay_as_they_are():
    for name, shown in (
        ("\x1b[31mred", "\ufffd[31mred"),
        ("a\x00b", "a\ufffdb"),
        ("\udcff.wav", "\ufffd.wav"),
        ("bell\x07", "bell\ufffd"),
        ("größe 语音 ‌هم‌زیستی 🎤", "größe 语音 ‌هم‌زیستی 🎤"),
    ):
        line = str(SerFewshotError(name, found="f", expected="e", remedy="r."))
        assert line.startswith(f"{shown}: found")
        line.encode("utf-8")


def test_every_error_is_caught_as_the_common_parent():
    assert len(KINDS) >= 7
    for kind in KINDS:
        with pytest.raises(SerFewshotError):
            raise example(kind)
