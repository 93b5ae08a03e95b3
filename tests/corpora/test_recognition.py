"""A folder is read as what its files are named like, whatever mirrors call it, and is refused where nobody knows."""

from __future__ import annotations

import pytest

from ser_fewshot.corpora import scan, scan_all
from ser_fewshot.errors import CorpusError

from .trees import plant

ACTORS = [f"Actor_{actor:02}/03-01-{code}-01-01-01-{actor:02}.wav" for actor in (1, 2) for code in ("03", "05")]
TESS = ["OAF_angry/OAF_back_angry.wav", "YAF_fear/YAF_dog_fear.wav"]

# names below the folder of the corpora: corpus, emotions, speakers
MIRRORS = {
    "copied inside": (
        [f"kaggle-speech/{again}{name}" for again in ("", "audio_speech_actors_01-24/") for name in ACTORS],
        "ravdess",
        {"anger": 2, "happiness": 2},
        {"01", "02"},
    ),
    "opened one level too deep": (
        [f"{again}{name}" for again in ("", "audio_speech_actors_01-24/") for name in ACTORS],
        "ravdess",
        {"anger": 2, "happiness": 2},
        {"01", "02"},
    ),
    "nested in itself": ([f"set/{again}{name}" for again in ("", "set/") for name in TESS], "tess",
                         {"anger": 1, "fear": 1}, {"OAF", "YAF"}),
    "folders of speakers": (["it/f1/rab-f1-b1.wav", "it/m1/gio-m1-b1.wav"], "emovo",
                            {"anger": 1, "happiness": 1}, {"f1", "m1"}),
    "folders of genders": (["fa/female/F01A01.wav", "fa/male/M01S01.wav"], "shemo",
                           {"anger": 1, "sadness": 1}, {"F01", "M01"}),
    "folders of intensities": (["fr/Peur/Fort/01-P-2-1.wav", "fr/Peur/Faible/02-P-1-1.wav"], "cafe",
                               {"fear": 2}, {"01", "02"}),
    "speakers, then emotions": (["zh/wangzhe/sad/201.wav", "zh/liuchanhg/fear/201.wav", "zh/202.wav"], "casia",
                               {"fear": 1, "sadness": 1}, {"liuchanhg", "wangzhe"}),
    "numbers alone": (["bursts/data/mp3/000001-03-1.mp3", "bursts/data/mp3/000002-23-1.mp3"], "emogator",
                      {"anger": 1, "romantic love": 1}, {"000001", "000002"}),
    "one flat folder": (["surrey/ALL/DC_a01.wav", "surrey/ALL/JE_sa01.wav"], "savee",
                        {"anger": 1, "sadness": 1}, {"DC", "JE"}),
    "a few strays": (["wav/03a01Fa.wav", "wav/08a01Wa.wav", "wav/notes.wav"], "emodb",
                     {"anger": 1, "happiness": 1}, {"03", "08"}),
}  # fmt: skip


def test_a_corpus_is_known_by_its_file_names(tmp_path, subtests):
    for name, (names, corpus, emotions, speakers) in MIRRORS.items():
        with subtests.test(name):
            (found,) = scan_all(plant(tmp_path / name, names))
            assert (found.corpus, found.counts()) == (corpus, emotions)
            assert {clip.speaker for clip in found.utterances} == speakers


def test_a_guess_invents_no_classes(tmp_path):
    for names, complaint in (
        (["x/bea_amused/amused_1.wav", "x/jenie_angry/anger_1.wav"], "known emotion: bea_amused, jenie_angry"),
        (["y/awe/a.wav", "y/pride/b.wav"], "not one of the folders is a known emotion: awe, pride"),
    ):
        with pytest.raises(CorpusError, match=complaint):
            scan_all(plant(tmp_path / names[0][0], names))


def test_who_asks_for_folders_gets_them_and_is_told_what_they_look_like(tmp_path):
    own = scan("folder", plant(tmp_path / "own", ["awe/a.wav", "pride/b.wav"]))
    assert own.counts() == {"awe": 1, "pride": 1}
    assert own.doubts[0] == "not one of the folders is a known emotion: awe, pride"
    actors = scan("folder", plant(tmp_path / "speech", ACTORS))
    assert "named as those of ravdess: 'scan ravdess' reads them" in actors.doubts[0]
    assert not any("known emotion" in doubt for doubt in scan("folder", plant(tmp_path / "c", ["sad/a.wav"])).doubts)


def test_an_intensity_is_no_speaker(tmp_path):
    found = scan("folder", plant(tmp_path, ["fear/weak/a.wav", "fear/level_2/b.wav", "fear/maria/c.wav"]))
    assert sorted(str(clip.speaker) for clip in found.utterances) == ["None", "None", "maria"]


def test_clips_in_a_foreign_format_are_called_so_in_every_layout(tmp_path):
    plant(tmp_path, ["ok/sad/a.wav"])
    for name in ("phone/sad/a.m4a", "film/Actor_01/01-01-05-01-01-01-01.mp4"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "t.csv").write_text("file,emotion,speaker\nphone/sad/a.m4a,sad,m\nok/sad/a.wav,sad,m\n")
    skipped = {found.corpus: [item.reason for item in found.skipped] for found in scan_all(tmp_path)}
    assert skipped == {
        "ok": [],
        "phone": ["format: .m4a cannot be read; convert it to WAV or FLAC"],
        "ravdess": ["format: .mp4 cannot be read; convert it to WAV or FLAC"],
    }
    assert scan("table", tmp_path / "t.csv").skipped_kinds() == {"format": 1}
    with pytest.raises(CorpusError, match=r"formats that cannot be read, such as \.m4a"):
        scan("folder", tmp_path / "phone")
