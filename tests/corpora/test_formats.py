"""The formats for any data: a folder per emotion, EmoBox lists, audformat databases."""

from __future__ import annotations

import importlib
import json
import pickle
from collections import Counter
from pathlib import Path

import pytest

from ser_fewshot.corpora import scan
from ser_fewshot.errors import CorpusError

from .trees import plant


def test_a_folder_per_emotion_is_read_with_and_without_speakers(tmp_path):
    root = plant(tmp_path / "mine", ["Angry/a.wav", "Angry/A.wav", "Angry/maria/b.flac", "my new emotion/josé/c.ogg"])
    clips = scan("folder", root).utterances
    assert [(clip.id, clip.emotion, clip.speaker, clip.corpus) for clip in clips] == [
        ("mine/Angry/A.wav", "anger", None, "mine"),
        ("mine/Angry/a.wav", "anger", None, "mine"),
        ("mine/Angry/maria/b.flac", "anger", "maria", "mine"),
        ("mine/my new emotion/josé/c.ogg", "my new emotion", "josé", "mine"),
    ]


def test_folders_named_after_splits_may_stand_above(tmp_path):
    plant(tmp_path, ["train/sad/a.wav", "train/sad/a.flac", "Validation/sad/m/b.wav", "test/happy/c.wav"])
    clips = scan("folder", tmp_path).utterances
    assert Counter((clip.split, clip.emotion, clip.speaker) for clip in clips) == {
        ("train", "sadness", None): 2,  # two extensions of one name are two clips
        ("valid", "sadness", "m"): 1,
        ("test", "happiness", None): 1,
    }


def test_loose_and_deep_clips_are_skipped(tmp_path):
    plant(tmp_path, ["sad/a.wav", "loose.wav", "sad/m/take 2/deep.wav"])
    (tmp_path / "sad/phone.m4a").write_bytes(b"x")
    found = scan("folder", tmp_path)
    assert len(found.utterances) == 1
    assert {item.path.name: item.kind for item in found.skipped} == {
        "loose.wav": "place",
        "deep.wav": "place",
        "phone.m4a": "format",
    }


def test_a_folder_of_another_layout_is_refused(tmp_path, subtests):
    for number, (names, remedy) in enumerate(
        [
            ([], "Give a folder with a folder for each emotion"),
            (["a.wav", "b.wav"], "Make a folder for each emotion"),
            (["wav/03a01Fa.wav"], "Give the folder that holds"),
            (["mydata/angry/a.wav", "mydata/happy/b.wav"], "Give the folder that holds"),
            (["maria/angry/a.wav", "josé/happy/b.wav"], "Put the folders of the speakers into those of the emotions"),
        ]
    ):
        (tmp_path / f"{number}").mkdir()
        with subtests.test(f"{names}"), pytest.raises(CorpusError, match=remedy):
            scan("folder", plant(tmp_path / f"{number}", names))


def emobox(root: Path, *, lists: dict[str, list[dict]], labels: dict[str, str] | None) -> Path:
    for name, rows in lists.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    if labels is not None:
        (root / "label_map.json").write_text(json.dumps(labels))
    return root


def row(wav: str, emo: str = "A", **more) -> dict:
    return {"key": f"own-{Path(wav).stem}", "dataset": "own", "wav": f"downloads/own/{wav}", "emo": emo, **more}


def test_emobox_is_read_from_a_checkout(tmp_path):
    plant(tmp_path / "downloads/own", ["x/a.wav", "x/b.flac"])
    rows = [row("x/a.wav", start_time=0.5, end_time=1), row("x/b.wav")]
    emobox(tmp_path / "data/own", lists={"own.jsonl": rows}, labels={"A": "Angry"})
    first, second = scan("emobox", tmp_path / "data/own").utterances
    assert (first.id, first.emotion, first.speaker, first.start, first.end) == ("own/a", "anger", None, 0.5, 1)
    assert second.path == tmp_path / "downloads/own/x/b.flac"


def test_emobox_folds_have_splits_and_one_list_for_each(tmp_path):
    plant(tmp_path, ["own/a.wav", "own/b.wav"])
    lists = {
        "fold_1/own_train_fold_1.jsonl": [row("a.wav")],
        "fold_1/own_train_fold1.jsonl": [row("a.wav")],
        "fold_1/own_test_fold1.jsonl": [row("b.wav")],
        "fold_2/own_train_fold_2.jsonl": [row("b.wav")],
    }
    root = emobox(tmp_path / "lists", lists=lists, labels=None)
    clips = scan("emobox", root, audio_root=tmp_path, fold=1).utterances
    assert {(clip.id, clip.split, clip.emotion) for clip in clips} == {
        ("own/a", "train", "a"),
        ("own/b", "test", "a"),
    }
    (single,) = scan("emobox", root / "fold_1/own_test_fold1.jsonl", audio_root=tmp_path).utterances
    assert single.split == "test"
    for fold in (None, 3):
        with pytest.raises(CorpusError, match=r"the folds \[1, 2\]"):
            scan("emobox", root, audio_root=tmp_path, fold=fold)


def test_emobox_takes_what_file_names_say_of_known_corpora(tmp_path):
    plant(tmp_path, ["1002_IEO_DIS_LO.flac"])
    wav = "downloads/cremad/AudioWAV/1002_IEO_DIS_LO.wav"
    known = {"key": "cremad-1002_IEO_DIS_LO", "dataset": "cremad", "wav": wav, "emo": "ANG"}
    root = emobox(tmp_path / "lists", lists={"cremad.jsonl": [known]}, labels={"ANG": "Angry"})
    (clip,) = scan("emobox", root, audio_root=tmp_path).utterances
    assert (clip.id, clip.speaker, clip.gender, clip.text, clip.language) == (
        "crema_d/1002_IEO_DIS_LO", "1002", "female", "IEO", "eng",
    )  # fmt: skip
    assert clip.emotion == "anger"


def test_emobox_rows_that_cannot_be_read_are_skipped(tmp_path):
    plant(tmp_path, ["own/a.wav"])
    bad = [row("none.wav"), row("a.wav", emo="Z"), {"key": "x"}, row("a.wav", start_time="soon"), ["list"]]
    root = emobox(tmp_path / "lists", lists={"own.jsonl": [row("a.wav"), *bad]}, labels={"A": "Angry"})
    with (root / "own.jsonl").open("a") as file:
        file.write("{not json\n\n")
    found = scan("emobox", root, audio_root=tmp_path)
    assert len(found.utterances) == 1
    assert found.skipped_kinds() == {"row": 4, "no audio": 1, "label": 1}


def test_a_damaged_label_map_is_refused(tmp_path):
    root = emobox(tmp_path, lists={"own.jsonl": [row("a.wav")]}, labels=None)
    (root / "label_map.json").write_text("[1]")
    with pytest.raises(CorpusError, match="label_map"):
        scan("emobox", root)


@pytest.fixture
def database(tmp_path):
    """A database with a filewise and a segmented table, speakers in a scheme, genders in a miscellaneous table."""
    audformat = pytest.importorskip("audformat")
    pandas = pytest.importorskip("pandas")
    db = audformat.Database("mini", languages=["deu"])
    db.schemes["emotion"] = audformat.Scheme(labels=["angry", "happy"])
    db.schemes["gender"] = audformat.Scheme(labels=["female", "male"])
    db.splits["dev"] = audformat.Split("dev")
    db["speaker"] = audformat.MiscTable(pandas.Index(["s1", "s2"], name="speaker"))
    db["speaker"]["gender"] = audformat.Column(scheme_id="gender")
    db["speaker"]["gender"].set(["female", "male"])
    db.schemes["speaker"] = audformat.Scheme("str", labels="speaker")
    files = audformat.filewise_index(["audio/a.wav", "audio/b.wav", "audio/c.wav"])
    segments = audformat.segmented_index(["audio/c.wav"] * 2, [0, 0.2], [0.2, None])
    tables = {
        "files": (files, None, {"speaker": ["s1", "s2", "s2"]}),
        "emotion": (files[:2], None, {"emotion": ["angry", None]}),
        "segments": (segments, "dev", {"emotion": ["happy", "angry"]}),
    }
    for name, (index, split, columns) in tables.items():
        db[name] = audformat.Table(index, split_id=split)
        for scheme, values in columns.items():
            db[name][scheme] = audformat.Column(scheme_id=scheme)
            db[name][scheme].set(values)
    plant(tmp_path, files)
    return db


@pytest.mark.parametrize("storage", ["csv", "parquet"])
def test_an_audformat_database_is_read(tmp_path, database, storage):
    database.save(str(tmp_path), storage_format=storage)
    found = scan("audformat_db", tmp_path)
    assert found.skipped == ()
    assert [
        (clip.id, clip.emotion, clip.speaker, clip.gender, clip.start, clip.end, clip.split)
        for clip in found.utterances
    ] == [
        ("mini/audio/a.wav", "anger", "s1", "female", None, None, None),
        ("mini/audio/b.wav", None, "s2", "male", None, None, None),
        ("mini/audio/c.wav#0-0.2", "happiness", "s2", "male", None, 0.2, "valid"),
        ("mini/audio/c.wav#0.2-", "anger", "s2", "male", 0.2, None, "valid"),
    ]
    assert {clip.language for clip in found.utterances} == {"deu"}
    assert found.utterances[0].path == tmp_path / "audio/a.wav"


class Bomb:
    """Raises as soon as it is unpickled."""

    def __reduce__(self):
        return (exec, ("raise RuntimeError('a pickle was loaded')",))


def test_no_pickle_is_loaded(tmp_path, database):
    database.save(str(tmp_path), storage_format="csv")
    (tmp_path / "db.emotion.pkl").write_bytes(pickle.dumps(Bomb()))
    assert len(scan("audformat_db", tmp_path).utterances) == 4
    (tmp_path / "db.emotion.csv").unlink()
    with pytest.raises(CorpusError, match="No file found for table"):
        scan("audformat_db", tmp_path)


def test_a_header_that_calls_code_is_refused(tmp_path):
    pytest.importorskip("audformat")
    mark = tmp_path / "mark"
    (tmp_path / "db.yaml").write_text(f"name: !!python/object/apply:pathlib.Path.touch [{mark}]\n")
    with pytest.raises(CorpusError, match="plain YAML"):
        scan("audformat_db", tmp_path)
    assert not mark.exists()


def test_a_database_without_emotions_is_refused_with_its_tables(tmp_path, database):
    database.drop_tables(["emotion", "segments"])
    database.save(str(tmp_path))
    with pytest.raises(CorpusError, match="no emotion in the tables files"):
        scan("audformat_db", tmp_path)


def test_a_header_that_is_none_is_refused(tmp_path):
    pytest.importorskip("audformat")
    with pytest.raises(CorpusError, match=r"no db\.yaml"):
        scan("audformat_db", tmp_path)
    for header in ("", "[]", "name: x\ntables: 3\n", ":\n  - ]"):
        (tmp_path / "db.yaml").write_text(header)
        with pytest.raises(CorpusError):
            scan("audformat_db", tmp_path)


def test_without_the_package_the_error_names_the_extra(tmp_path, monkeypatch):
    load = importlib.import_module

    def missing(name: str):
        if name == "audformat":
            raise ImportError(name)
        return load(name)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(CorpusError) as caught:
        list(load("ser_fewshot.corpora.audformat_db").read(tmp_path))
    assert "ser-fewshot[audformat]" in caught.value.remedy
