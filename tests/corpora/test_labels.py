"""What a list says of its clips is taken, or its rows are lost with a reason: nothing is invented, nothing vanishes."""

from __future__ import annotations

import json

import pytest

from ser_fewshot.corpora import Scan, Skipped, Utterance, read_manifest, scan, write_manifest
from ser_fewshot.errors import CorpusError

from .trees import plant


def test_an_emobox_list_and_its_map_need_not_agree_in_letter_case(tmp_path, subtests):
    plant(tmp_path, ["own/a.wav", "own/b.wav"])
    for labels, emo, expected in (
        ({"Neutral": "Neutral"}, "neutral", "neutral"),
        ({"A": "Angry", "a": "Sad"}, "a", "sadness"),
        ({"N": "Calm"}, "neu", "neutral"),
        ({"Angry": "0"}, "Angry", "anger"),
        ({"A": "Angry"}, "Z", "label: 'Z' is not in the label map"),
        ({"S": "Sad", "s": "Surprise"}, " S", "label: ' S' is not in the label map"),
        ({"A": "0"}, "A", "label: 'A' is not in the label map as a name"),
        ({}, "3.5", "label: the emotion '3.5' is a number; give the names of the emotions instead"),
    ):
        rows = [{"wav": "own/a.wav", "emo": emo}, {"wav": "own/b.wav", "emo": "sad"}]
        (tmp_path / "own.jsonl").write_text("\n".join(json.dumps({"dataset": "own", **row}) for row in rows))
        (tmp_path / "label_map.json").write_text(json.dumps(labels))
        with subtests.test(f"{emo} in {labels}"):
            found = scan("emobox", tmp_path)
            emotions = [clip.emotion for clip in found.utterances if clip.id == "own/a"]
            assert emotions + [item.reason for item in found.skipped] == [expected]


def test_emobox_audio_in_a_foreign_format_is_not_called_missing(tmp_path):
    plant(tmp_path, ["own/b.wav"])
    (tmp_path / "own/a.m4a").write_bytes(b"x")
    (tmp_path / "own.jsonl").write_text('{"wav": "own/a.m4a", "emo": "sad"}\n{"wav": "own/b.wav", "emo": "sad"}')
    assert scan("emobox", tmp_path).skipped_kinds() == {"format": 1}


def test_words_for_nothing_name_neither_an_emotion_nor_a_speaker(tmp_path):
    rows = [f"{n}.wav,{word},{word}" for n, word in enumerate(("", "-", "NaN", "n/a", "None", "NULL", "<NA>"))]
    (tmp_path / "t.csv").write_text("\n".join(["file,emotion,speaker", *rows]))
    clips = scan("table", tmp_path / "t.csv", check_audio=False).utterances
    assert [(clip.emotion, clip.speaker) for clip in clips] == [(None, None)] * len(rows)
    write_manifest(tmp_path / "m.csv", clips)
    assert read_manifest(tmp_path / "m.csv").utterances == clips


def test_numbers_are_no_emotions_in_tables_and_doubtful_in_manifests(tmp_path):
    plant(tmp_path, ["a.wav", "b.wav"])
    (tmp_path / "t.csv").write_text("file,emotion,speaker\na.wav,3.5,m\nb.wav,1,m\n")
    found = scan("table", tmp_path / "t.csv")
    assert found.utterances == ()
    assert found.skipped[0].reason == (
        "label: the emotion '3.5' is a number; give the names of the emotions instead; line 2"
    )
    write_manifest(tmp_path / "m.csv", [Utterance("c/a", tmp_path / "a.wav", "c", emotion="1")])
    old = read_manifest(tmp_path / "m.csv")
    assert old.counts() == {"1": 1}
    assert old.warnings == ("1 clips have a number as their emotion (1): give the names of the emotions",)


def test_a_clip_counts_once_and_not_at_all_where_its_labels_contradict_each_other(tmp_path):
    for rows, kept, kinds in (
        (["a.wav,anger,m,0", "a.wav,anger,m,1"], 2, {}),
        (["a.wav,Anger,m,", "a.wav, anger ,m,", "a.wav,angry,m,"], 1, {"second copy": 2}),
        (["a.wav,anger,m,", "a.wav,sad,m,"], 0, {"conflict": 2}),
        (["a.wav,anger,m,", "a.wav,anger,f,"], 0, {"conflict": 2}),
        (["a.wav,,m,", "a.wav,anger,,"], 1, {"second copy": 1}),
    ):
        (tmp_path / "t.csv").write_text("\n".join(["file,emotion,speaker,start", *rows]))
        found = read_manifest(tmp_path / "t.csv")
        assert (len(found.utterances), found.skipped_kinds()) == (kept, kinds)
        assert {clip.emotion for clip in found.utterances} <= {"anger"}


def test_one_recording_under_several_ids_is_named(tmp_path):
    torn = scan("folder", plant(tmp_path / "torn", ["sad/a.wav", "happy/b.wav"]))
    assert len(torn.utterances) == 2
    assert torn.warnings == (
        "1 recordings stand under several labels, the first labelled happiness and sadness in "
        f"{tmp_path}/torn/happy/b.wav and {tmp_path}/torn/sad/a.wav: remove those that are wrong",
    )
    (same,) = scan("folder", plant(tmp_path / "same", ["sad/a.wav", "sad/b.wav"])).warnings
    assert same.startswith("1 recordings are there more than once")
    (tmp_path / "t.csv").write_text("id,file,emotion,speaker\n1,a.wav,sad,m\n2,a.wav,happy,m\n3,b.wav,sad,m\n")
    (named,) = read_manifest(tmp_path / "t.csv").warnings
    assert f"happiness and sadness in {tmp_path}/a.wav:" in named


def test_more_than_one_lost_clip_of_twenty_is_warned_of(tmp_path):
    clips = tuple(Utterance(str(number), tmp_path / f"{number}.wav", "c") for number in range(95))
    for kinds, warnings in (
        (["label"] * 5, ()),
        (["label"] * 4 + ["format"] * 2, ("6 of 101 clips (6%) are lost: label 4, format 2",)),
        (["song", "second copy", "hidden file", "film only"] * 20, ()),
    ):
        skipped = tuple(Skipped(tmp_path, f"{kind}: x") for kind in kinds)
        assert Scan("c", clips, skipped).warnings == warnings


def database(root, scheme, values, *, stored: tuple[str, str] | None = None, storage: str = "csv"):
    """A database of three clips with a column emotion; one stored label may be replaced by another."""
    audformat = pytest.importorskip("audformat")
    files = plant(root, ["a.wav", "b.wav", "c.wav"])
    db = audformat.Database("mini")
    db.schemes["emotion"] = audformat.Scheme(**scheme)
    db["t"] = audformat.Table(audformat.filewise_index(["a.wav", "b.wav", "c.wav"]))
    db["t"]["emotion"] = audformat.Column(scheme_id="emotion")
    db["t"]["emotion"].set(values)
    db.save(str(files), storage_format=storage)
    if stored:
        table = root / "db.t.csv"
        table.write_text(table.read_text().replace(*stored))
    return root


def test_an_audformat_scheme_says_what_its_labels_are(tmp_path, subtests):
    for number, (scheme, values, emotions, kinds) in enumerate(
        [
            ({"labels": {"A": "anger", "H": "joy"}}, ["A", "H", None], ["anger", "happiness", None], {}),
            ({"dtype": "int", "labels": {0: "anger", 1: "sad"}}, [0, 1, 0], ["anger", "sadness", "anger"], {}),
            ({"labels": {"A": {"category": "anger"}}}, ["A", "A", "A"], ["anger"] * 3, {}),
            ({"labels": {"anger": {"name": "Wut!"}}}, ["anger"] * 3, ["anger"] * 3, {}),
            ({"dtype": "int", "labels": [0, 1]}, [0, 1, 0], [], {"label": 3}),
            ({"dtype": "str"}, ["NA", "-", "sad"], [None, None, "sadness"], {}),
        ]
    ):
        with subtests.test(f"{scheme}"):
            found = scan("audformat_db", database(tmp_path / f"{number}", scheme, values))
            assert [clip.emotion for clip in found.utterances] == emotions
            assert found.skipped_kinds() == kinds


def test_an_audformat_label_that_its_scheme_does_not_list_is_not_lost_in_silence(tmp_path):
    scheme = {"labels": ["anger", "sadness"]}
    root = database(tmp_path, scheme, ["anger", "sadness", "anger"], stored=(",sadness", ",awe"))
    found = scan("audformat_db", root)
    assert [item.reason for item in found.skipped] == ["label: 'awe' is not a label of its scheme"]
    assert found.counts() == {"anger": 2}


def test_audformat_values_are_no_classes(tmp_path):
    for dtype in ("float", "int", "bool"):
        with pytest.raises(CorpusError, match=f"values of type {dtype} as emotions"):
            scan("audformat_db", database(tmp_path / dtype, {"dtype": dtype}, [1, 0, 1]))
