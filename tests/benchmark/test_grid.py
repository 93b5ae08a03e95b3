"""The grid of cells: each computed once, by any number of processes, and not stopped by an error in another."""

from __future__ import annotations

import dataclasses
import json
import os

import pytest
import torch

from ser_fewshot.benchmark import build, grid, score
from ser_fewshot.benchmark.grid import run_grid
from ser_fewshot.benchmark.markdown import PAGE, write_page
from ser_fewshot.benchmark.methods import method_named
from ser_fewshot.benchmark.protocols import PROTOCOLS, Case, keys_of
from ser_fewshot.errors import SettingsError
from ser_fewshot.models.training_set import TrainingSet

from .small_runs import clips_of, make_corpora, plan, protocols


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return make_corpora(tmp_path_factory.mktemp("corpora"))


def cells(out):
    return {path.name for path in (out / "cells").glob("*.json")}


def test_an_error_is_the_record_of_its_cell_stops_no_other_and_is_tried_again(root, tmp_path, monkeypatch):
    def failing(case, method, built, *, run):
        if method.name == "ridge" and case.corpus == "two":
            raise ZeroDivisionError("of all things")
        return score_cell(case, method, built, run=run)

    score_cell = score.score_cell
    monkeypatch.setattr(score, "score_cell", failing)
    task = plan(root, tmp_path, learners=("nearest", "ridge"))
    run_grid(task, workers=1)
    records, missing = write_page(tmp_path, keys_of(task.methods, task.cases()))
    assert not missing
    failed = {one.key: one.reason for one in records if one.status == "failed"}
    assert failed == {f"cross-corpus-{k}-shot/two/ridge": "ZeroDivisionError: of all things" for k in (1, 5)}
    assert sum(one.done for one in records) == 6
    assert "`cross-corpus-1-shot/two/ridge`: ZeroDivisionError" in (tmp_path / PAGE).read_text()
    monkeypatch.undo()
    run_grid(task, workers=1)
    assert all(one.done for one in write_page(tmp_path, [])[0])


def test_a_method_that_cannot_be_built_fails_in_all_cells_of_its_split(root, tmp_path, monkeypatch):
    monkeypatch.setattr(grid, "build_method", lambda *_, **__: 1 / 0)
    run_grid(plan(root, tmp_path), workers=1)
    assert [one.reason for one in write_page(tmp_path, [])[0]] == ["ZeroDivisionError: division by zero"] * 4


def test_one_cell_alone_can_be_computed_and_the_others_are_missing(root, tmp_path):
    task = plan(root, tmp_path)
    run_grid(task, workers=1, only="cross-corpus-5-shot/one/nearest")
    records, missing = write_page(tmp_path, keys_of(task.methods, task.cases()))
    assert [one.key for one in records] == ["cross-corpus-5-shot/one/nearest"]
    assert len(missing) == 3
    assert all(f"- `{key}`" in (tmp_path / PAGE).read_text() for key in missing)
    with pytest.raises(SettingsError, match="PROTOCOL/CORPUS/METHOD"):
        run_grid(task, workers=1, only="cross-corpus-5-shot/three/nearest")


def test_a_folder_takes_no_cells_of_another_run(root, tmp_path, monkeypatch):
    run_grid(plan(root, tmp_path), workers=1)
    one, other = (plan(root, tmp_path, keys=(key,) * len(clips_of(root))).identity() for key in ("before", "after"))
    assert one["clips_sha256"] != other["clips_sha256"]  # clips are known by their audio
    for rank in ("0", "1"):  # of every process of a launcher
        monkeypatch.setenv("RANK", rank)
        monkeypatch.setenv("WORLD_SIZE", "2")
        with pytest.raises(SettingsError, match="a run with episodes 4"):
            run_grid(plan(root, tmp_path, episodes=5), workers=1)
    monkeypatch.setattr(grid, "__version__", "99.0")
    with pytest.raises(SettingsError, match=r"a run with version .*expected version '99.0'.*same version"):
        run_grid(plan(root, tmp_path), workers=1)


def test_the_device_in_use_is_recorded(root, tmp_path):
    run_grid(plan(root, tmp_path, device="auto", command=("ser-fewshot",)), workers=1)
    (device,) = {one.origin.device for one in write_page(tmp_path, [])[0]}
    assert device == ("cuda" if torch.cuda.is_available() else "cpu")
    assert json.loads((tmp_path / "run.json").read_text())["device"] == device
    for name in ("cpu", "cuda"):  # always, because the default depends on the machine
        task = plan(root, tmp_path, device=name, command=("ser-fewshot",))
        assert score._origin("a/b/c", task).command == f"ser-fewshot --device {name} --only a/b/c"


def test_a_saved_model_is_marked_on_clips_of_its_training_set_and_the_probe_has_no_promise(root, tmp_path, monkeypatch):
    own = [dataclasses.replace(clip, corpus="elsewhere") for clip in clips_of(root) if clip.corpus == "one"]
    model = dataclasses.replace(build.load_model(build.DEFAULT_FOLDER), training_set=TrainingSet.of(own))
    monkeypatch.setattr(build, "load_model", lambda _: model)
    methods = tuple(map(method_named, ("default-model", "linear-probe", "nearest")))
    run_grid(plan(root, tmp_path, methods=methods, protocols=protocols("cross-corpus-5-shot")), workers=1)
    found = {(one.method, one.corpus): one for one in write_page(tmp_path, [])[0]}
    one, two = found["default-model", "one"], found["default-model", "two"]
    assert (one.heard, two.heard) == (True, False)
    assert one.notes[-1].startswith("Trained on elsewhere: 120 of these 120 clips were in the training set")
    assert {licence.corpus for licence in two.licences} == {"elsewhere", "two"}
    assert not found["linear-probe", "one"].audit.applies("train_test_clips")
    assert found["nearest", "one"].audit.applies("train_test_clips")


def test_processes_of_a_launcher_compute_their_share_each(root, tmp_path, monkeypatch):
    task = plan(root, tmp_path, learners=("nearest", "ridge"))
    shares: list[set[str]] = []
    meanwhile: set[tuple[bool, int]] = set()
    threads = torch.get_num_threads()
    for rank in ("0", "1"):
        before = cells(tmp_path)
        monkeypatch.setenv("RANK", rank)
        monkeypatch.setenv("WORLD_SIZE", "2")
        run_grid(task, workers=1, track=lambda *_: meanwhile.add(("RANK" in os.environ, torch.get_num_threads())))
        assert (os.environ["RANK"], torch.get_num_threads()) == (rank, threads)
        shares.append(cells(tmp_path) - before)
    assert meanwhile == {(False, 1)}  # a training must not wait for that of the other process
    assert len(shares[0]) == len(shares[1]) == 4
    assert not write_page(tmp_path, keys_of(task.methods, task.cases()))[1]


@pytest.mark.slow
def test_two_processes_give_the_bits_of_one(root, tmp_path):
    for workers in (1, 2):
        run_grid(plan(root, tmp_path / str(workers), learners=("nearest", "protonet", "ridge")), workers=workers)
    one, two = (write_page(tmp_path / str(workers), [])[0] for workers in (1, 2))
    assert [record.measured() for record in one] == [record.measured() for record in two]
    assert len(one) == 12


def test_a_new_voice_is_scored_with_its_offset_and_without_on_the_same_queries(root, tmp_path):
    task = plan(root, tmp_path, learners=("ridge",), protocols=protocols("new-voice-context-4", "new-voice-session"))
    run_grid(task, workers=1)
    found, missing = write_page(tmp_path, [])
    assert not missing
    assert {record.corpus: record.reason for record in found} == {"one": "", "two": ""}
    for record in found:
        assert record.plain is not None
        assert record.uar.mean - record.plain.mean == pytest.approx(record.gain.mean)
        assert ("as a session" in record.words) == (record.protocol == "new-voice-session")
    assert any(record.uar_per_episode for record in found)
    assert "without the voice" in (tmp_path / PAGE).read_text()


@dataclasses.dataclass
class Frontend:
    dim: int
    layers: int = 1
    pooled: bool = True


def test_features_of_one_frame_a_clip_are_whitened_for_speakers_unless_too_wide(root, monkeypatch):
    given = []
    monkeypatch.setattr(build, "build_model", lambda config, **_: given.append(config) or 1 / 0)
    of_speakers = [protocol for protocol in PROTOCOLS if protocol.spec.label == "speaker"]
    case = next(one for one in plan(root, root, protocols=of_speakers).cases() if isinstance(one, Case))
    for name in ("egemaps-ridge", "compare-ridge"):
        monkeypatch.setattr(build, "frontend_of", lambda method: Frontend(6373 if "compare" in method.name else 88))
        with pytest.raises(ZeroDivisionError):
            build._scaled(method_named(name), case, None)
    assert [one.settings["encoder"].get("whitening", False) for one in given] == [True, False]
