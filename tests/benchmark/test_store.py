"""The files of a run: records come back as they were, and damaged, foreign or old files are refused or read."""

from __future__ import annotations

import dataclasses
import json
import re

import pytest

from ser_fewshot.benchmark import store
from ser_fewshot.benchmark.store import read_record, read_results, write_results
from ser_fewshot.episodes import EpisodeSpec
from ser_fewshot.errors import SettingsError

from .records import record

CELL = record()
CELLS = (CELL, record("ridge"), record("default-model", kind="model", heard=True))


def test_records_come_back_as_they_were_and_in_order(tmp_path):
    write_results(tmp_path / "results.jsonl", CELLS)
    as_read = tuple(read_record(one.as_json(), origin="here") for one in CELLS)
    assert [one.measured() for one in as_read] == [read_record(one.as_json(), origin="").measured() for one in as_read]
    found = read_results(tmp_path)
    assert found == tuple(sorted(as_read, key=lambda one: one.key)) == read_results(tmp_path / "results.jsonl")
    before = (tmp_path / "results.jsonl").read_bytes()
    write_results(tmp_path / "results.jsonl", reversed(found))
    assert (tmp_path / "results.jsonl").read_bytes() == before


def test_a_record_of_version_0_1_is_read_with_intervals_of_students_t_and_a_future_one_is_refused():
    trained = {"validation_episodes": 3, "kept_epoch": {"epoch": 1, "validation_ci95": 0.1}}
    today = dataclasses.replace(record(scores=(0.8, 0.9, 0.7)), training=trained)
    read = read_record(json.dumps({**json.loads(today.as_json()), "format": 1}), origin="here")
    for score in (read.uar, read.accuracy):
        assert score.ci95 == pytest.approx(today.uar.ci95 * 4.302653 / 1.96, rel=1e-6)
    assert read.training["kept_epoch"]["validation_ci95"] == pytest.approx(0.1 * 4.302653 / 1.96, rel=1e-6)
    assert dataclasses.replace(read, uar=today.uar, accuracy=today.accuracy, training=trained) == today
    with pytest.raises(SettingsError, match="format 1 to 2"):
        read_record(json.dumps({**json.loads(CELL.as_json()), "format": 3}), origin="here")


FAULTS = (
    ({"uar": None}, "no score"),
    ({"status": "failed"}, "a score of a cell that is failed"),
    ({"spec": {"label": "emotion"}}, "a spec without k_shot"),
    ({"spec": {**dataclasses.asdict(EpisodeSpec()), "k_shot": "many"}}, "k_shot"),
    ({"uar_per_episode": [0.5]}, "1 scores for 40 episodes"),
    ({"episodes": 0, "uar_per_episode": []}, "0 scores for 0 episodes"),
    ({"chance": 7.0}, "not in"),
    ({"recall": {"anger": "high"}}, "not in"),
    ({"labels": ["a", "b"], "confusion": [[1, 2], [3]]}, "not 2 by 2"),
    ({"labels": ["a", "a"], "confusion": [[1, 2], [3, 4]]}, "not 1 by 1"),
    ({"labels": ["a"], "confusion": [[-1]]}, "negative"),
    ({"tallies": {"gender": {"female": [1]}}}, "tallies"),
    ({"tallies": {"gender": [1, 2]}}, "tallies"),
    ({"tallies": {"gender": {"female": [3, 2]}}}, "tallies"),
    ({"diverged": {"1": 2}}, "no text"),
    ({"key": "a/b/c"}, "of another cell"),
)


def test_a_line_that_is_no_record_or_contradicts_itself_is_refused_by_its_file_and_line(tmp_path):
    for text in ("", "{", "[]", '{"key": 1}', '{"keys": "a"}', "null"):
        with pytest.raises(SettingsError, match="a record as the benchmark writes it"):
            read_record(text, origin="here")
    for changes, found in FAULTS:
        bad = json.dumps({**json.loads(CELL.as_json()), **changes})
        (tmp_path / "results.jsonl").write_text(f"{CELLS[1].as_json()}\n{bad}\n", encoding="utf-8")
        with pytest.raises(SettingsError) as refused:
            read_results(tmp_path)
        assert re.search(f"results.jsonl, line 2: .*{found}", str(refused.value)), changes


@pytest.mark.parametrize("content", [b"\xff\x00", CELL.as_json().encode()[:50]])
def test_a_damaged_cell_is_named(tmp_path, content):
    store.write_cell(tmp_path, CELL)
    path = store.path_of(tmp_path, CELL.key)
    path.write_bytes(content)
    with pytest.raises(SettingsError, match=path.name):
        store.read_cells(tmp_path)


def test_a_cell_of_a_long_name_has_a_short_file_of_its_own(tmp_path):
    for name in ("x" * 240, "\N{HANGUL SYLLABLE GAG}" * 120):
        for end in "12":
            one = dataclasses.replace(CELL, corpus=name + end, key=f"{CELL.protocol}/{name}{end}/protonet")
            store.write_cell(tmp_path, one)
            assert store.is_finished(tmp_path, one.key)
    assert len(store.read_cells(tmp_path)) == store.n_cells(tmp_path) == 4
    assert store.slug("maml:inner_rate=-1") != store.slug("maml:inner_rate=1")
    assert "/" not in store.slug("a/b:c=d")


def test_a_folder_of_another_program_is_refused(tmp_path):
    for content in ("", "[]", '{"name": "other"}'):
        (tmp_path / store.RUN).write_text(content)
        with pytest.raises(SettingsError, match=r"run\.json: found something else.*Give another folder"):
            store.check_run(tmp_path, {"version": "1"})
