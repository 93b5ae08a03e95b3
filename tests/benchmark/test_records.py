"""Records on disk and in tables: the same after reading, in an order of their own, and with their marks."""

from __future__ import annotations

import dataclasses
import json
import time

import pytest
from ser_fewshot.benchmark.clock import SESSIONS, Session
from ser_fewshot.benchmark.read import read_record, read_results
from ser_fewshot.benchmark.records import write_results
from ser_fewshot.benchmark.summary import PAGE, assemble
from ser_fewshot.benchmark.tables import as_markdown, tables_of

from ser_fewshot.benchmark import store
from ser_fewshot.episodes import EpisodeSpec
from ser_fewshot.errors import SettingsError

from .rooms import record

GOOD, BAD = (0.8, 0.9, 0.7) * 20, (0.3, 0.4, 0.2) * 20
COLUMN = (
    record(method="protonet", scores=GOOD),
    record(method="ridge", scores=(0.9, 0.8, 0.69) * 20),
    record(method="nearest", scores=BAD),
    record(method="linear-probe", kind="ceiling", scores=(0.9,) * 60),
    record(method="default-model", kind="model", heard=True, scores=(0.95,) * 60, notes=("it heard this",)),
)


def test_records_come_back_as_they_were_and_in_order(tmp_path):
    write_results(tmp_path / "results.jsonl", COLUMN)
    found = read_results(tmp_path)
    assert found == tuple(sorted(COLUMN, key=lambda one: one.key)) == read_results(tmp_path / "results.jsonl")
    before = (tmp_path / "results.jsonl").read_bytes()
    write_results(tmp_path / "results.jsonl", reversed(COLUMN))
    assert (tmp_path / "results.jsonl").read_bytes() == before


@pytest.mark.parametrize("text", ["", "{", "[]", '{"key": 1}', '{"keys": "a"}', "null"])
def test_what_is_no_record_is_refused(text):
    with pytest.raises(SettingsError, match="a record as the benchmark writes it"):
        read_record(text, origin="here")


def test_a_record_of_another_format_is_refused():
    values = {**json.loads(COLUMN[0].as_json()), "format": 3}
    with pytest.raises(SettingsError, match="format 1 to 2"):
        read_record(json.dumps(values), origin="here")


def test_a_record_of_version_0_1_is_read_with_the_intervals_of_today():
    today = record(scores=(0.8, 0.9, 0.7))
    read = read_record(json.dumps({**json.loads(today.as_json()), "format": 1}), origin="here")
    for score in (read.uar, read.accuracy):
        assert score.ci95 == pytest.approx(today.uar.ci95 * 4.302653 / 1.96, rel=1e-6)
    assert dataclasses.replace(read, uar=today.uar, accuracy=today.accuracy) == today


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"uar": None}, "no score"),
        ({"status": "failed"}, "a score of a cell that is failed"),
        ({"spec": {"label": "emotion"}}, "a spec without k_shot"),
        ({"spec": {**dataclasses.asdict(EpisodeSpec()), "k_shot": "many"}}, "k_shot"),
        ({"uar_per_episode": [0.5]}, "1 scores for 60 episodes"),
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
    ],
)
def test_a_record_whose_parts_do_not_fit_is_refused_by_its_file_and_line(tmp_path, changes, found):
    bad = json.dumps({**json.loads(COLUMN[0].as_json()), **changes})
    (tmp_path / "results.jsonl").write_text(f"{COLUMN[1].as_json()}\n{bad}\n", encoding="utf-8")
    with pytest.raises(SettingsError, match=f"results.jsonl, line 2: .*{found}"):
        read_results(tmp_path)


def test_a_cell_that_is_no_text_is_named(tmp_path):
    store.write_cell(tmp_path, COLUMN[0])
    path = store.path_of(tmp_path, COLUMN[0].key)
    path.write_bytes(b"\xff\x00")
    with pytest.raises(SettingsError, match=path.name):
        store.read_cells(tmp_path)


def test_what_must_repeat_leaves_out_where_and_when():
    one = COLUMN[0]
    other = dataclasses.replace(one, origin=dataclasses.replace(one.origin, finished="later", minutes_to_train=9.0))
    assert one.measured() == other.measured()
    assert one.measured() != dataclasses.replace(one, chance=0.5).measured()


def test_a_table_marks_the_best_what_is_like_it_and_what_heard_the_corpus():
    page = as_markdown(tables_of(COLUMN)[0])
    rows = {
        line.split("|")[1].strip(): line.split("|")[2].strip() for line in page.splitlines() if line.startswith("|")
    }
    assert rows["protonet"] == "**80.0 ± 1.0**"
    assert rows["ridge"] == "79.7 ± 1.0 †"
    assert rows["nearest"] == "30.0 ± 1.0"
    assert rows["linear-probe"] == "90.0 ± 1.0"
    assert rows["default-model"] == "95.0 ± 1.0 ‡"
    assert rows["chance"] == "25.0"
    assert list(rows)[2:] == ["nearest", "protonet", "ridge", "default-model", "linear-probe", "chance"]
    assert "- it heard this: default-model on one" in page
    assert "`eeeeeeeeeeee`" in page


def test_the_page_says_what_was_left_out_failed_and_is_missing(tmp_path):
    out = dataclasses.replace(record(method=""), status="left out", reason="too few speakers", uar=None)
    broken = dataclasses.replace(record(method="maml"), status="failed", reason="it ran away", uar=None)
    for one in (*COLUMN, out, broken):
        store.write_cell(tmp_path, one)
    _, missing = assemble(tmp_path, [COLUMN[0].key, "cross-corpus-5-shot/one/siamese"])
    assert missing == ["cross-corpus-5-shot/one/siamese"]
    page = (tmp_path / PAGE).read_text()
    assert "- cross-corpus-5-shot, one: too few speakers" in page
    assert "`cross-corpus-5-shot/one/maml`: it ran away" in page
    assert "- `cross-corpus-5-shot/one/siamese`" in page
    assert "5 cells: 5 minutes of one core to train and calibrate, 2 to score" in page


def test_a_name_with_lines_tags_and_bars_stays_in_its_cell(tmp_path):
    name = "a\nb <i>|\u2028c"
    store.write_cell(tmp_path, dataclasses.replace(COLUMN[0], corpus=name, key=f"{COLUMN[0].protocol}/{name}/protonet"))
    out = dataclasses.replace(record(method=""), status="left out", reason=f"{name} is odd", uar=None, notes=())
    store.write_cell(tmp_path, out)
    assemble(tmp_path, [])
    page = (tmp_path / PAGE).read_text()
    assert r"| method | a b &lt;i>\| c |" in page
    assert "a b &lt;i>| c is odd" in page


@pytest.mark.parametrize("name", ["x" * 240, "\N{HANGUL SYLLABLE GAG}" * 120])
def test_a_cell_of_a_long_name_has_a_short_file_of_its_own(tmp_path, name):
    some = [
        dataclasses.replace(COLUMN[0], corpus=one, key=f"{COLUMN[0].protocol}/{one}/protonet")
        for one in (f"{name}1", f"{name}2")
    ]
    for one in some:
        store.write_cell(tmp_path, one)
        assert store.read_cell(tmp_path, one.key) == one
    assert len(store.read_cells(tmp_path)) == 2


@pytest.mark.parametrize("content", ["", "[]", '{"name": "other"}'])
def test_a_folder_with_the_run_of_another_program_is_refused(tmp_path, content):
    (tmp_path / store.RUN).write_text(content)
    with pytest.raises(SettingsError, match=r"run\.json: found something else.*Give another folder"):
        store.check_run(tmp_path, {"version": "1"})


def test_the_page_adds_up_the_clock_of_all_starts(tmp_path):
    store.write_cell(tmp_path, COLUMN[0])
    for minutes, place in ((3, 0), (4, 0), (5, 1)):
        session = Session(workers=2, place=place, since=time.monotonic() - 60 * minutes)
        session.keep(tmp_path)  # what a killed start leaves is its last note
        session.keep(tmp_path)
    assemble(tmp_path, [])
    # Places work side by side, the starts of a place one after the other.
    assert "By the clock: 7 minutes of 4 processes, in 3 starts" in (tmp_path / PAGE).read_text()


@pytest.mark.parametrize("damaged", ["", '["x"', '["x"]', '{"place": 0}', '{"place": 0, "minutes": "x", "workers": 1}'])
def test_a_damaged_note_of_the_clock_stops_nothing(tmp_path, damaged):
    store.write_cell(tmp_path, COLUMN[0])
    Session(workers=1, place=0).keep(tmp_path)
    (tmp_path / SESSIONS / "x.json").write_text(damaged)
    assemble(tmp_path, [])
    assert "of one process, in one start" in (tmp_path / PAGE).read_text()


def test_a_damaged_cell_is_named(tmp_path):
    store.write_cell(tmp_path, COLUMN[0])
    path = store.path_of(tmp_path, COLUMN[0].key)
    path.write_text(path.read_text()[:50])
    with pytest.raises(SettingsError, match=path.name):
        assemble(tmp_path, [])
