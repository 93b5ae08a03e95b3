"""The command `benchmark`: killed and continued, one cell repeated and compared, and its clips."""

from __future__ import annotations

import dataclasses
import json
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import soundfile

from ser_fewshot.benchmark import markdown, score
from ser_fewshot.benchmark.markdown import PAGE
from ser_fewshot.benchmark.store import path_of, write_cell, write_results
from ser_fewshot.cli import main
from ser_fewshot.cli._data import clips_of
from ser_fewshot.corpora import write_manifest
from ser_fewshot.errors import CorpusError

from .small_runs import RATE, make_corpora, protocols, results

CROSS = "cross-corpus-5-shot/{}/nearest"
SPEAKERS = "unseen-speakers-5-shot/one/protonet"


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return make_corpora(tmp_path_factory.mktemp("corpora"))


@pytest.fixture(scope="module")
def options(root):
    """Those of every run over the same corpora."""
    return ("benchmark", "--corpora", root, "--cache", root / "cache", "--workers", "1", "--smoke")


@pytest.fixture(scope="module")
def finished(options, tmp_path_factory):
    """The folder of a finished run: an untrained learner across corpora, a trained one across speakers."""
    out = tmp_path_factory.mktemp("finished")
    for learner, name in (("nearest", "cross-corpus-5-shot"), ("protonet", "unseen-speakers-5-shot")):
        main.main([*map(str, options), "--learners", learner, "--protocols", name, "--out", str(out / learner)])
    write_results(out / "results.jsonl", [one for part in out.iterdir() for one in results(part).values()])
    return out


def ages(out):
    return {path.name: path.stat().st_mtime_ns for path in (out / "cells").glob("*.json")}


def test_a_killed_run_continues_without_repeating_a_finished_cell(options, tmp_path, run):
    out = tmp_path / "run"
    command = [*options, "--out", out, "--learners", "nearest", "protonet", "--protocols", "cross-corpus-5-shot"]
    started = subprocess.Popen(
        [sys.executable, "-m", "ser_fewshot", *map(str, command)], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not list((out / "cells").glob("*.json")):
        assert started.poll() is None
        time.sleep(0.005)
    started.send_signal(signal.SIGKILL)
    assert started.wait() == -signal.SIGKILL
    before = ages(out)
    assert before
    assert not (out / PAGE).exists()
    code, _, err = run(*command)
    assert code == 0, err
    after = ages(out)
    assert {name: age for name, age in after.items() if name in before} == before
    assert len(after) == 6 > len(before)
    assert [one.status for one in results(out).values()] == ["done"] * 6


def test_a_cell_is_repeated_to_the_bit_by_the_command_in_its_record(root, finished, tmp_path, run):
    for key in (CROSS.format("one"), SPEAKERS):
        words = results(finished)[key].origin.command.split()
        assert words[:2] == ["ser-fewshot", "benchmark"]
        repeated = [{"CORPORA": root, "OUT": tmp_path / key.replace("/", "-")}.get(word, word) for word in words[1:]]
        code, out, err = run(*repeated, "--cache", root / "cache", "--workers", "1", "--against", finished)
        assert code == 0, err
        assert "1 cell the same to the bit" in out
        assert "reliability" not in out


def test_reliability_of_another_number_of_bins_is_left_out_of_the_comparison(options, finished, tmp_path, run):
    lines = (finished / "results.jsonl").read_text().splitlines()
    stored = next(one for one in map(json.loads, lines) if one["key"] == CROSS.format("one"))
    stored["reliability"] |= {"bins": stored["reliability"]["bins"][:10], "ece": 0.5}
    (tmp_path / "results.jsonl").write_text(json.dumps(stored) + "\n")
    code, out, err = run(*options, "--out", tmp_path / "b", "--only", stored["key"], "--against", tmp_path)
    assert code == 0, err
    assert "reliability left out of the comparison of 1 cell: another number of bins" in out
    assert "1 cell the same to the bit" in out


def test_other_values_and_failed_cells_are_errors(options, finished, tmp_path, run, monkeypatch):
    key = CROSS.format("one")
    code, _, err = run(*options, "--out", tmp_path / "a", "--only", key, "--seed", "1", "--against", finished)
    assert code == 2
    assert f"found other values in {key} (episodes_sha256 differs, " in err
    monkeypatch.setattr(score, "score_cell", lambda *_, **__: 1 / 0)
    code, _, err = run(*options, "--out", tmp_path / "b", "--only", key)
    assert code == 1
    assert f"1 cell failed: {key}; the reasons stand in {tmp_path / 'b' / PAGE}" in err
    code, out, err = run(*options, "--out", tmp_path / "b", "--only", key, "--against", finished)
    assert code == 2
    assert f"other values in {key} (failed)" in err
    assert "the same to the bit" not in out


def test_one_cell_alone_keeps_the_list_of_what_is_missing(options, finished, tmp_path, run):
    out = tmp_path / "run"
    shutil.copytree(finished / "nearest", out)
    path_of(out, CROSS.format("one")).unlink()
    assert run(*options, "--out", out, "--only", CROSS.format("two"))[0] == 0
    assert f"## Missing: start the same command again\n\n- `{CROSS.format('one')}`" in (out / PAGE).read_text()
    (out / "asked.json").write_text("{")  # a damaged list is ignored
    assert run(*options, "--out", out, "--only", CROSS.format("two"))[0] == 0
    assert "## Missing" not in (out / PAGE).read_text()


def test_cells_that_others_finish_meanwhile_are_on_the_last_page(options, finished, tmp_path, run, monkeypatch):
    late = []

    def slow(out, keys):
        found = write_page(out, keys)
        if not late:  # while this one wrote, another process finished a cell
            one = dataclasses.replace(found[0][0], method="other", key="cross-corpus-5-shot/one/other")
            late.append(write_cell(out, one))
        return found

    write_page = markdown.write_page
    monkeypatch.setattr(markdown, "write_page", slow)
    assert run(*options, "--out", tmp_path, "--only", CROSS.format("one"))[0] == 0
    assert "cross-corpus-5-shot/one/other" in results(tmp_path)


def test_wrong_options_and_missing_packages_are_refused_before_the_work(options, tmp_path, run, monkeypatch):
    code, _, err = run(*options, "--out", tmp_path, "--protocols", "nothing")
    assert code == 2
    assert "cross-corpus-5-shot | unseen-speakers-5-shot" in err
    assert protocols("personal-5-shot")[0].spec.query_speaker == "same"
    monkeypatch.setitem(sys.modules, "opensmile", None)
    code, _, err = run(*options, "--out", tmp_path, "--baselines")
    assert code == 2
    assert "pip install 'ser-fewshot[bench]'" in err
    assert not (tmp_path / "cells").exists()


def test_clips_that_cannot_be_read_are_listed_and_never_drawn_and_one_corpus_is_left_out(tmp_path, run):
    corpora = make_corpora(tmp_path / "corpora", ("one",))
    silent = tmp_path / "corpora" / "one" / "anger-0-0.wav"
    soundfile.write(silent, np.zeros(RATE), RATE)
    command = ["benchmark", "--corpora", corpora, "--cache", tmp_path, "--smoke", "--workers", "1"]
    command += ["--learners", "nearest", "--protocols"]
    code, _, err = run(*command, "unseen-speakers-5-shot", "--out", tmp_path / "a")
    assert code == 0, err
    assert str(silent) in err
    split = results(tmp_path / "a")["unseen-speakers-5-shot/one/nearest"].split
    assert split.train[0].clips + split.test[0].clips == 119
    code, _, err = run(*command, "cross-corpus-1-shot", "--out", tmp_path / "b")
    assert code == 0
    assert "left out: cross-corpus-1-shot/one: found no other corpus; expected a second one to train on" in err


def test_manifests_say_what_the_folders_beside_them_are(root, tmp_path, capsys):
    clips = clips_of(root)
    place = tmp_path / "mine" / "angry" / "maria" / "a.wav"
    place.parent.mkdir(parents=True)
    shutil.copy(clips[0].path, place)
    assert [(clip.corpus, clip.emotion, clip.speaker) for clip in clips_of(tmp_path)] == [("mine", "anger", "maria")]
    for path in root.glob("*.csv"):
        shutil.copy(path, tmp_path)  # whose clips stand elsewhere
    assert {clip.corpus for clip in clips_of(tmp_path)} == {"one", "two"}
    assert capsys.readouterr().err == ""


def test_a_file_that_two_corpora_list_counts_once(root, tmp_path, capsys):
    clips = clips_of(root)[:6]
    for corpus in ("first", "second"):
        renamed = [dataclasses.replace(clip, id=f"{corpus}/{clip.path.stem}", corpus=corpus) for clip in clips]
        write_manifest(tmp_path / f"{corpus}.csv", renamed)
    assert {clip.corpus for clip in clips_of(tmp_path)} == {"first"}
    assert "6 files skipped: second copy" in capsys.readouterr().err


def test_a_clip_of_two_corpora_counts_once_and_two_manifests_of_the_same_clips_are_refused(root, tmp_path, capsys):
    clips = clips_of(root)
    for name in ("a", "b"):
        for clip in clips[:3]:
            place = tmp_path / name / "angry" / "maria" / clip.path.name
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(clip.path, place)
    shutil.copy(clips[3].path, tmp_path / "b" / "angry" / "maria" / "own.wav")
    assert [clip.id for clip in clips_of(tmp_path) if clip.corpus == "b"] == ["b/angry/maria/own.wav"]
    assert "second copy: the sound of a/angry/maria/" in capsys.readouterr().err
    for name in ("one", "same"):
        shutil.copy(root / "one.csv", tmp_path / f"{name}.csv")
    with pytest.raises(CorpusError, match=r"found 120 clips twice, such as one/.*expected each once"):
        clips_of(tmp_path)
