"""A run: killed and gone on with, shared between processes, repeated to the bit, and not stopped by one cell."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass

import numpy as np
import pytest
import soundfile
import torch

from ser_fewshot.benchmark import build, cell, grid, summary
from ser_fewshot.benchmark.build import slug
from ser_fewshot.benchmark.grid import run_grid
from ser_fewshot.benchmark.methods import named
from ser_fewshot.benchmark.protocols import PROTOCOLS, Question
from ser_fewshot.benchmark.store import keys_of, path_of, write_cell
from ser_fewshot.benchmark.summary import PAGE, assemble
from ser_fewshot.cli._data import clips_of
from ser_fewshot.errors import CorpusError, SettingsError
from ser_fewshot.models.training_set import TrainingSet

from .rooms import RATE, make_corpora, plan, protocols, results

LEARNERS = ("nearest", "protonet", "ridge")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return make_corpora(tmp_path_factory.mktemp("corpora"))


def ages(out):
    return {path.name: path.stat().st_mtime_ns for path in sorted((out / "cells").glob("*.json"))}


def test_a_killed_run_goes_on_without_repeating_a_finished_cell(root, tmp_path, run):
    out = tmp_path / "run"
    command = ["benchmark", "--corpora", root, "--out", out, "--learners", *LEARNERS, "--protocols"]
    command += ["cross-corpus-1-shot", "cross-corpus-5-shot", "--smoke", "--workers", "1", "--cache", tmp_path]
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
    assert len(after) == 4 * (len(LEARNERS) + 1) > len(before)
    assert sorted(one.status for one in results(out).values()) == ["done"] * len(after)


def test_manifests_say_what_the_folders_beside_them_are(root, tmp_path, capsys):
    told = clips_of(root)
    place = tmp_path / "mine" / "angry" / "maria" / "a.wav"
    place.parent.mkdir(parents=True)
    shutil.copy(told[0].path, place)
    assert [(clip.corpus, clip.emotion, clip.speaker) for clip in clips_of(tmp_path)] == [("mine", "anger", "maria")]
    for path in root.glob("*.csv"):
        shutil.copy(path, tmp_path)  # whose clips stand elsewhere
    assert {clip.corpus for clip in clips_of(tmp_path)} == {"one", "two"}
    assert capsys.readouterr().err == ""


def test_two_manifests_of_the_same_clips_are_refused(root, tmp_path):
    for name in ("one", "same"):
        shutil.copy(root / "one.csv", tmp_path / f"{name}.csv")
    with pytest.raises(CorpusError, match=r"found 120 clips twice, such as one/.*expected each once"):
        clips_of(tmp_path)


def test_a_run_that_can_ask_nothing_says_why(tmp_path, run):
    make_corpora(tmp_path, ("one",))
    code, _, err = run(
        "benchmark",
        "--corpora",
        tmp_path,
        "--cache",
        tmp_path / "c",
        "--out",
        tmp_path / "run",
        "--smoke",
        "--learners",
        "nearest",
        "--protocols",
        "cross-corpus-1-shot",
        "--workers",
        "1",
    )
    assert code == 0
    assert "left out: cross-corpus-1-shot/one: found no other corpus; expected a second one to train on" in err


def test_a_clip_that_two_corpora_have_is_of_the_first(root, tmp_path, capsys):
    told = clips_of(root)
    for name in ("a", "b"):
        for clip in told[:3]:
            place = tmp_path / name / "angry" / "maria" / clip.path.name
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(clip.path, place)
    shutil.copy(told[3].path, tmp_path / "b" / "angry" / "maria" / "own.wav")
    assert [clip.id for clip in clips_of(tmp_path) if clip.corpus == "b"] == ["b/angry/maria/own.wav"]
    assert "second copy: the sound of a/angry/maria/" in capsys.readouterr().err


def test_cells_that_others_finish_meanwhile_stand_in_the_page_that_is_left(root, tmp_path, run, monkeypatch):
    options = ("--corpora", root, "--cache", tmp_path, "--workers", "1", "--smoke", "--learners", "nearest")
    told = (*options, "--out", tmp_path / "run", "--protocols", "cross-corpus-5-shot")
    honest, late = summary.assemble, []

    def slow(out, keys):
        found = honest(out, keys)
        if not late:  # while this one wrote, another process finished a cell
            one = dataclasses.replace(found[0][0], method="other", key="cross-corpus-5-shot/one/other")
            late.append(write_cell(out, one))
        return found

    monkeypatch.setattr(summary, "assemble", slow)
    assert run("benchmark", *told)[0] == 0
    assert "cross-corpus-5-shot/one/other" in results(tmp_path / "run")


def test_a_finished_model_is_marked_on_clips_that_it_was_trained_on_whatever_their_corpus_is_called(
    root, tmp_path, monkeypatch
):
    own = [dataclasses.replace(clip, corpus="elsewhere") for clip in clips_of(root) if clip.corpus == "one"]
    model = dataclasses.replace(build.load_model(build.DEFAULT_FOLDER), training_set=TrainingSet.of(own))
    monkeypatch.setattr(build, "load_model", lambda _: model)
    task = plan(root, tmp_path, methods=(named("default-model"),), protocols=protocols("cross-corpus-5-shot"))
    run_grid(task, workers=1)
    one, two = assemble(tmp_path, [])[0]
    assert (one.heard, two.heard) == (True, False)
    assert one.notes[-1].startswith("Trained on elsewhere: 120 of these 120 clips were in the training set")
    assert {licence.corpus for licence in two.licences} == {"elsewhere", "two"}


def test_a_row_is_repeated_to_the_bit_by_the_command_in_its_record(root, tmp_path, run):
    first, second = tmp_path / "first", tmp_path / "second"
    options = ("--corpora", root, "--cache", tmp_path, "--workers", "1")
    told = ("--learners", "protonet", "--protocols", "unseen-speakers-5-shot", "speakers-5-way-1-shot", "--smoke")
    assert run("benchmark", *options, "--out", first, *told)[0] == 0
    done = {key: record for key, record in results(first).items() if record.done}
    assert len(done) == 8
    assert "minutes of one process, in one start" in (first / PAGE).read_text()
    for key, record in done.items():
        words = record.origin.command.split()
        assert words[:2] == ["ser-fewshot", "benchmark"]
        repeated = [{"CORPORA": root, "OUT": second / key.replace("/", "-")}.get(word, word) for word in words[1:]]
        code, out, err = run(*repeated, "--cache", tmp_path, "--workers", "1", "--against", first)
        assert code == 0, err
        assert "1 cell the same to the bit" in out


def test_a_row_that_comes_out_otherwise_is_an_error(root, tmp_path, run):
    options = ("--corpora", root, "--cache", tmp_path, "--workers", "1", "--smoke")
    key = "cross-corpus-5-shot/one/nearest"
    assert run("benchmark", *options, "--out", tmp_path / "a", "--only", key)[0] == 0
    code, _, err = run(
        "benchmark", *options, "--out", tmp_path / "b", "--only", key, "--seed", "1", "--against", tmp_path / "a"
    )
    assert code == 2
    assert f"found other values in {key} (episodes_sha256 differs, " in err


def test_a_cell_that_raises_is_written_down_and_stops_no_other(root, tmp_path, monkeypatch):
    def scored(question, method, made, *, common):
        if method.name == "ridge" and question.corpus == "two":
            raise ZeroDivisionError("of all things")
        return honest(question, method, made, common=common)

    honest = cell.scored
    monkeypatch.setattr(cell, "scored", scored)
    task = plan(root, tmp_path, learners=("nearest", "ridge"))
    run_grid(task, workers=1)
    records, missing = assemble(tmp_path, keys_of(task.methods, task.asked()))
    assert not missing
    failed = {one.key: one.reason for one in records if one.status == "failed"}
    assert failed == {f"cross-corpus-{k}-shot/two/ridge": "ZeroDivisionError: of all things" for k in (1, 5)}
    assert sum(one.done for one in records) == 6
    assert "`cross-corpus-1-shot/two/ridge`: ZeroDivisionError" in (tmp_path / PAGE).read_text()
    monkeypatch.undo()
    run_grid(task, workers=1)  # what failed is tried again
    assert all(one.done for one in assemble(tmp_path, [])[0])


def test_a_run_with_a_failed_cell_leaves_with_1_and_is_like_no_other(root, tmp_path, run, monkeypatch):
    def scored(question, method, made, *, common):
        raise ZeroDivisionError("of all things")

    monkeypatch.setattr(cell, "scored", scored)
    key = "cross-corpus-5-shot/one/nearest"
    options = ("benchmark", "--corpora", root, "--cache", tmp_path, "--workers", "1", "--smoke", "--only", key)
    code, _, err = run(*options, "--out", tmp_path / "a")
    assert code == 1
    assert f"1 cell failed: {key}; the reasons stand in {tmp_path / 'a' / PAGE}" in err
    code, out, err = run(*options, "--out", tmp_path / "b", "--against", tmp_path / "a")
    assert code == 2
    assert f"other values in {key} (failed)" in err
    assert "the same to the bit" not in out


def test_one_cell_alone_leaves_the_list_of_what_is_missing(root, tmp_path, run):
    options = ("benchmark", "--corpora", root, "--out", tmp_path, "--cache", tmp_path, "--workers", "1", "--smoke")
    run(*options, "--learners", "nearest", "--protocols", "cross-corpus-5-shot")
    path_of(tmp_path, "cross-corpus-5-shot/one/nearest").unlink()
    assert run(*options, "--only", "cross-corpus-5-shot/two/nearest")[0] == 0
    assert "## Missing" in (tmp_path / PAGE).read_text()
    assert "- `cross-corpus-5-shot/one/nearest`" in (tmp_path / PAGE).read_text()
    (tmp_path / "asked.json").write_text("{")  # what is damaged is no list, and no reason to stop
    assert run(*options, "--only", "cross-corpus-5-shot/two/nearest")[0] == 0
    assert "## Missing" not in (tmp_path / PAGE).read_text()


def test_another_version_of_the_package_does_not_go_on_with_a_run(root, tmp_path, monkeypatch):
    run_grid(plan(root, tmp_path), workers=1)
    monkeypatch.setattr(grid, "__version__", "99.0")
    with pytest.raises(SettingsError, match=r"a run with version .*expected version '99.0'.*same version"):
        run_grid(plan(root, tmp_path), workers=1)


def test_every_process_of_a_launcher_refuses_the_folder_of_another_run(root, tmp_path, monkeypatch):
    run_grid(plan(root, tmp_path), workers=1)
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(SettingsError, match="a run with episodes 4"):
        run_grid(plan(root, tmp_path, episodes=5), workers=1)


def test_the_device_that_was_found_is_what_is_recorded(root, tmp_path):
    run_grid(plan(root, tmp_path, device="auto", command=("ser-fewshot",)), workers=1)
    (device,) = {one.origin.device for one in assemble(tmp_path, [])[0]}
    assert device == ("cuda" if torch.cuda.is_available() else "cpu")
    assert json.loads((tmp_path / "run.json").read_text())["device"] == device
    for name in ("cpu", "cuda"):  # said always, because the default is what a machine has
        asked = plan(root, tmp_path, device=name, command=("ser-fewshot",))
        assert asked.common.command == ("ser-fewshot", "--device", name)


def test_nothing_is_promised_about_what_the_probe_learned_from(root, tmp_path):
    run_grid(plan(root, tmp_path, methods=(named("linear-probe"), named("nearest"))), workers=1)
    told = {one.method: one.audit.tells("train_test_clips") for one in assemble(tmp_path, [])[0]}
    assert told == {"linear-probe": False, "nearest": True}


def test_methods_that_differ_in_a_sign_alone_are_kept_apart():
    assert slug("maml:inner_rate=-1") != slug("maml:inner_rate=1")
    assert "/" not in slug("a/b:c=d")


def test_descriptions_by_a_front_end_are_whitened_for_speakers_too(root, monkeypatch):
    given = []
    monkeypatch.setattr(build, "build_model", lambda config, **_: given.append(config) or 1 / 0)
    asked = next(one for one in plan(root, root, protocols=PROTOCOLS).asked() if is_by_speaker(one))
    for name in ("egemaps-ridge", "compare-ridge"):
        monkeypatch.setattr(build, "frontend_of", lambda method: Frontend(6373 if "compare" in method.name else 88))
        with pytest.raises(ZeroDivisionError):
            build._scaled(named(name), asked, None)
    assert [one.settings["encoder"].get("whitening", False) for one in given] == [True, False]


@dataclass
class Frontend:
    dim: int
    layers: int = 1
    pooled: bool = True


def is_by_speaker(one):
    return isinstance(one, Question) and one.spec.label == "speaker"


def test_a_method_that_cannot_be_made_fails_in_all_cells_of_its_split(root, tmp_path, monkeypatch):
    monkeypatch.setattr(grid, "make", lambda *_, **__: 1 / 0)
    run_grid(plan(root, tmp_path), workers=1)
    assert [one.reason for one in assemble(tmp_path, [])[0]] == ["ZeroDivisionError: division by zero"] * 4


def test_cells_that_are_missing_are_named(root, tmp_path):
    task = plan(root, tmp_path)
    run_grid(task, workers=1, only="cross-corpus-5-shot/one/nearest")
    records, missing = assemble(tmp_path, keys_of(task.methods, task.asked()))
    assert [one.key for one in records] == ["cross-corpus-5-shot/one/nearest"]
    assert len(missing) == 3
    assert all(f"- `{key}`" in (tmp_path / PAGE).read_text() for key in missing)


def test_a_folder_takes_no_cells_of_another_run(root, tmp_path):
    run_grid(plan(root, tmp_path), workers=1)
    with pytest.raises(SettingsError, match="a run with episodes 4"):
        run_grid(plan(root, tmp_path, episodes=5), workers=1)


def test_a_cell_that_is_not_there_is_an_error(root, tmp_path):
    with pytest.raises(SettingsError, match="PROTOCOL/CORPUS/METHOD"):
        run_grid(plan(root, tmp_path), workers=1, only="cross-corpus-5-shot/three/nearest")


def test_processes_that_a_launcher_started_take_their_share_each(root, tmp_path, monkeypatch):
    task = plan(root, tmp_path, learners=("nearest", "ridge"))
    made: list[set[str]] = []
    meanwhile: set[tuple[bool, int]] = set()
    threads = torch.get_num_threads()
    for rank in ("0", "1"):
        before = set(ages(tmp_path))
        monkeypatch.setenv("RANK", rank)
        monkeypatch.setenv("WORLD_SIZE", "2")
        run_grid(task, workers=1, track=lambda *_: meanwhile.add(("RANK" in os.environ, torch.get_num_threads())))
        assert (os.environ["RANK"], torch.get_num_threads()) == (rank, threads)
        made.append(set(ages(tmp_path)) - before)
    assert meanwhile == {(False, 1)}  # a training must not wait for that of the other process
    assert len(made[0]) == len(made[1]) == 4
    assert not assemble(tmp_path, keys_of(task.methods, task.asked()))[1]


def test_a_missing_package_is_known_before_the_work_and_named(root, tmp_path, run, monkeypatch):
    monkeypatch.setitem(sys.modules, "opensmile", None)
    code, _, err = run("benchmark", "--corpora", root, "--out", tmp_path, "--baselines", "--smoke")
    assert code == 2
    assert "pip install 'ser-fewshot[bench]'" in err
    assert not (tmp_path / "cells").exists()


@pytest.mark.slow
def test_two_processes_give_the_bits_of_one(root, tmp_path):
    for workers in (1, 2):
        run_grid(plan(root, tmp_path / str(workers), learners=LEARNERS), workers=workers)
    one, two = (assemble(tmp_path / str(workers), [])[0] for workers in (1, 2))
    assert [record.measured() for record in one] == [record.measured() for record in two]
    assert len(one) == 12


def test_a_clip_that_cannot_be_read_is_told_and_never_drawn(tmp_path, run):
    corpora = make_corpora(tmp_path / "corpora")
    silent = tmp_path / "corpora" / "one" / "anger-0-0.wav"
    soundfile.write(silent, np.zeros(RATE), RATE)
    options = ("--protocols", "cross-corpus-5-shot", "--learners", "nearest", "--smoke", "--workers", "1")
    code, _, err = run("benchmark", "--corpora", corpora, "--out", tmp_path, "--cache", tmp_path, *options)
    assert code == 0, err
    assert str(silent) in err
    record = results(tmp_path)["cross-corpus-5-shot/one/nearest"]
    assert record.done
    assert record.split.test[0].clips == 119


def test_the_protocols_can_be_chosen(run, root, tmp_path):
    code, _, err = run("benchmark", "--corpora", root, "--out", tmp_path, "--protocols", "nothing")
    assert code == 2
    assert "cross-corpus-5-shot | unseen-speakers-5-shot" in err
    assert protocols("personal-5-shot")[0].spec.query_speaker == "same"


def test_a_run_knows_its_clips_by_their_sound(root, tmp_path):
    one, other = (plan(root, tmp_path, keys=(key,) * len(clips_of(root))).told() for key in ("before", "after"))
    assert one["clips_sha256"] != other["clips_sha256"]
