"""The command evaluate."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from synthetic import small_model, with_voices
from views import model_of_two_views

from cli.rooms import DEMO, EPISODE
from ser_fewshot import corpora
from ser_fewshot.models import save_model, with_view
from ser_fewshot.quickstart import DEMO_MANIFEST


def test_evaluate_prints_scores_with_intervals_chance_and_confusion(run, room):
    code, out, err = run("evaluate", "--manifest", DEMO_MANIFEST, "--model", room / "model", *EPISODE)
    assert "\nNone of these 80 clips was in the training set (which is empty)." in out
    assert "‡" not in out
    assert (code, err) == (0, "")
    for part in ("3-way 2-shot", "query speaker disjoint", "chance 33.3 %", "±", "nearest", "recall", "true \\ answer"):
        assert part in out


def test_evaluate_takes_the_view_of_its_label_and_prints_it(ok, room, tmp_path):
    model = model_of_two_views()
    save_model(model, tmp_path / "emotion", card="")
    save_model(with_view(model, "speaker"), tmp_path / "speaker", card="")
    found = {}
    for label in ("emotion", "speaker"):
        for saved in ("emotion", "speaker"):
            options = ("evaluate", "--manifest", DEMO_MANIFEST, "--model", tmp_path / saved, *EPISODE, "--label", label)
            assert f"; view {label}; chance" in ok(*options, "--learner", "protonet", "ridge")
            found[label, saved] = json.loads(ok(*options, "--json", "-"))
            assert found[label, saved]["view"] == label
        assert found[label, "emotion"]["learners"] == found[label, "speaker"]["learners"]
    plain = ok("evaluate", "--manifest", DEMO_MANIFEST, "--model", room / "model", *EPISODE, "--label", "speaker")
    assert "view" not in plain


def test_evaluate_scores_supports_as_enroll_makes_them_or_clean_ones(ok, tmp_path):
    save_model(small_model("ridge"), tmp_path, card="")
    options = ("evaluate", "--manifest", DEMO_MANIFEST, "--model", tmp_path, *EPISODE, "--learner", "ridge", "maml")
    assert "clean supports" not in ok(*options)
    assert "clean supports" in ok(*options, "--clean-only")
    both, alone = (json.loads(ok(*options, *more, "--json", "-")) for more in ((), ("--clean-only",)))
    assert (both["clean_only"], alone["clean_only"]) == (False, True)
    assert both["learners"]["ridge"]["uar_per_episode"] != alone["learners"]["ridge"]["uar_per_episode"]
    assert both["learners"]["maml"] == alone["learners"]["maml"]


def test_scores_with_a_voice_are_of_supports_as_enroll_makes_them_too(ok, tmp_path):
    save_model(with_voices(small_model("ridge")), tmp_path, card="")
    options = ("evaluate", "--manifest", DEMO_MANIFEST, "--model", tmp_path, *EPISODE, "--session", "--context", "1")
    both, alone = (json.loads(ok(*options, *more, "--json", "-"))["learners"] for more in ((), ("--clean-only",)))
    for row in ("ridge", "ridge + voice", "ridge + session"):
        assert both[row]["uar_per_episode"] != alone[row]["uar_per_episode"]


def test_evaluate_says_how_many_episodes_diverged(run, tmp_path):
    save_model(small_model("maml", encoder="dense"), tmp_path, card="")
    config = json.loads((tmp_path / "config.json").read_text())
    config["settings"]["rate"] = 1e25
    (tmp_path / "config.json").write_text(json.dumps(config))
    code, _, err = run("evaluate", "--manifest", DEMO_MANIFEST, "--model", tmp_path, *EPISODE)
    assert code == 0
    assert "episodes diverged and count as chance" in err
    assert "learning rate of 1e+25" in err


def test_evaluate_says_as_json_what_was_scored_on_what(ok, room):
    options = ("evaluate", "--manifest", DEMO_MANIFEST, "--model", room / "model", *EPISODE, "--json")
    printed = json.loads(ok(*options, "-"))
    ok(*options, "deep/out.json")
    assert printed == json.loads(Path("deep/out.json").read_text())
    score = printed["learners"]["nearest"]
    assert (score["episodes"], score["chance"], score["spec"]["n_way"]) == (6, 1 / 3, 3)
    assert 0 <= score["uar"]["mean"] <= 1
    assert score["uar"]["ci95"] > 0
    assert len(score["confusion"]) == len(score["labels"]) == 5
    assert (printed["seed"], printed["clips"], printed["skipped"], printed["manifests"]) == (
        0,
        80,
        [],
        [str(DEMO_MANIFEST)],
    )
    assert printed["corpora"] == sorted({clip.corpus for clip in corpora.read_manifest(DEMO_MANIFEST).utterances})


def test_a_single_episode_has_no_interval_and_its_json_is_json(ok, room):
    options = ("--n-way", 3, "--k-shot", 2, "--n-query", 2, "--episodes", 1, "--json", "-")
    out = ok("evaluate", "--manifest", DEMO_MANIFEST, "--model", room / "model", *options)
    assert json.loads(out, parse_constant=pytest.fail)["learners"]["nearest"]["uar"]["ci95"] is None


def test_frozen_episodes_give_the_same_scores_again(ok, room):
    options = ("evaluate", "--manifest", DEMO_MANIFEST, "--model", room / "model", "--json", "-")
    first = json.loads(ok(*options, *EPISODE, "--seed", 7, "--save-episodes", "f.jsonl"))
    again = json.loads(ok(*options, "--replay", "f.jsonl"))
    assert again["learners"] == first["learners"]
    assert (again["seed"], again["replay"]) == (None, "f.jsonl")


def test_learners_are_compared_on_the_same_episodes(ok, room):
    options = ("evaluate", "--manifest", DEMO_MANIFEST, "--model", room / "model", *EPISODE)
    report = json.loads(ok(*options, "--learner", "nearest", "ridge", "--json", "-"))
    assert list(report["learners"]) == ["nearest", "ridge"]
    assert len({score["episodes_sha256"] for score in report["learners"].values()}) == 1
    assert list(report["difference_to_first"]) == ["ridge"]
    assert "paired difference" in ok(*options, "--learner", "nearest", "ridge")


def test_other_protocols_are_printed_with_their_scores(ok, room):
    for protocol, options in {
        "by speaker, query speaker same": ("--label", "speaker"),
        "by emotion_x_speaker, query speaker same": ["--label", "emotion_x_speaker", "--k-shot", "1", "--n-query", "1"],
        "query speaker any, query text different": ("--query-speaker", "any", "--query-text", "different"),
        "query speaker disjoint": ("--normalization", "speaker", "--mix-corpora"),
    }.items():
        out = ok("evaluate", "--manifest", DEMO_MANIFEST, "--model", room / "model", *EPISODE, *options)
        assert protocol in out


def test_clips_that_are_gone_are_listed_and_the_rest_is_scored(run, room, tmp_path):
    shutil.copytree(DEMO, tmp_path / "demo")
    (tmp_path / "demo/fear_en-f1_1.ogg").unlink()
    with (tmp_path / "demo/clips.csv").open("a") as table:
        table.write(",fear,nobody,demo,eng,,\n")
    code, out, err = run("evaluate", "--manifest", "demo/clips.csv", "--model", room / "model", *EPISODE, "--json", "-")
    report = json.loads(out)
    assert (code, report["clips"], len(report["skipped"])) == (0, 79, 2)
    assert "fear_en-f1_1.ogg" in err
    assert "names no file" in err


def test_classes_that_are_too_small_are_named_beside_the_answer(run, room):
    rows = DEMO_MANIFEST.read_text().splitlines()
    table = [rows[0], *(f"{DEMO}/{row}" for row in rows[1:]), f"{DEMO}/fear_en-f1_1.ogg,[awe],x,demo,eng,,"]
    Path("t.csv").write_text("\n".join([*table[:-1], table[-1].replace("fear_", "../demo/fear_")]))
    _, out, err = run("evaluate", "--manifest", "t.csv", "--model", room / "model", *EPISODE, "--json", "-")
    assert re.search(r"never drawn: .*\[awe\]: ", err)
    assert "[awe]" not in json.loads(out)["learners"]["nearest"]["labels"]
