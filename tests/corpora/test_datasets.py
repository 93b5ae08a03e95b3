"""Clips to and from other libraries: what is written as audformat or as a data set is read back as it was."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from ser_fewshot import plugins
from ser_fewshot.audio import load
from ser_fewshot.corpora import (
    Utterance,
    from_dataset,
    read_manifest,
    scan,
    to_dataset,
    write_audformat,
    write_manifest,
)
from ser_fewshot.errors import CorpusError
from ser_fewshot.quickstart import DEMO_MANIFEST

datasets = pytest.importorskip("datasets")
audformat = pytest.importorskip("audformat")


@pytest.fixture(scope="module", autouse=True)
def _quiet():
    datasets.disable_progress_bars()


@pytest.fixture
def clips() -> tuple[Utterance, ...]:
    """Clips with everything that can be told of one, and with nothing; parts of files; several splits and corpora."""
    whole = read_manifest(DEMO_MANIFEST).utterances[::9]
    splits = ["train", "valid", "test", None, "fold 1", "train"]
    told = [replace(clip, split=split) for clip, split in zip(whole, splits, strict=False)]
    told[0] = replace(told[0], speaker="03", text="a, “b”\nc", gender="female", language="deu")
    part = replace(
        whole[3], id="x y/ü#1", corpus="another", start=0.1, end=0.9, emotion=None, speaker=None, gender=None
    )
    return (*told[:3], part, replace(part, id="x2", start=0.9, end=None, emotion="my own", text=None), *told[4:])


def by_id(utterances: Sequence[Utterance]) -> list[Utterance]:
    return sorted(utterances, key=lambda clip: clip.id)


def same_but_for_place(clip: Utterance) -> Utterance:
    return replace(clip, path=Path(), start=None, end=None)


def test_an_audformat_database_is_read_back_as_it_was_written(tmp_path, clips):
    write_audformat(tmp_path / "db", clips)
    found = scan("audformat_db", tmp_path / "db")
    assert found.skipped == ()
    assert by_id(found.utterances) == by_id(clips)
    database = audformat.Database.load(str(tmp_path / "db"))
    assert set(database.splits) == {"train", "valid", "test", "fold 1"}
    assert database.splits["valid"].type == "dev"
    assert set(database.schemes["emotion"].labels) == {clip.emotion for clip in clips} - {None}


def test_a_database_with_its_clips_can_be_moved(tmp_path, clips):
    write_audformat(tmp_path / "db", clips, copy=True)
    (tmp_path / "db").rename(tmp_path / "moved")
    found = by_id(scan("audformat_db", tmp_path / "moved").utterances)
    assert [same_but_for_place(clip) for clip in found] == [same_but_for_place(clip) for clip in by_id(clips)]
    assert audformat.Database.load(str(tmp_path / "moved")).is_portable
    for clip, old in zip(found, by_id(clips), strict=True):
        assert clip.path.is_relative_to(tmp_path / "moved")
        assert clip.path.read_bytes() == old.path.read_bytes()


def test_a_database_says_what_the_corpora_allow(tmp_path, clips):
    write_audformat(tmp_path / "db", [replace(clip, corpus="ravdess") for clip in clips])
    database = audformat.Database.load(str(tmp_path / "db"))
    assert (database.name, database.usage, database.license) == ("ravdess", "research", "CC-BY-NC-SA-4.0")
    write_audformat(tmp_path / "other", clips)
    assert audformat.Database.load(str(tmp_path / "other")).license == "not stated"


def test_what_a_database_cannot_hold_is_refused(tmp_path, clips):
    write_audformat(tmp_path / "db", clips)
    torn = [clips[3], replace(clips[4], split="test")]
    for utterances, place, complaint in [
        (clips, "db", "a database already"),
        ([replace(clip, emotion=None) for clip in clips], "new", "no clip with an emotion"),
        (torn, "new", "in several splits"),
        ([clips[0], replace(clips[0], id="again")], "new", "uplicate"),
    ]:
        with pytest.raises(CorpusError, match=complaint):
            write_audformat(tmp_path / place, utterances)
    assert not (tmp_path / "new").exists()


def test_a_data_set_is_read_back_as_it_was_written(tmp_path, clips):
    made = to_dataset(clips)
    assert isinstance(made.features["emotion"], datasets.ClassLabel)
    made.save_to_disk(str(tmp_path / "set"))
    found = scan("hf_dataset", tmp_path / "set", audio_root=tmp_path / "clips")
    assert found.skipped == ()
    assert [same_but_for_place(clip) for clip in found.utterances] == [same_but_for_place(clip) for clip in clips]
    for clip, old in zip(found.utterances, clips, strict=True):
        if old.start is None and old.end is None:
            assert clip.path.read_bytes() == old.path.read_bytes()
        heard = load(clip.path, trim=False).waveform
        np.testing.assert_array_equal(heard, load(old.path, start=old.start, end=old.end, trim=False).waveform)


def test_a_data_set_in_memory_needs_no_disk_but_for_clips_inside_it(tmp_path, clips):
    found = from_dataset(to_dataset(clips), tmp_path / "clips")
    assert [same_but_for_place(clip) for clip in found.utterances] == [same_but_for_place(clip) for clip in clips]
    whole = [clip for clip in clips if clip.start is None and clip.end is None]
    assert [clip.path for clip in found.utterances if clip.id in {old.id for old in whole}] == [
        old.path for old in whole
    ]


def foreign(path: Path) -> datasets.DatasetDict:
    """A data set as others publish them: other columns, classes by number, splits, a class missing, a clip missing."""
    buffer = io.BytesIO()
    sf.write(buffer, 0.3 * np.sin(np.arange(16_000) / 20), 16_000, format="FLAC")
    sound = {"bytes": buffer.getvalue(), "path": "../../escape.flac"}
    kinds = {
        "file": {"bytes": datasets.Value("binary"), "path": datasets.Value("string")},
        "label": datasets.ClassLabel(names=["Angry", "sad"]),
        "speaker_id": datasets.Value("int64"),
        "id": datasets.Value("int64"),
    }
    rows = {"file": [sound, sound, None], "label": [0, -1, 1], "speaker_id": [1, None, 2], "id": [7, 7, 7]}
    part = datasets.Dataset.from_dict(rows, features=datasets.Features(kinds)).cast_column("file", datasets.Audio())
    return datasets.DatasetDict(train=part, validation=part)


@pytest.mark.parametrize("form", ["save_to_disk", "parquet"])
def test_the_data_set_of_a_stranger_is_read_by_the_usual_names_of_its_columns(tmp_path, form):
    root = tmp_path / "theirs"
    if form == "save_to_disk":
        foreign(tmp_path).save_to_disk(str(root))
    else:
        for name, part in foreign(tmp_path).items():
            (root / "data").mkdir(parents=True, exist_ok=True)
            part.to_parquet(str(root / "data" / f"{name}-00000-of-00001.parquet"))
    found = scan("hf_dataset", root, audio_root=tmp_path / "clips")
    assert [(clip.id, clip.emotion, clip.speaker, clip.split) for clip in found.utterances] == [
        ("theirs/train/0", "anger", "1", "train"),
        ("theirs/train/1", None, None, "train"),
        ("theirs/valid/0", "anger", "1", "valid"),
        ("theirs/valid/1", None, None, "valid"),
    ]
    assert [item.reason for item in found.skipped] == ["row: 2 has no clip"] * 2
    assert {path.relative_to(tmp_path / "clips").as_posix() for path in (tmp_path / "clips").rglob("*.flac")} == {
        f"{split}/00000{number}.flac" for split in ("train", "valid") for number in (0, 1)
    }


def test_a_column_of_numbers_or_lists_makes_no_classes(tmp_path):
    text = datasets.Value("string")
    stored = {"bytes": datasets.Value("binary"), "path": text}
    for kind, values, emotions, reasons in (
        (text, ["Angry", "None"], ["anger", None], []),
        (datasets.Value("float32"), [3.5, None], [None], ["label: the emotion '3.5' is a number"]),
        (
            datasets.List(text),
            [["sad", "happy"], None],
            [None],
            ["label: ['sad', 'happy'], where the name of one emotion is expected"],
        ),
    ):
        table = {"audio": [{"bytes": b"RIFF", "path": "a.wav"}] * 2, "label": values}
        rows = datasets.Dataset.from_dict(table, datasets.Features({"audio": stored, "label": kind}))
        parts = {"": rows.cast_column("audio", datasets.Audio())}
        found = [*plugins.load("corpora", "hf_dataset").of_parts(parts, corpus="c", root=tmp_path, folder=tmp_path)]
        assert [clip.emotion for clip in found if isinstance(clip, Utterance)] == emotions
        assert [item.reason.partition(";")[0] for item in found if not isinstance(item, Utterance)] == reasons


def test_clips_inside_tables_have_to_be_unpacked_somewhere(tmp_path, clips):
    to_dataset(clips).save_to_disk(str(tmp_path / "set"))
    with pytest.raises(CorpusError, match="--audio-root DIR"):
        scan("hf_dataset", tmp_path / "set")


def test_what_is_no_data_set_of_clips_is_refused(tmp_path):
    with pytest.raises(CorpusError, match=r"neither state\.json"):
        scan("hf_dataset", tmp_path)
    datasets.Dataset.from_dict({"text": ["a"], "label": [1]}).save_to_disk(str(tmp_path / "texts"))
    with pytest.raises(CorpusError, match="the columns text, label"):
        scan("hf_dataset", tmp_path / "texts")
    (tmp_path / "texts" / "state.json").write_text("{}")
    with pytest.raises(CorpusError):
        scan("hf_dataset", tmp_path / "texts")
    with pytest.raises(CorpusError, match="no clips"):
        to_dataset([])


@pytest.mark.parametrize("library", ["datasets", "audformat"])
def test_without_the_library_the_error_names_the_extra(tmp_path, clips, monkeypatch, library):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(CorpusError) as caught:
        to_dataset(clips) if library == "datasets" else write_audformat(tmp_path / "db", clips)
    assert f"ser-fewshot[{library}]" in caught.value.remedy


@pytest.mark.parametrize(("to", "name"), [("audformat", "audformat_db"), ("datasets", "hf_dataset")])
def test_convert_writes_what_scan_reads(tmp_path, clips, run, to, name):
    write_manifest(tmp_path / "clips.csv", clips)
    code, printed, _ = run("convert", tmp_path / "clips.csv", "--to", to, "--out", tmp_path / "out", "--json")
    assert (code, json.loads(printed)) == (0, {"clips": len(clips), "format": name, "out": str(tmp_path / "out")})
    place = ("--audio-root", tmp_path / "sound") if to == "datasets" else ()
    code, _, complaint = run("scan", name, tmp_path / "out", *place, "--out", tmp_path / "back.csv")
    assert (code, complaint) == (0, "")
    back = by_id(read_manifest(tmp_path / "back.csv").utterances)
    assert [same_but_for_place(clip) for clip in back] == [same_but_for_place(clip) for clip in by_id(clips)]
    code, printed, complaint = run("convert", tmp_path / "clips.csv", "--to", to, "--out", tmp_path / "out")
    assert (code, printed) == (2, "")
    assert "already" in complaint
    assert {path.name for path in tmp_path.iterdir()} <= {"clips.csv", "out", "back.csv", "sound"}


def test_an_option_of_the_other_format_is_refused(tmp_path, clips, run):
    write_manifest(tmp_path / "clips.csv", clips)
    code, _, complaint = run("convert", tmp_path / "clips.csv", "--to", "datasets", "--copy", "--out", tmp_path / "out")
    assert code == 2
    assert "clips go along" in complaint
    assert not (tmp_path / "out").exists()
