"""One answer: what is large, the bars, a screen reader, the timeline, the shell, JSON and a report never disagree."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from html_reader import Reader
from hypothesis import given
from hypothesis import strategies as st
from visitors import enrolled

from app import views
from app.live import Stream, Window
from app.session import History, Recognised
from ser_fewshot.benchmark.html import render
from ser_fewshot.classifier import FewShotClassifier, NearestClip, Prediction
from ser_fewshot.cli.main import main
from ser_fewshot.episodes import EpisodeSpec
from ser_fewshot.evaluation import Evaluation

LABELS = ("low", "high", "unknown")  # the last is a class like any other
SESSION = enrolled(dict.fromkeys(LABELS[:2], 1))
SHARES = st.floats(0, 1) | st.sampled_from([0.5, 1 / 3, 1 / 6])


@st.composite
def predictions(draw: st.DrawFn) -> Prediction:
    weights = draw(st.lists(SHARES, min_size=2, max_size=2).filter(sum))
    of = dict(zip(LABELS, (weight / sum(weights) for weight in weights), strict=False))
    label = max(of, key=lambda name: of[name])
    return Prediction(label, of, NearestClip("a.wav", "low", 1.0), novelty=draw(st.none() | SHARES))


def shown(prediction: Prediction) -> str:
    (sound,) = list(SESSION.enrolment.sounds.values())[:1]
    return views.answer(SESSION, History((Recognised(sound, prediction, 0.01),)), language="en")


def report(prediction: Prediction) -> str:
    """The text of a page on one clip, truly low."""
    scores = Evaluation(EpisodeSpec(n_way=2), "ab" * 32, LABELS[:2], *(np.ones(2),) * 2, np.eye(2, dtype=np.int64))
    words = dict.fromkeys(("title", "notice", "uar", "accuracy", "confusion", "map"), "")
    row = ("clip.wav", "low", prediction)
    return Reader(render("report.html.j2", predictions=[row], steps=[], evaluation=scores, **words)).text


@given(predictions())
def test_the_page_says_large_and_aloud_what_has_the_largest_bar(prediction):
    page, word = shown(prediction), "unknown" if prediction.answer is None else prediction.answer
    widths = [float(width) for width in re.findall(r'<span style="width: ([\d.]+)%', page)]
    names = re.findall(r'<span class="label">(?:<svg.*?</svg>)?(.*?)</span>', page)
    assert widths[names.index(word)] == max(widths)
    large = re.search(r'class="headline">(?:<svg.*?</svg>)?\s*(\w+)', page)
    assert large and large[1] == word
    assert ("most like" in page) == prediction.unknown
    (sound,) = list(SESSION.enrolment.sounds.values())[:1]
    aloud = views.answer_announcement(SESSION, History((Recognised(sound, prediction, 0.01),)), language="en")
    assert aloud.startswith(f"Clip 1: {word}, {100 * prediction.shares[prediction.answer]:.0f} %")
    stream = Stream(rate=16_000, seconds=10.0, windows=(Window(9.5, prediction, 0.0), Window(10.0, prediction, 0.0)))
    assert views.timeline_announcement(stream, SESSION, language="en") == word
    live = Reader(views.timeline(stream, SESSION, language="en")).text
    assert f"{word}, from 1.0 to 0.0 s ago" in live


@given(predictions())
def test_a_program_reads_the_same_answer(prediction):
    read = json.loads(json.dumps(prediction.as_dict()))
    assert sum(read["shares"].values()) + read["unknown_share"] == pytest.approx(1)
    assert read["unknown_share"] == (read["novelty"] or 0)
    none_of_them = -1 if read["novelty"] is None else read["novelty"]
    largest = max(read["shares"], key=lambda label: read["shares"][label])
    assert read["answer"] == (None if none_of_them > read["shares"][largest] else largest)
    assert read["unknown"] == (read["answer"] is None)


@pytest.mark.parametrize("novelty", [None, 0.0, 0.3, 0.44, 0.45, 0.9, 1.0])
def test_the_shell_and_a_report_say_what_the_page_says(novelty, monkeypatch, capsys):
    prediction = Prediction("low", {"low": 0.8, "high": 0.2}, NearestClip("a.wav", "low", 1.0), novelty=novelty)

    class Stub:
        def predict(self, clips: object, **_: object) -> list[Prediction]:
            return [prediction]

    monkeypatch.setattr(FewShotClassifier, "load", lambda _: Stub())
    assert main(["predict", "mine.ser", "clip.wav"]) == 0
    _, emotion, share, *_ = (cell.strip() for cell in capsys.readouterr().out.splitlines()[-1].strip("|").split("|"))
    assert main(["predict", "mine.ser", "clip.wav", "--json"]) == 0
    (read,) = json.loads(capsys.readouterr().out)
    page = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", "", shown(prediction)))
    assert (emotion == "unknown, most like low") == (read["answer"] is None) == ("unknown most like low" in page)
    assert (emotion == "low") == (read["answer"] == "low")
    assert f"{emotion.replace(',', '')}" in page
    assert share in page
    sign = "✓" if prediction.answer == "low" else "✗"
    assert f"{sign} {emotion}" in report(prediction)
