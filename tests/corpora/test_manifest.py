"""A manifest gives back what was written into it, and tables of users are read as people write them."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ser_fewshot.corpora import Utterance, canonical_emotion, read_manifest, scan, write_manifest
from ser_fewshot.corpora._cells import stated
from ser_fewshot.errors import CorpusError

from .trees import plant

TEXTS = st.none() | st.text(min_size=1)
SPEAKERS = TEXTS.filter(lambda name: name is None or stated(name) is not None)
EMOTIONS = st.none() | st.text(min_size=1).map(canonical_emotion).filter(stated)
NAMES = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1)
PATHS = st.lists(NAMES.filter(lambda name: name not in {".", ".."}), min_size=1, max_size=3)


@st.composite
def utterances(draw: st.DrawFn) -> Utterance:
    start = draw(st.none() | st.floats(0, 100))
    return Utterance(
        id=draw(st.text(min_size=1)),
        path=Path("/data", *draw(PATHS)),
        corpus=draw(st.text(min_size=1)),
        emotion=draw(EMOTIONS),
        speaker=draw(SPEAKERS),
        language=draw(TEXTS),
        gender=draw(st.sampled_from([None, "female", "male"])),
        text=draw(TEXTS),
        start=start,
        end=draw(st.none() | st.floats(101, 1000)),
        split=draw(st.sampled_from([None, "train", "valid", "test"])),
    )


@given(st.lists(utterances(), max_size=5, unique_by=lambda clip: clip.id))
def test_a_manifest_gives_back_exactly_what_was_written(tmp_path_factory, clips):
    path = tmp_path_factory.mktemp("manifest") / "clips.csv"
    write_manifest(path, clips)
    found = read_manifest(path)
    assert found.utterances == tuple(clips)
    assert found.skipped == ()


@given(st.text())
def test_naming_an_emotion_twice_changes_nothing(label):
    assert canonical_emotion(canonical_emotion(label)) == canonical_emotion(label)


@given(st.binary(max_size=200))
def test_no_bytes_make_the_reader_fail_with_anything_but_its_own_error(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("bytes") / "t.csv"
    path.write_bytes(b"file,emotion,speaker\n" + content)
    with contextlib.suppress(CorpusError):
        read_manifest(path)


def clip(path: Path, **fields) -> Utterance:
    return Utterance(**{"id": "c/a", "path": path, "corpus": "c", **fields})


def test_clips_below_the_manifest_are_relative_and_move_with_it(tmp_path):
    plant(tmp_path / "old", ["wav/a.wav"])
    write_manifest(tmp_path / "old/m.csv", [clip(tmp_path / "old/wav/a.wav")])
    assert '"wav/a.wav"' in (tmp_path / "old/m.csv").read_text()
    (tmp_path / "old").rename(tmp_path / "new")
    (moved,) = read_manifest(tmp_path / "new/m.csv").utterances
    assert moved.path == tmp_path / "new/wav/a.wav"
    assert moved.path.exists()


def test_clips_elsewhere_are_absolute_and_survive_another_current_folder(tmp_path, monkeypatch):
    (tmp_path / "lists").mkdir()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    write_manifest("lists/m.csv", [clip(tmp_path / "wav/a.wav")])
    monkeypatch.chdir(tmp_path / "elsewhere")
    (found,) = read_manifest(tmp_path / "lists/m.csv").utterances
    assert found.path == tmp_path / "wav/a.wav"


def test_an_empty_manifest_is_legal_and_folders_on_the_way_are_made(tmp_path):
    write_manifest(tmp_path / "a/b/m.csv", [])
    assert read_manifest(tmp_path / "a/b/m.csv").utterances == ()


def test_the_old_manifest_stays_whole_when_writing_fails(tmp_path, monkeypatch):
    path = tmp_path / "m.csv"
    write_manifest(path, [clip(tmp_path / "a.wav")])
    before = path.read_bytes()

    def full(*_args, **_kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(CorpusError, match="No space left"):
        write_manifest(path, [clip(tmp_path / "b.wav")])
    assert path.read_bytes() == before
    assert sorted(tmp_path.iterdir()) == [path]


def test_what_could_not_be_read_back_is_not_written(tmp_path):
    for clips, found in (
        ([clip(Path("/a.wav")), clip(Path("/b.wav"))], "twice"),
        ([clip(Path("/a.wav"), speaker="")], "an empty speaker"),
        ([clip(Path("/a.wav"), emotion="")], "an empty emotion"),
        ([clip(Path("/a.wav"), speaker="NaN")], "the speaker 'NaN' of 'c/a', which reads as none"),
        ([clip(Path(os.fsdecode(b"/M\xe4rz.wav")))], "Unicode"),
    ):
        with pytest.raises(CorpusError, match=found):
            write_manifest(tmp_path / "m.csv", clips)
    assert list(tmp_path.iterdir()) == []


HEADERS = [
    "file,emotion,speaker\na.wav,Angry,maria\n",
    "file;emotion;speaker\na.wav;Angry;maria\n",
    "file\temotion\tspeaker\na.wav\tAngry\tmaria\n",
    "\ufefffile,emotion,speaker\na.wav,Angry,maria\n",
    '"file","emotion","speaker"\n"a.wav","Angry","maria"\n',
    "Speaker, Emotion, FILE, remark\r\n maria, Angry , a.wav , x\r\n",
    "file,emotion,speaker\r\ra.wav,Angry,maria\r",
    "file,emotion,speaker\n\n,,\na.wav,ang,maria\n\n",
]


def test_tables_of_users_are_read_as_people_and_programs_write_them(tmp_path, subtests):
    plant(tmp_path, ["a.wav"])
    for text in HEADERS:
        with subtests.test(f"{text!r:.40}"):
            (tmp_path / "mine.csv").write_bytes(text.encode())
            found = scan("table", tmp_path / "mine.csv")
            assert found.skipped == ()
            assert found.utterances == (
                Utterance("mine/a.wav", tmp_path / "a.wav", "mine", emotion="anger", speaker="maria"),
            )


def test_the_optional_columns_are_read(tmp_path):
    (tmp_path / "t.csv").write_text(
        "file;emotion;speaker;corpus;language;gender;text;start;end;split;id\n"
        "a.wav;wut;m1;talk;deu;F;s1;1,5;3;DEV;one\n"
        "a.wav;;;;;other;;3;;;\n"
        "a.wav;;;;;;;;2.25;fold 3;\n"
    )
    first, second, third = scan("table", tmp_path / "t.csv", check_audio=False).utterances
    assert first == Utterance(
        id="one",
        path=tmp_path / "a.wav",
        corpus="talk",
        emotion="anger",
        speaker="m1",
        language="deu",
        gender="female",
        text="s1",
        start=1.5,
        end=3.0,
        split="valid",
    )
    assert second == Utterance(id="t/a.wav#3-", path=tmp_path / "a.wav", corpus="t", start=3.0)
    assert (third.id, third.split) == ("t/a.wav#0-2.25", "fold 3")


def test_rows_that_cannot_be_read_are_skipped_with_their_lines(tmp_path):
    bad = {
        "a.wav,angry,m,1": "has 4 fields where the header has 5",
        "a.wav,angry,m,1,2,3": "has 6 fields",
        ",angry,m,1,2": "names no file",
        "a.wav,angry,m,one,2": "'one', which is no number",
        "a.wav,angry,m,nan,2": "'nan', which is no number",
        "a.wav,angry,m,1,inf": "'inf', which is no number",
        "a.wav,angry,m,2,1": "segment from 2.0 to 1.0 s",
        "a.wav,angry,m,-1,1": "segment from -1.0",
        "a.wav,angry,m,0,0": "segment from 0.0 to 0.0 s",
    }
    (tmp_path / "t.csv").write_text("\n".join(["file,emotion,speaker,start,end", "a.wav,sad,m,,", *bad]))
    found = scan("table", tmp_path / "t.csv", check_audio=False)
    assert len(found.utterances) == 1
    for line, (item, reason) in enumerate(zip(found.skipped, bad.values(), strict=True), start=3):
        assert item.reason.startswith(f"row: line {line} ")
        assert reason in item.reason


def test_missing_and_broken_audio_is_skipped_and_the_rest_is_read(tmp_path):
    plant(tmp_path, ["a.wav"])
    (tmp_path / "zero.wav").touch()
    (tmp_path / "t.csv").write_text(
        "file,emotion,speaker\na.wav,sad,m\nno.wav,sad,m\nzero.wav,sad,m\n,,\na.wav,sad,m\n"
    )
    found = scan("table", tmp_path / "t.csv")
    assert [clip.path.name for clip in found.utterances] == ["a.wav"]
    assert found.skipped_kinds() == {"unreadable": 2, "second copy": 1}


def test_relative_files_are_relative_to_the_table_or_to_the_audio_root(tmp_path):
    plant(tmp_path / "sound", ["a.wav"])
    plant(tmp_path / "lists", ["b.wav"])
    table = tmp_path / "lists/t.csv"
    table.write_text(f"file,emotion,speaker\na.wav,sad,m\nb.wav,sad,m\n{tmp_path / 'sound/a.wav'},sad,m\n")
    assert [clip.path.name for clip in scan("table", table).utterances] == ["b.wav", "a.wav"]
    assert [clip.path.name for clip in scan("table", table, audio_root=tmp_path / "sound").utterances] == ["a.wav"] * 2
    table.write_text("file,emotion,speaker\nsound\\a.wav,sad,m\n")  # as Windows writes paths
    (found,) = scan("table", table, audio_root=tmp_path).utterances
    assert found.path == tmp_path / "sound/a.wav"


def test_a_table_that_is_none_is_refused_with_what_was_found(tmp_path, subtests):
    for content, found in (
        (b"", "an empty file"),
        (b"\n\n", "an empty file"),
        (b"path,label\na.wav,angry\n", "no column file, emotion, speaker among: path, label"),
        (b"file,emotion\na.wav,angry\n", "no column speaker among: file, emotion"),
        (b"file,emotion,speaker,emotion\n", "two columns emotion"),
        ("file,emotion,speaker\nMärz.wav,angry,m\n".encode("latin-1"), "unreadable bytes"),
        ("file,emotion,speaker\na.wav,angry,m\n".encode("utf-16"), "unreadable bytes"),
        (b'file,emotion,speaker\n"a.wav,angry,m\n', "at line 2"),
    ):
        (tmp_path / "t.csv").write_bytes(content)
        with subtests.test(found):
            with pytest.raises(CorpusError) as caught:
                scan("table", tmp_path / "t.csv")
            assert found in caught.value.found
    (tmp_path / "t.csv").write_text("file,emotion,speaker\n")  # a header without rows is an empty corpus
    assert scan("table", tmp_path / "t.csv").utterances == ()


def test_a_folder_may_stand_for_its_only_table(tmp_path):
    plant(tmp_path, ["a.wav"])
    (tmp_path / "t.csv").write_text("file,emotion,speaker\na.wav,sad,m\n")
    assert len(scan("table", tmp_path).utterances) == 1
    (tmp_path / "u.tsv").write_text("file\temotion\tspeaker\n")
    with pytest.raises(CorpusError, match=r"t\.csv, u\.tsv"):
        scan("table", tmp_path)


def test_a_manifest_is_a_table_and_a_table_a_manifest(tmp_path):
    clips = scan("emodb", plant(tmp_path / "emodb", ["03a01Fa.wav", "08a01Wa.wav"])).utterances
    write_manifest(tmp_path / "m.csv", clips)
    assert scan("table", tmp_path / "m.csv").utterances == clips
    (tmp_path / "t.csv").write_text("file,emotion,speaker\na.wav,Angry , m \n")
    (read,) = read_manifest(tmp_path / "t.csv").utterances
    assert (read.emotion, read.speaker) == ("anger", "m")
