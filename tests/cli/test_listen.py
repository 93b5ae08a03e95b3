"""Voices in the commands: speakers of an enrolment, listen, predict with a voice, evaluate with a context."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from synthetic import with_voices

from cli.rooms import CLIPS, DEMO, EPISODE
from ser_fewshot.classifier import FewShotClassifier
from ser_fewshot.models import ModelConfig, build_model, save_model
from ser_fewshot.quickstart import DEMO_MANIFEST

SPOKEN = sorted(DEMO.glob("*_en-m7_*.ogg"))


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    """A quick model with statistics of speakers."""
    folder = tmp_path_factory.mktemp("voices") / "model"
    config = ModelConfig(learner="nearest", settings={"encoder": {"name": "mean"}})
    save_model(with_voices(build_model(config)), folder, card="")
    return folder


@pytest.fixture
def enrolled(ok, model) -> str:
    ok("enroll", "--manifest", DEMO_MANIFEST, "--model", model, "--out", "e.ser")
    return "e.ser"


def test_an_enrolment_knows_its_speakers_from_folders_tables_and_the_option(ok, room, model, tmp_path):
    for clip in SPOKEN:
        (tmp_path / "own" / clip.stem.split("_")[0]).mkdir(parents=True, exist_ok=True)
        shutil.copy(clip, tmp_path / "own" / clip.stem.split("_")[0])
    table = [("fear_en-f1_1.ogg", "fear", "ben"), ("fear_en-f1_2.ogg", "fear", "")]
    Path("t.csv").write_text("file,emotion,speaker\n" + "".join(f"{DEMO / a},{b},{c}\n" for a, b, c in table))
    folders = {folder.name for folder in room.glob("mine/anger/*")}
    for options, expected in (
        ((room / "mine",), folders),
        (("--manifest", DEMO_MANIFEST), {clip.speaker for clip in CLIPS}),
        (("own", "--speaker", "anna"), {"anna"}),
        (("own",), {None}),
        (("own", "--speaker", "anna", "--manifest", "t.csv"), {"anna", "ben", None}),
        (("--manifest", DEMO_MANIFEST, "--classes", "speaker"), {None}),
    ):
        report = json.loads(ok("enroll", *options, "--model", model, "--out", "s.ser", "--force", "--json"))
        assert {name for names in report["speakers"].values() for name in names} == expected, options
        assert ("fear" in report["speakers"]) == ("--classes" not in options)
        kept = FewShotClassifier.load("s.ser").members
        assert {label: list(members.speakers) for label, members in kept.items()} == report["speakers"]
    ok("enroll", "own", "--speaker", "anna", "--model", model, "--out", "e.ser")
    out = ok("enroll", "--to", "e.ser", "--emotion", "awe", room / "clip.ogg", "--speaker", "ben", "--out", "e.ser")
    assert out.endswith("; 2 speakers; file: e.ser\n")


def test_a_voice_is_listened_to_continued_and_subtracted(run, ok, enrolled):
    assert ok("listen", enrolled, *SPOKEN[:3], "--out", "m7.voice") == "listened to 3 clips; file: m7.voice\n"
    report = json.loads(ok("listen", enrolled, *SPOKEN[3:], "--voice", "m7.voice", "--out", "m7.voice", "--json"))
    assert report == {"voice": "m7.voice", "voice_clips": len(SPOKEN)}
    classifier = FewShotClassifier.load(enrolled)
    voice = classifier.listen(SPOKEN)
    rows = {}
    for options, found in (
        ((), classifier.predict(SPOKEN)),
        (("--voice", "m7.voice"), classifier.predict(SPOKEN, voice=voice)),
        (("--same-speaker",), classifier.predict(SPOKEN, same_speaker=True)),
    ):
        code, out, err = run("predict", enrolled, *SPOKEN, *options, "--json")
        rows[options] = json.loads(out)
        assert (code, bool(err)) == (0, bool(options))
        assert {row["voice_clips"] for row in rows[options]} == {len(SPOKEN) if options else 0}
        for row, one in zip(rows[options], found, strict=True):
            assert row["probabilities"] == pytest.approx(one.probabilities, abs=0.01)  # a file holds 16 bits
    probabilities = [[row["probabilities"]["fear"] for row in found] for found in rows.values()]
    assert probabilities[0] != probabilities[1] != probabilities[2]


def test_a_model_without_statistics_of_speakers_says_that_a_voice_changes_nothing(run, room):
    code, _, err = run("listen", room / "enrolled.ser", room / "clip.ogg", "--out", "a.voice")
    assert (code, err.count("\n")) == (0, 1)
    assert "warning: this model has no statistics of speakers" in err
    code, _, err = run("predict", room / "enrolled.ser", room / "clip.ogg", "--voice", "a.voice")
    assert (code, err) == (0, "warning: the model has no statistics of speakers: the voice changes nothing\n")


def test_evaluate_scores_with_a_voice_on_the_same_episodes(ok, model):
    options = ("evaluate", "--manifest", DEMO_MANIFEST, "--model", model, *EPISODE, "--context", 3)
    report = json.loads(
        ok(*options, "--session", "--learner", "nearest", "protonet", "--save-episodes", "f", "--json", "-")
    )
    scores = report["learners"]
    assert list(scores) == [name + row for name in ("nearest", "protonet") for row in ("", " + voice", " + session")]
    assert len({score["episodes_sha256"] for score in scores.values()}) == 1
    assert list(report["voice_gain"]) == [name for name in scores if "+" in name]
    for name, gain in report["voice_gain"].items():
        plain = scores[name.partition(" + ")[0]]
        assert gain["mean"] == pytest.approx(scores[name]["uar"]["mean"] - plain["uar"]["mean"])
    again = ok("evaluate", "--manifest", DEMO_MANIFEST, "--model", model, "--replay", "f")
    assert "context of 3 clips" in again
    assert "UAR, paired gain of nearest + voice: " in again
    assert "+ session" not in again
    plain = ok(*options[:-2], "--support-speakers", "one")
    assert "one support speaker" in plain
    assert "voice" not in plain
