"""Each documented file name is read as its corpus documents it, and every other file is listed as skipped."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

from ser_fewshot.corpora import scan
from ser_fewshot.errors import CorpusError

from .trees import plant

UNKNOWN_USER = "d14a028c2a3a2bc9476102bb288234c415a2b01f828ea62ac5b3e42f"
USER = "3d9d3e0eb86e940eb4b15e5b1fe903aa01080f176dffc7547c677ce3"

# corpus, path: emotion, speaker, gender, text
CODES = [
    ("emodb", "wav/03a01Fa.wav", "happiness", "03", "male", "a01"),
    ("emodb", "wav/08a02Wb.wav", "anger", "08", "female", "a02"),
    ("emodb", "wav/09b03La.wav", "boredom", "09", "female", "b03"),
    ("emodb", "wav/10b09Ea.wav", "disgust", "10", "male", "b09"),
    ("emodb", "wav/11a07Aa.wav", "fear", "11", "male", "a07"),
    ("emodb", "wav/16b10Tb.wav", "sadness", "16", "female", "b10"),
    ("emodb", "wav/15a05Nc.wav", "neutral", "15", "male", "a05"),
    ("ravdess", "Actor_01/03-01-01-01-01-01-01.wav", "neutral", "01", "male", "01"),
    ("ravdess", "Actor_02/03-01-02-02-02-02-02.wav", "calm", "02", "female", "02"),
    ("ravdess", "Actor_24/03-01-03-01-01-01-24.wav", "happiness", "24", "female", "01"),
    ("ravdess", "Actor_23/03-01-04-01-01-01-23.wav", "sadness", "23", "male", "01"),
    ("ravdess", "Actor_10/03-01-05-01-01-01-10.wav", "anger", "10", "female", "01"),
    ("ravdess", "Actor_10/03-01-06-01-01-01-10.wav", "fear", "10", "female", "01"),
    ("ravdess", "Actor_10/03-01-07-01-01-01-10.wav", "disgust", "10", "female", "01"),
    ("ravdess", "Actor_10/03-01-08-01-01-01-10.wav", "surprise", "10", "female", "01"),
    ("ravdess", "Actor_10/01-01-08-01-01-02-10.wav", "surprise", "10", "female", "01"),
    ("urdu", "Angry/SM1_F19_A019.wav", "anger", "SM1", "male", None),
    ("urdu", "Happy/SF11_F2_H052.wav", "happiness", "SF11", "female", None),
    ("urdu", "Neutral/SM20_F8_N012.wav", "neutral", "SM20", "male", None),
    ("urdu", "Sad/SM4_F3_S07.wav", "sadness", "SM4", "male", None),
    ("ased", "01Neutral/n1-01-01-01-01.wav", "neutral", "01", "female", "01"),
    ("ased", "02Fearful/f2-07-02-02-30.wav", "fear", "30", "male", "07"),
    ("ased", "03Happy/h3-03-01-02-50.wav", "happiness", "50", "male", "03"),
    ("ased", "04Sad/S4-04-02-01-29.wav", "sadness", "29", "female", "04"),
    ("ased", "05Angry/a5-03-01-02-09.wav", "anger", "09", "female", "03"),
    ("crema_d", "AudioWAV/1001_DFA_ANG_XX.wav", "anger", "1001", "male", "DFA"),
    ("crema_d", "AudioWAV/1002_IEO_DIS_LO.wav", "disgust", "1002", "female", "IEO"),
    ("crema_d", "AudioWAV/1091_IEO_FEA_MD.wav", "fear", "1091", "female", "IEO"),
    ("crema_d", "AudioWAV/1090_IEO_HAP_HI.wav", "happiness", "1090", "male", "IEO"),
    ("crema_d", "AudioWAV/1005_WSI_NEU_XX.wav", "neutral", "1005", "male", "WSI"),
    ("crema_d", "AudioWAV/1040_ITH_SAD_X.wav", "sadness", "1040", "male", "ITH"),
    ("tess", "OAF_angry/OAF_back_angry.wav", "anger", "OAF", "female", "back"),
    ("tess", "YAF_disgust/YAF_chair_disgust.wav", "disgust", "YAF", "female", "chair"),
    ("tess", "OAF_Fear/OAF_lid_fear.wav", "fear", "OAF", "female", "lid"),
    ("tess", "YAF_happy/YAF_sour_happy.wav", "happiness", "YAF", "female", "sour"),
    ("tess", "OAF_neutral/OA_bite_neutral.wav", "neutral", "OAF", "female", "bite"),
    ("tess", "OAF_Pleasant_surprise/OAF_nice_ps.wav", "surprise", "OAF", "female", "nice"),
    ("tess", "YAF_pleasant_surprised/YAF_bite_ps.wav", "surprise", "YAF", "female", "bite"),
    ("tess", "OAF_Sad/OAF_soap_sad.wav", "sadness", "OAF", "female", "soap"),
    ("savee", "DC_a01.wav", "anger", "DC", "male", "a01"),
    ("savee", "JE_d02.wav", "disgust", "JE", "male", "d02"),
    ("savee", "JK_f03.wav", "fear", "JK", "male", "f03"),
    ("savee", "KL_h15.wav", "happiness", "KL", "male", "h15"),
    ("savee", "AudioData/DC/n30.wav", "neutral", "DC", "male", "n30"),
    ("savee", "AudioData/JE/sa04.wav", "sadness", "JE", "male", "sa04"),
    ("savee", "AudioData/KL/su05.wav", "surprise", "KL", "male", "su05"),
    ("esd", "0001/Neutral/0001_000001.wav", "neutral", "0001", "female", "cmn-001"),
    ("esd", "0001/Angry/0001_000351.wav", "anger", "0001", "female", "cmn-001"),
    ("esd", "0010/Happy/0010_001050.wav", "happiness", "0010", "male", "cmn-350"),
    ("esd", "0011/Sad/train/0011_001052.wav", "sadness", "0011", "male", "eng-002"),
    ("esd", "0019/Surprise/evaluation/0019_001401.wav", "surprise", "0019", "female", "eng-001"),
    ("shemo", "female/F01A01.wav", "anger", "F01", "female", None),
    ("shemo", "male/M21F01.wav", "fear", "M21", "male", None),
    ("shemo", "female/F24H15.wav", "happiness", "F24", "female", None),
    ("shemo", "male/M04N76.wav", "neutral", "M04", "male", None),
    ("shemo", "male/M36S02.wav", "sadness", "M36", "male", None),
    ("shemo", "female/F21W09.wav", "surprise", "F21", "female", None),
    ("emovo", "f1/rab-f1-b1.wav", "anger", "f1", "female", "b1"),
    ("emovo", "m3/dis-m3-n5.wav", "disgust", "m3", "male", "n5"),
    ("emovo", "f2/pau-f2-l4.wav", "fear", "f2", "female", "l4"),
    ("emovo", "f3/gio-f3-d2.wav", "happiness", "f3", "female", "d2"),
    ("emovo", "m1/neu-m1-b2.wav", "neutral", "m1", "male", "b2"),
    ("emovo", "m2/tri-m2-b3.wav", "sadness", "m2", "male", "b3"),
    ("emovo", "m2/sor-m2-n1.wav", "surprise", "m2", "male", "n1"),
    ("nemo", "samples/EB0_anger_1.wav", "anger", "EB0", "female", "1"),
    ("nemo", "samples/WR0_fear_90.wav", "fear", "WR0", "male", "90"),
    ("nemo", "samples/KS0_happiness_19.wav", "happiness", "KS0", "male", "19"),
    ("nemo", "samples/IC0_neutral_9.wav", "neutral", "IC0", "female", "9"),
    ("nemo", "samples/MP0_sadness_79.wav", "sadness", "MP0", "male", "79"),
    ("nemo", "samples/SM0_surprised_33.wav", "surprise", "SM0", "male", "33"),
    ("turev_db", "Sound Source/Angry/1157_kz_acik.wav", "anger", "1157", None, "acik"),
    ("turev_db", "Sound Source/Calm/1984_sk_eger.wav", "calm", "1984", None, "eger"),
    ("turev_db", "Sound Source/Happy/6783_mt_unlu.wav", "happiness", "6783", None, "unlu"),
    ("turev_db", "Sound Source/Sad/7895_uz_dil.wav", "sadness", "7895", None, "dil"),
    ("cafe", "Colère/Faible/01-C-1-1.wav", "anger", "01", "male", "1"),
    ("cafe", "Dégoût/Fort/02-D-2-2.wav", "disgust", "02", "female", "2"),
    ("cafe", "Joie/Fort/12-J-2-6.wav", "happiness", "12", "female", "6"),
    ("cafe", "Neutre/11-N-1-3.wav", "neutral", "11", "male", "3"),
    ("cafe", "Peur/Faible/05-P-1-4.wav", "fear", "05", "male", "4"),
    ("cafe", "Surprise/Fort/06-S-2-5.wav", "surprise", "06", "female", "5"),
    ("cafe", "Tristesse/Faible/08-T-1-1.wav", "sadness", "08", "female", "1"),
    ("subesco", "F_02_MONIKA_S_1_NEUTRAL_5.wav", "neutral", "F_02", "female", "1"),
    ("subesco", "M_10_EVAN_S_10_ANGRY_2.wav", "anger", "M_10", "male", "10"),
    ("baved", "0/10-f-20-0-0-0.wav", "low", "10", "female", "0"),
    ("baved", "4/46-m-20-4-1-1239.wav", "neutral", "46", "male", "4"),
    ("baved", "6/100-f-6-6-2-2.wav", "high", "100", "female", "6"),
    ("baved", "0/53-m-20-0-2-211.wav", "high", "46", "male", "0"),
    ("tess", "testnew/289testOAF_such_fear7.wav", "fear", "OAF", "female", "such"),
    ("tess", "testnew/20testYAF_page_happy50.wav", "happiness", "YAF", "female", "page"),
    ("casia", "liuchanhg/angry/201.wav", "anger", "liuchanhg", "female", "201"),
    ("casia", "zhaoquanyin/fear/201.wav", "fear", "zhaoquanyin", "female", "201"),
    ("casia", "wangzhe/happy/250.wav", "happiness", "wangzhe", "male", "250"),
    ("casia", "ZhaoZuoxiang/neutral/202.wav", "neutral", "zhaozuoxiang", "male", "202"),
    ("casia", "ZhaoZuoxiang/sad/300.wav", "sadness", "zhaozuoxiang", "male", "300"),
    ("casia", "wangzhe/surprise/001.wav", "surprise", "wangzhe", "male", "001"),
    ("emospeech", f"House/bacho-safe-angry-1562907046662-{UNKNOWN_USER}.wav", "anger", None, None, "bacho"),
    ("emospeech", f"Near Lake/go-glass break-fearful-20190710134810-{UNKNOWN_USER}.wav", "fear", None, None, "go"),
    ("emospeech", f"webservice/help-safe-happy-1563176322441-{USER}.wav", "happiness", USER, None, "help"),
    ("emospeech", f"webservice/yes-scream-calm-xx-{USER}.wav", "calm", USER, None, "yes"),
    ("emospeech", f"Misc/unknown-gunshots-calm-1561964985.764769-{UNKNOWN_USER}.wav", "calm", None, None, None),
    ("emospeech", f"Misc/unknown-safe-None-20190618164021 copy-{UNKNOWN_USER}.wav", None, None, None, None),
    ("emogator", "data/mp3/000001-01-1.mp3", "adoration", "000001", None, None),
    ("emogator", "data/mp3/000357-03-3.mp3", "anger", "000357", None, None),
    ("emogator", "data/mp3/000002-10-2.mp3", "disgust", "000002", None, None),
    ("emogator", "data/mp3/000002-15-2.mp3", "fear", "000002", None, None),
    ("emogator", "data/mp3/000002-18-2.mp3", "neutral", "000002", None, None),
    ("emogator", "data/mp3/000002-23-2.mp3", "romantic love", "000002", None, None),
    ("emogator", "data/mp3/000002-24-2.mp3", "sadness", "000002", None, None),
    ("emogator", "data/mp3/000002-27-2.mp3", "negative surprise", "000002", None, None),
    ("emogator", "data/mp3/000002-28-2.mp3", "positive surprise", "000002", None, None),
    ("emogator", "data/mp3/000002-30-2.mp3", "triumph", "000002", None, None),
]

WRONG = [
    ("emodb", "03a01Xa.wav"),
    ("emodb", "17a01Fa.wav"),
    ("emodb", "03a01Fa (1).wav"),
    ("emodb", "x03a01Fa.wav"),
    ("ravdess", "03-01-09-01-01-01-01.wav"),
    ("ravdess", "03-01-01-01-01-01-25.wav"),
    ("ravdess", "03-01-01-01-01-01.wav"),
    ("urdu", "SX1_F19_A019.wav"),
    ("urdu", "SM1_F19_B019.wav"),
    ("ased", "a4-03-01-02-50.wav"),
    ("ased", "a5-03-01-03-50.wav"),
    ("crema_d", "1001_DFA_SUR_XX.wav"),
    ("crema_d", "2001_DFA_ANG_XX.wav"),
    ("tess", "OAF_back_bored.wav"),
    ("tess", "MAF_back_angry.wav"),
    ("savee", "XX_a01.wav"),
    ("savee", "DC_x01.wav"),
    ("savee", "a01.wav"),
    ("esd", "0021/Angry/0021_000351.wav"),
    ("esd", "0001/Bored/0001_000351.wav"),
    ("esd", "0001_000351.wav"),
    ("shemo", "X01A01.wav"),
    ("shemo", "F01B01.wav"),
    ("emovo", "abc-f1-b1.wav"),
    ("emovo", "rab-f4-b1.wav"),
    ("nemo", "EB0_boredom_1.wav"),
    ("turev_db", "Sound Source/Bored/1157_kz_acik.wav"),
    ("turev_db", "1157_kz_acik.wav"),
    ("cafe", "13-C-1-1.wav"),
    ("cafe", "01-X-1-1.wav"),
    ("subesco", "F_02_MONIKA_S_1_BORED_5.wav"),
    ("baved", "10-x-20-0-1-0.wav"),
    ("baved", "10-f-20-0-3-0.wav"),
    ("baved", "10-f-20-7-1-0.wav"),
    ("tess", "289testOAF_such_fear.wav"),
    ("tess", "OAF_such_fear7.wav"),
    ("casia", "201.wav"),
    ("casia", "liuchanhg/bored/201.wav"),
    ("casia", "liuchanhg/angry/301.wav"),
    ("casia", "somebody/angry/201.wav"),
    ("emospeech", f"hello-safe-calm-20190710134810-{USER}.wav"),
    ("emospeech", f"go-safe-bored-20190710134810-{USER}.wav"),
    ("emospeech", "go-safe-calm-20190710134810-d14a028c.wav"),
    ("emogator", "000001-00-1.wav"),
    ("emogator", "000001-31-1.wav"),
    ("emogator", "000001-01-4.wav"),
    ("emogator", "000400-01-1.wav"),
]


BY_CORPUS = pytest.mark.parametrize("corpus", sorted({corpus for corpus, *_ in CODES}))


@BY_CORPUS
def test_documented_names_are_read_and_any_others_listed_as_skipped(tmp_path, corpus):
    expected = {tmp_path / name: fields for code, name, *fields in CODES if code == corpus}
    wrong = [name for code, name in WRONG if code == corpus]
    found = scan(corpus, plant(tmp_path, [*expected, *wrong]))
    assert {clip.path: [clip.emotion, clip.speaker, clip.gender, clip.text] for clip in found.utterances} == expected
    assert {(clip.corpus, clip.id.partition("/")[0]) for clip in found.utterances} == {(corpus, corpus)}
    assert {(item.path, item.kind) for item in found.skipped} == {(tmp_path / name, "file name") for name in wrong}


@BY_CORPUS
def test_a_folder_of_other_names_only_is_refused_with_the_layout(tmp_path, corpus):
    wrong = [name for code, name in WRONG if code == corpus]
    with pytest.raises(CorpusError, match=r"expected files such as .*\.(wav|mp3)") as caught:
        scan(corpus, plant(tmp_path, wrong))
    assert any(name in caught.value.found for name in wrong)


def test_any_extension_that_can_be_decoded_is_read_in_any_letter_case(tmp_path):
    suffixes = [".wav", ".WAV", ".Flac", ".ogg", ".opus", ".mp3", ".aiff"]
    found = scan("emodb", plant(tmp_path, [f"wav/{n + 10}a01Fa{suffix}" for n, suffix in enumerate(suffixes)]))
    assert len(found.utterances) == len(suffixes)


def test_letter_case_in_names_does_not_count(tmp_path):
    (clip,) = scan("esd", plant(tmp_path, ["0001/ANGRY/TRAIN/0001_000351.WAV"])).utterances
    assert (clip.emotion, clip.split) == ("anger", "train")


def test_esd_has_two_languages_and_its_split_where_there_is_one(tmp_path):
    names = [
        "0010/Sad/0010_001051.wav",
        "0011/Sad/train/0011_001051.wav",
        "0011/Sad/evaluation/0011_001052.wav",
        "0011/Sad/test/0011_001053.wav",
    ]
    clips = scan("esd", plant(tmp_path, names)).utterances
    assert [(clip.language, clip.split) for clip in clips] == [
        ("cmn", None),
        ("eng", "valid"),
        ("eng", "test"),
        ("eng", "train"),
    ]


def test_a_clip_of_emospeech_has_the_language_of_its_keyword_and_noise_alone_is_skipped(tmp_path):
    words = ("bacho", "stop", "unknown", "background")
    found = scan("emospeech", plant(tmp_path, [f"House/{word}-safe-calm-1-{UNKNOWN_USER}.wav" for word in words]))
    assert [(clip.text, clip.language) for clip in found.utterances] == [
        ("bacho", "hin"),
        ("stop", "eng"),
        (None, None),
    ]
    assert found.skipped_kinds() == {"no speech": 1}
    assert not any("lost" in warning for warning in found.warnings)  # though one in four is skipped


def test_a_clip_of_casia_is_named_after_its_folders(tmp_path):
    found = scan("casia", plant(tmp_path, ["wangzhe/sad/201.wav", "ZhaoZuoxiang/sad/201.wav", "201.wav"]))
    assert [clip.id for clip in found.utterances] == ["casia/zhaozuoxiang_sad_201", "casia/wangzhe_sad_201"]
    assert [(item.path.name, item.kind) for item in found.skipped] == [("201.wav", "file name")]


def test_a_renamed_copy_of_tess_gives_the_same_ids(tmp_path):
    original = scan("tess", plant(tmp_path / "own", ["OAF_neutral/OA_bite_neutral.wav"])).utterances
    renamed = scan("tess", plant(tmp_path / "copy", ["testnew/751testOA_bite_neutral48.wav"])).utterances
    assert [clip.id for clip in (*original, *renamed)] == ["tess/OAF_bite_neutral"] * 2


def test_both_layouts_of_savee_give_the_same_ids(tmp_path):
    flat = scan("savee", plant(tmp_path / "flat", ["DC_a01.wav"])).utterances
    deep = scan("savee", plant(tmp_path / "deep", ["DC/a01.wav"])).utterances
    one_speaker = scan("savee", tmp_path / "deep" / "DC").utterances
    assert [clip.id for clip in (*flat, *deep, *one_speaker)] == ["savee/DC_a01"] * 3


def test_songs_and_films_of_ravdess_are_skipped_with_that_reason(tmp_path):
    plant(
        tmp_path,
        ["03-01-05-01-01-01-01.wav", "03-02-05-01-01-01-01.wav", "02-01-05-01-01-01-01.wav"],
    )
    (tmp_path / "02-01-05-01-01-01-02.mp4").write_bytes(b"film")
    (tmp_path / "01-02-05-01-01-01-02.mp4").write_bytes(b"film")
    (tmp_path / "01-01-05-01-01-01-02.mp4").write_bytes(b"film")
    found = scan("ravdess", tmp_path)
    assert len(found.utterances) == 1
    assert found.skipped_kinds() == {"song": 2, "film only": 2, "format": 1}
    (tmp_path / "03-01-05-01-01-01-01.wav").unlink()
    assert scan("ravdess", tmp_path).utterances == ()  # no clips, but no error either


def test_the_nested_copy_of_ravdess_is_skipped(tmp_path):
    name = "Actor_01/03-01-05-01-01-01-01.wav"
    found = scan("ravdess", plant(tmp_path, [name, f"audio_speech_actors_01-24/{name}"]))
    assert [clip.path for clip in found.utterances] == [tmp_path / name]
    (copy,) = found.skipped
    assert copy.path == tmp_path / "audio_speech_actors_01-24" / name
    assert str(tmp_path / name) in copy.reason


def test_of_two_copies_the_lossless_one_is_read_and_else_the_readable_one(tmp_path):
    plant(tmp_path, ["AudioMP3/1001_DFA_ANG_XX.mp3", "AudioWAV/1001_DFA_ANG_XX.wav"])
    found = scan("crema_d", tmp_path)
    assert [clip.path.suffix for clip in found.utterances] == [".wav"]
    assert [item.path.suffix for item in found.skipped] == [".mp3"]
    (tmp_path / "AudioWAV/1001_DFA_ANG_XX.wav").write_text("version https://git-lfs.github.com/spec/v1")
    found = scan("crema_d", tmp_path)
    assert [clip.path.suffix for clip in found.utterances] == [".mp3"]
    assert found.skipped_kinds() == {"unreadable": 1}


NEMO_TABLE = (
    "file_id\temotion\traw_text\tnormalized_text\tspeaker_id\tgender\tage\n"
    'EB0_anger_1.wav\tanger\t"Ród smoka\tród smoka\t        EB0\tmale\t27\n'
    "QQ0_fear_2.wav\tfear\tŻ\tż\t        QQ0\tfemale\t30\n"
)


def test_nemo_takes_genders_from_its_table_and_a_damaged_one_does_no_harm(tmp_path):
    names, table = (
        ["samples/EB0_anger_1.wav", "samples/QQ0_fear_2.wav", "samples/WR0_fear_2.wav"],
        tmp_path / "data.tsv",
    )
    plant(tmp_path, names)

    def genders(root: Path) -> dict[str | None, str | None]:
        return {clip.speaker: clip.gender for clip in scan("nemo", root).utterances}

    table.write_text(NEMO_TABLE, encoding="utf-8")
    for root in (tmp_path, tmp_path / "samples"):
        assert genders(root) == {"EB0": "male", "QQ0": "female", "WR0": "male"}
    for content in (b"", b"\xff\xfe\x00", b"no\ttable\n1\n", b"speaker_id\tgender\nEB0\n"):
        table.write_bytes(content)
        assert genders(tmp_path) == {"EB0": "female", "QQ0": None, "WR0": "male"}


def test_whatever_else_lies_in_a_folder_is_listed_or_deliberately_ignored(tmp_path):
    plant(tmp_path, ["wav/03a01Fa.wav", "wav/._03a01Wa.wav", "wav/.hidden/03a01Na.wav", "__MACOSX/wav/._03a01Na.wav"])
    (tmp_path / "wav/.DS_Store").write_bytes(b"x")
    (tmp_path / "erkennung.txt").write_text("x")
    (tmp_path / "wav/03a01Wa.wav").write_bytes(b"")
    (tmp_path / "wav/03a01Nc.m4a").write_bytes(b"x")
    (tmp_path / "wav/03a01Ta.wav").symlink_to(tmp_path / "nowhere.wav")
    found = scan("emodb", tmp_path)
    assert [clip.id for clip in found.utterances] == ["emodb/03a01Fa"]
    reasons = {item.path.name: item.kind for item in found.skipped}
    assert reasons == {
        "._03a01Wa.wav": "hidden file",
        "03a01Wa.wav": "unreadable",
        "03a01Nc.m4a": "format",
        "03a01Ta.wav": "broken link",
    }
    unchecked = scan("emodb", tmp_path, check_audio=False)
    assert [clip.id for clip in unchecked.utterances] == ["emodb/03a01Fa", "emodb/03a01Wa"]


def test_links_are_followed_once(tmp_path):
    plant(tmp_path / "disk", ["03a01Fa.wav"])
    root = tmp_path / "corpus"
    root.mkdir()
    (root / "wav").symlink_to(tmp_path / "disk", target_is_directory=True)
    (tmp_path / "disk/loop").symlink_to(root, target_is_directory=True)
    found = scan("emodb", root)
    assert [clip.path for clip in found.utterances] == [root / "wav/03a01Fa.wav"]
    assert found.skipped_kinds() == {"link": 1}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_named_like_a_clip_does_not_stop_the_scan(tmp_path):
    plant(tmp_path, ["03a01Fa.wav"])
    os.mkfifo(tmp_path / "03a01Wa.wav")
    assert scan("emodb", tmp_path).skipped_kinds() == {"special file": 1}


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux allows such names")
def test_a_name_that_is_not_utf8_is_skipped_and_can_be_printed(tmp_path):
    plant(tmp_path, ["03a01Fa.wav"])
    shutil.copy(os.fsencode(tmp_path / "03a01Fa.wav"), os.fsencode(tmp_path) + b"/M\xe4rz.wav")
    found = scan("emodb", tmp_path)
    (item,) = found.skipped
    assert f"{item.path} {item.reason}".encode()
    assert "UTF-8" in item.reason


def test_a_folder_that_cannot_be_opened_is_listed(tmp_path, monkeypatch):
    plant(tmp_path, ["wav/03a01Fa.wav", "closed/03a01Wa.wav"])
    entries = Path.iterdir

    def closed(path: Path):
        if path.name == "closed":
            raise PermissionError(13, "Permission denied")
        return entries(path)

    monkeypatch.setattr(Path, "iterdir", closed)
    found = scan("emodb", tmp_path)
    assert [(item.path, item.reason) for item in found.skipped] == [
        (tmp_path / "closed", "closed folder: Permission denied")
    ]


def test_the_order_does_not_depend_on_the_order_of_creation(tmp_path):
    names = ["wav/16a01Fa.wav", "wav/03a01Wa.wav", "a/08a01Na.wav"]
    first = scan("emodb", plant(tmp_path / "1", names))
    second = scan("emodb", plant(tmp_path / "2", reversed(names)))
    assert [clip.id for clip in first.utterances] == [clip.id for clip in second.utterances]
    assert [clip.id for clip in first.utterances] == ["emodb/08a01Na", "emodb/03a01Wa", "emodb/16a01Fa"]


def test_a_few_strays_are_skipped_and_many_mean_that_the_root_is_too_high(tmp_path):
    plant(tmp_path, ["emodb/wav/03a01Fa.wav", *(f"music/{number}.wav" for number in range(10))])
    assert scan("emodb", tmp_path).skipped_kinds() == {"file name": 10}
    plant(tmp_path, ["music/10.wav"])
    with pytest.raises(CorpusError) as caught:
        scan("emodb", tmp_path)
    assert caught.value.remedy == f"Give {tmp_path / 'emodb'} as the root."


def test_wrong_roots_are_refused_with_what_was_found(tmp_path):
    (tmp_path / "emodb.zip").write_bytes(b"PK")
    (tmp_path / "empty").mkdir()
    (tmp_path / "filmed").mkdir()
    (tmp_path / "filmed/talk.mp4").write_bytes(b"x")
    for root, found in [
        ("nowhere", "no folder"),
        ("emodb.zip", "a text file"),
        ("empty", "0 audio files"),
        ("filmed", "talk.mp4"),
    ]:
        with pytest.raises(CorpusError) as caught:
            scan("emodb", tmp_path / root)
        assert found in caught.value.found
        assert "03a01Fa.wav" in caught.value.expected


def test_deviations_name_each_class_and_the_speakers(tmp_path):
    found = scan("urdu", plant(tmp_path, ["Angry/SM1_F19_A019.wav"]))
    assert found.deviations == (
        "anger: 1 clips are usable, 100 are published.",
        "happiness: 0 clips are usable, 100 are published.",
        "neutral: 0 clips are usable, 100 are published.",
        "sadness: 0 clips are usable, 100 are published.",
        "speakers: 1 were found, 29 are published.",
    )


def test_counts_make_a_table(tmp_path):
    names = ["DC_a01.wav", "DC_a02.wav", "DC_su01.wav", "JE_a01.wav"]
    found = scan("savee", plant(tmp_path, names))
    assert found.counts() == {"anger": 3, "surprise": 1}
    assert found.counts("speaker") == {"savee/DC": 3, "savee/JE": 1}
    assert found.counts("emotion_x_speaker")["anger by savee/DC"] == 2
    assert found.by_speaker() == {"savee/DC": {"anger": 2, "surprise": 1}, "savee/JE": {"anger": 1}}


def test_relative_roots_and_homes_give_absolute_paths(tmp_path, monkeypatch):
    plant(tmp_path, ["wav/03a01Fa.wav"])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for root in ("wav", Path("wav"), "~/wav"):
        (clip,) = scan("emodb", root).utterances
        assert clip.path == tmp_path / "wav/03a01Fa.wav"
