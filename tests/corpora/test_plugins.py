"""Every corpus in the folder keeps the contract, and importing them loads nothing heavy."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from ser_fewshot import corpora, plugins
from ser_fewshot.corpora import (
    CorpusCard,
    Skipped,
    Utterance,
    canonical_emotion,
    card,
    names,
    permissive,
    scan,
    scan_all,
)
from ser_fewshot.corpora._coded import FileNames
from ser_fewshot.errors import CorpusError, SettingsError

from .trees import plant

FORMATS = {"audformat_db", "emobox", "folder", "hf_dataset", "table"}
CORPORA = sorted(set(names()) - FORMATS)
DESIRED = set("ased baved crema_d emodb emovo esd nemo ravdess savee shemo tess turev_db urdu".split())  # noqa: SIM905
DESIRED |= {"cafe", "casia", "emogator", "emospeech", "subesco"}


def test_the_corpora_are_the_files_of_the_folder():
    files = {path.stem for path in Path(corpora.__file__).parent.glob("*.py") if not path.name.startswith("_")}
    assert set(names()) == files
    assert files >= DESIRED | FORMATS


def test_only_a_licence_that_allows_commercial_use_is_permissive():
    assert card("ravdess").licence == "CC-BY-NC-SA-4.0"
    assert [card(name).commercial_use for name in ("ased", "ravdess", "crema_d")] == [None, False, True]
    assert permissive(["baved", "casia", "emogator", "emospeech"]) == ["emogator"]
    assert permissive(["urdu", "emodb", "crema_d"]) == ["crema_d"]
    with pytest.raises(SettingsError, match=r"ased \(none stated, cite the paper\), .* expected one of crema_d"):
        permissive(["ased", "emodb", "ravdess", "urdu"])
    with pytest.raises(SettingsError, match="no corpus; expected one of crema_d"):
        permissive([])
    with pytest.raises(SettingsError, match="emodb"):
        permissive(["emo_db"])


@pytest.mark.parametrize("corpus", names())
def test_every_corpus_has_a_card_that_is_filled_and_refuses_a_root_that_is_missing(corpus, tmp_path):
    module, described = plugins.load("corpora", corpus), card(corpus)
    assert isinstance(described, CorpusCard)
    for text in (described.title, described.language_name, described.licence, described.citation, described.layout):
        assert text.strip()
    assert (len(described.language), described.language.islower()) == (3, True)
    assert described.url.startswith("http")
    assert described.traps
    assert all(trap.endswith(".") for trap in described.traps)
    assert re.search("[:,]", module.__doc__.splitlines()[0])  # its name, and what it is
    with pytest.raises(CorpusError):
        scan(corpus, tmp_path / "nowhere")
    if corpus not in FORMATS:
        assert isinstance(module.NAMES, FileNames)
        assert len(Path(module.__file__).read_text(encoding="utf-8").splitlines()) < 100
        assert all(canonical_emotion(noun) == noun for noun in described.expected)
        assert described.n_speakers


def test_a_corpus_is_added_by_adding_one_file(tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(
        "from ser_fewshot.corpora import Skipped, Utterance\n"
        "from ser_fewshot.corpora.emodb import CARD\n"
        "def read(root):\n"
        "    yield Utterance('mine/a', root / 'a.wav', 'mine', emotion='anger')\n"
        "    yield Skipped(root / 'b.wav', 'spoiled: by rain')\n"
    )
    folders = [*corpora.__path__, str(tmp_path)]
    monkeypatch.setattr(corpora, "__path__", folders)
    monkeypatch.setattr(corpora.__spec__, "submodule_search_locations", folders)
    assert "mine" in names()
    found = scan("mine", tmp_path, check_audio=False)
    del sys.modules["ser_fewshot.corpora.mine"]
    assert [type(item) for item in (*found.utterances, *found.skipped)] == [Utterance, Skipped]


def test_an_unknown_corpus_is_refused_with_the_known_ones():
    with pytest.raises(SettingsError, match="Did you mean 'emodb'"):
        scan("emobd", ".")


def test_an_option_that_a_corpus_does_not_have_is_refused(tmp_path):
    for corpus, options, legal in (
        ("emodb", {"fold": 1}, "no options"),
        ("table", {"fold": 1}, "audio_root"),
        ("folder", {"audio_root": "."}, "no options"),
    ):
        with pytest.raises(SettingsError) as caught:
            scan(corpus, tmp_path, **options)
        assert legal in caught.value.expected


def test_an_empty_root_is_not_the_current_folder():
    for root in ("", "  "):
        with pytest.raises(CorpusError, match="empty path"):
            scan("emodb", root)


def test_labels_become_the_nouns_of_the_field():
    for label, noun in (
        ("Angry", "anger"),
        (" HAPPY ", "happiness"),
        ("ps", "surprise"),
        ("boredem", "boredom"),
        ("sarcasm", "sarcasm"),
        ("ge\u0302ne", "gêne"),
        ("\uff21ngry", "anger"),
        ("pleasant  surprise", "surprise"),
    ):
        assert corpora.canonical_emotion(label) == noun


def loaded_after(statement: str) -> Iterable[str]:
    code = f"import sys; {statement}; print(*sorted(sys.modules))"
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()


def test_importing_and_listing_the_corpora_loads_nothing_heavy():
    modules = loaded_after("import ser_fewshot.corpora as c; [c.card(name) for name in c.names()]")
    assert not {"torch", "librosa", "audformat", "datasets", "pandas", "yaml"} & set(modules)


def test_every_corpus_below_a_folder_is_scanned_under_its_name(tmp_path):
    plant(tmp_path / "Emo-DB", ["wav/03a01Fa.wav"])
    plant(tmp_path / "savee", ["DC/a01.wav"])
    plant(tmp_path / "CREMA-D", ["AudioWAV/1001_DFA_ANG_XX.wav"])
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").write_text("no corpus")
    assert [(found.corpus, len(found.utterances), found.skipped) for found in scan_all(tmp_path)] == [
        ("crema_d", 1, ()),
        ("emodb", 1, ()),
        ("savee", 1, ()),
    ]


def test_a_folder_under_another_name_is_read_as_what_it_looks_like_or_told(tmp_path):
    plant(tmp_path / "savee", ["DC/a01.wav"])
    plant(tmp_path / "mine", ["angry/maria/a.wav", "sad/maria/b.wav"])
    plant(tmp_path / "riddle", ["a.wav"])
    found = {one.corpus: one for one in scan_all(tmp_path)}
    assert list(found) == ["savee", "mine", "riddle"]
    assert {(clip.corpus, clip.emotion, clip.speaker) for clip in found["mine"].utterances} == {
        ("mine", "anger", "maria"),
        ("mine", "sadness", "maria"),
    }
    assert found["riddle"].utterances == ()
    (told,) = found["riddle"].skipped
    assert told.path == tmp_path / "riddle"
    assert "name the folder as a corpus that is known, or list its clips in a manifest" in told.reason
    assert [one.corpus for one in scan_all(tmp_path, others=False)] == ["savee"]


def test_a_folder_whose_clips_stand_inside_tables_or_elsewhere_is_listed_too(tmp_path):
    plant(tmp_path / "savee", ["DC/a01.wav"])
    marks = ("db.yaml", "dataset_dict.json", "dataset_info.json")
    for mark in marks:
        (tmp_path / mark[:-5]).mkdir()
        (tmp_path / mark[:-5] / mark).write_text("damaged")
    skipped = {found.corpus: found.skipped for found in scan_all(tmp_path)}
    for mark in marks:
        (item,) = skipped[mark[:-5]]
        assert item.path == tmp_path / mark[:-5]
        assert item.reason.startswith("layout: ")


def test_a_folder_without_corpora_is_refused(tmp_path):
    with pytest.raises(CorpusError, match="no folder that is named as a corpus"):
        scan_all(tmp_path)
