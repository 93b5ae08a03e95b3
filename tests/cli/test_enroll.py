"""The commands enroll and predict."""

from __future__ import annotations

import json
import math
import shutil
import warnings
from pathlib import Path

import pytest
import soundfile
from conftest import tone
from views import model_of_two_views

from cli.rooms import DEMO
from ser_fewshot import audio
from ser_fewshot.classifier import FewShotClassifier
from ser_fewshot.errors import DataWarning
from ser_fewshot.models import save_model


def test_enroll_takes_a_folder_and_predict_recognises_with_it(ok, room):
    out = ok("enroll", room / "mine", "--model", room / "model", "--out", "e.ser")
    assert all(f"{emotion} 8 clips" in out for emotion in ("anger", "boredom", "fear", "happiness", "sadness"))
    out = ok("predict", "e.ser", room / "clip.ogg", DEMO / "sadness_en-f1_2.ogg")
    assert len(out.splitlines()) == 4
    assert "nearest enrolled clip" in out
    assert "%" in out


def test_a_class_folder_without_a_usable_clip_is_refused_not_lost(run, room):
    shutil.copytree(room / "mine", "mine")
    Path("mine/awe").mkdir()
    code, out, err = run("enroll", "mine", "--model", room / "model", "--out", "e.ser")
    assert (code, out) == (2, "")
    assert "no usable clip in awe" in err
    assert not Path("e.ser").exists()


def test_enroll_counts_a_recording_once_and_knows_the_files_of_a_corpus(run, room):
    for name, clip in zip("ab", sorted((room / "mine").rglob("*.ogg"))[:2], strict=True):
        for copy in ("1", "2"):
            target = Path("people") / name / f"03a0{copy}Fa.ogg"
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(clip, target)
    code, out, err = run("enroll", "people", "--out", "e.ser")
    assert (code, out) == (0, "enrolled a 1 clip, b 1 clip; file: e.ser\n")
    assert "warning: 03a02Fa.ogg is the same sound as 03a01Fa.ogg in 'a': it counts once" in err
    assert "warning: the clips are named as those of emodb" in err
    assert "errors.py" not in err


def test_the_default_model_is_used_where_none_is_named(ok):
    for emotion in ("anger", "sadness"):
        (Path("few") / emotion).mkdir(parents=True)
        shutil.copy(DEMO / f"{emotion}_en-f1_1.ogg", Path("few") / emotion)
    assert json.loads(ok("enroll", "few", "--out", "e.ser", "--json"))["classes"] == {
        "anger": ["anger_en-f1_1.ogg"],
        "sadness": ["sadness_en-f1_1.ogg"],
    }
    assert json.loads(ok("predict", "e.ser", DEMO / "anger_en-f1_1.ogg", "--json"))[0]["label"] == "anger"


@pytest.mark.parametrize("clean", [True, False])
def test_clips_are_added_as_the_file_says_and_a_note_says_so_where_the_option_differs(clean, run, ok, room):
    option = ["--clean-only"] if clean else []
    named = [part for name in ("anger", "fear") for part in ("--emotion", name, DEMO / f"{name}_en-f1_1.ogg")]
    ok("enroll", *named, "--model", room / "model", "--out", "e.ser", *option)
    added = ["enroll", "--emotion", "awe", DEMO / "sadness_en-f1_1.ogg", "--to", "e.ser", "--out"]
    for given, differs in ((option, False), ([] if clean else ["--clean-only"], True)):
        code, _, err = run(*added, f"{differs}.ser", *given)
        assert (code, "clean only" in err) == (0, differs)
        again = FewShotClassifier.load(f"{differs}.ser")
        assert again.clean_only == clean
        assert len(again.members["awe"].deviations[0]) == (0 if clean else 3)
    assert "clean only" not in run("enroll", "--forget", "fear", "--to", "e.ser", "--out", "f.ser")[2]


def test_speakers_are_enrolled_with_the_view_of_speakers(ok, tmp_path):
    save_model(model_of_two_views(), tmp_path / "model", card="")
    voices = [part for voice in ("en-f1", "en-m7") for part in ("--emotion", voice, *DEMO.glob(f"*_{voice}_1.ogg"))]
    for options, view in (((), "emotion"), (("--classes", "speaker"), "speaker")):
        ok("enroll", *voices, "--model", tmp_path / "model", "--out", f"{view}.ser", *options)
        assert FewShotClassifier.load(f"{view}.ser").model.config.view == view


def test_predict_says_as_json_how_sure_it_is(ok, room):
    (answer,) = json.loads(ok("predict", room / "enrolled.ser", room / "clip.ogg", "--json"))
    assert answer["clip"] == str(room / "clip.ogg")
    assert set(answer["probabilities"]) == {"anger", "fear"}
    assert sum(answer["probabilities"].values()) == pytest.approx(1, rel=1e-4)
    assert answer["nearest"]["label"] in answer["probabilities"]
    assert answer["warnings"] == []
    assert (answer["unknown"], answer["novelty"]) == (False, None)  # its model was not calibrated


def test_a_single_word_is_enrolled_and_recognised_with_a_warning(run, tmp_path):
    for name, hertz in (("yes", 150.0), ("no", 300.0)):
        soundfile.write(tmp_path / f"{name}.wav", tone(0.1, hertz=hertz), 16_000)
    clips = [part for name in ("yes", "no") for part in ("--emotion", name, tmp_path / f"{name}.wav")]
    code, _, err = run("enroll", *clips, "--out", tmp_path / "e.ser")
    assert code == 0
    assert [line.partition(": There is less than 0.3 s of sound")[0] for line in err.splitlines()] == [
        f"warning: {tmp_path / name}.wav" for name in ("yes", "no")
    ]
    code, out, _ = run("predict", tmp_path / "e.ser", tmp_path / "yes.wav", "--json")
    (answer,) = json.loads(out)
    assert (answer["label"], answer["warnings"]) == ("yes", [audio.SHORT])


def test_predict_says_what_is_unknown(ok, room):
    config = json.loads((room / "model/config.json").read_text())
    calibration = {"temperature": [0] * 5, "novelty": [9] + [0] * 9, "most_ways": 4, "most_shots": 5}
    shutil.copytree(room / "model", "model")
    Path("model/config.json").write_text(json.dumps({**config, "calibration": calibration}))
    ok("enroll", room / "mine", "--model", "model", "--out", "e.ser")
    assert "unknown, most like " in ok("predict", "e.ser", room / "clip.ogg")
    (answer,) = json.loads(ok("predict", "e.ser", room / "clip.ogg", "--json"))
    assert answer["unknown"] is True
    assert answer["novelty"] == pytest.approx(1 / (1 + math.exp(-9)))
    assert answer["label"] in answer["probabilities"]


def test_an_enrolment_speaks_the_words_of_its_user(ok, room, tmp_path):
    shutil.copytree(room / "mine/fear", tmp_path / "own/Scared")
    shutil.copytree(room / "mine/anger", tmp_path / "own/train/Really Angry")
    shutil.copytree(room / "mine/sadness", tmp_path / "own/Cafe\u0301")
    out = ok(
        *("enroll", "own", "--model", room / "model", "--out", "e.ser", "--json"),
        *("--emotion", "Scared", room / "clip.ogg", "--emotion", "scared", room / "clip.ogg"),
        *("--emotion", "Caf\u00e9", room / "clip.ogg"),
    )
    counts = {name: len(clips) for name, clips in json.loads(out)["classes"].items()}
    assert counts == {"Scared": 8, "Really Angry": 8, "Caf\u00e9": 9}  # clip.ogg is one of the scared ones


def test_enroll_adds_to_an_enrolment_and_forgets_from_it(ok, room, tmp_path):
    clip = room / "clip.ogg"
    shutil.copy(room / "enrolled.ser", "e.ser")
    out = ok("enroll", "--to", "e.ser", "--emotion", "awe", clip, "--emotion", "fear", clip, "--out", "e.ser", "--json")
    assert {name: len(clips) for name, clips in json.loads(out)["classes"].items()} == {"anger": 2, "fear": 3, "awe": 1}
    out = ok(
        "enroll", "--to", "e.ser", "--forget", "anger", "fear", "--emotion", "fear", clip, "--out", "f.ser", "--json"
    )
    assert {name: len(clips) for name, clips in json.loads(out)["classes"].items()} == {"awe": 1, "fear": 1}
    assert FewShotClassifier.load("e.ser").labels == ("anger", "fear", "awe")


def test_a_misspelt_label_is_enrolled_with_a_warning_and_names_of_people_without(run, room):
    question = "'agner' is enrolled as a class of its own: did you mean 'anger'?"
    clips = (
        "--emotion",
        "anger",
        DEMO / "anger_en-f1_1.ogg",
        "--emotion",
        "agner",
        DEMO / "fear_en-f1_1.ogg",
        "--model",
        room / "model",
    )
    code, out, err = run("enroll", *clips, "--out", "e.ser")
    assert (code, err) == (0, f"warning: {question}\n")
    assert "agner 1 clip" in out
    classifier = FewShotClassifier.load(room / "enrolled.ser")
    with pytest.warns(DataWarning, match="did you mean 'anger'") as told:
        classifier.add("agner", [DEMO / "anger_en-f1_1.ogg"])
    assert told[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error", DataWarning)
        classifier.add("anger", [DEMO / "anger_en-m7_1.ogg"])
