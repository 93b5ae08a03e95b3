"""The four real corpora give the counts that their README publishes."""

from __future__ import annotations

from collections import Counter

import pytest

from ser_fewshot.corpora import read_manifest, scan, write_manifest
from ser_fewshot.errors import CorpusError

pytestmark = pytest.mark.corpus

PUBLISHED = {
    "emodb": (
        {
            "anger": 127,
            "boredom": 81,
            "neutral": 79,
            "happiness": 71,
            "fear": 69,
            "sadness": 62,
            "disgust": 46,
        },
        10,
        "deu",
    ),
    "ravdess": (
        {
            "neutral": 96,
            **dict.fromkeys(("calm", "happiness", "sadness", "anger", "fear", "disgust", "surprise"), 192),
        },
        24,
        "eng",
    ),
    "urdu": (dict.fromkeys(("anger", "happiness", "neutral", "sadness"), 100), 29, "urd"),
    "ased": ({"neutral": 522, "fear": 510, "happiness": 486, "anger": 486, "sadness": 470}, 65, "amh"),
}


GENDERS = {"emodb": (5, 5), "ravdess": (12, 12), "urdu": (11, 18), "ased": (25, 40)}
N_SENTENCES = {"emodb": 10, "ravdess": 2, "urdu": 0, "ased": 7}


@pytest.mark.parametrize("corpus", PUBLISHED)
def test_every_clip_is_read_and_the_counts_are_the_published_ones(corpora_root, corpus):
    counts, n_speakers, language = PUBLISHED[corpus]
    found = scan(corpus, corpora_root / corpus, check_audio=False)
    assert found.counts() == counts
    assert len(found.counts("speaker")) == n_speakers
    assert (found.skipped, found.deviations) == ((), ())
    assert {clip.language for clip in found.utterances} == {language}
    assert len({clip.id for clip in found.utterances}) == sum(counts.values())
    genders = Counter(gender for _, gender in {(clip.speaker, clip.gender) for clip in found.utterances})
    assert (genders["female"], genders["male"]) == GENDERS[corpus]  # so no speaker has two
    assert genders.total() == n_speakers
    assert len({clip.text for clip in found.utterances} - {None}) == N_SENTENCES[corpus]
    with pytest.raises(CorpusError) as caught:  # the folder above holds several corpora: the right one is named
        scan(corpus, corpora_root, check_audio=False)
    assert str(corpora_root / corpus) in caught.value.remedy


def test_the_headers_of_a_real_corpus_are_readable(corpora_root):
    assert scan("urdu", corpora_root / "urdu").skipped == ()


def test_the_capital_letter_of_ased_is_read(corpora_root):
    clips = {clip.path.stem: clip for clip in scan("ased", corpora_root / "ased", check_audio=False).utterances}
    assert clips["S4-04-02-01-29"].emotion == "sadness"


def test_the_folder_inside_and_the_root_give_the_same_clips(corpora_root):
    outer = scan("emodb", corpora_root / "emodb", check_audio=False)
    assert scan("emodb", corpora_root / "emodb" / "wav", check_audio=False) == outer


def test_a_part_of_a_corpus_is_read_and_the_deviations_say_so(corpora_root):
    found = scan("ravdess", corpora_root / "ravdess" / "Actor_01", check_audio=False)
    assert len(found.utterances) == 60
    assert "speakers: 1 were found, 24 are published." in found.deviations
    assert "anger: 8 clips are usable, 192 are published." in found.deviations


def test_a_scan_survives_the_manifest(corpora_root, tmp_path):
    clips = scan("emodb", corpora_root / "emodb", check_audio=False).utterances
    write_manifest(tmp_path / "emodb.csv", clips)
    assert read_manifest(tmp_path / "emodb.csv").utterances == clips


def test_the_emobox_list_of_urdu_finds_its_audio_and_its_speakers(corpora_root, emobox_root):
    listed = scan("emobox", emobox_root / "urdu", audio_root=corpora_root)
    native = scan("urdu", corpora_root / "urdu")
    assert sorted(listed.utterances, key=lambda clip: clip.id) == sorted(native.utterances, key=lambda clip: clip.id)
    assert listed.skipped == ()


def test_the_emobox_fold_of_urdu_has_its_split_and_shares_speakers(corpora_root, emobox_root):
    fold = scan("emobox", emobox_root / "urdu", audio_root=corpora_root / "urdu", fold=1)
    sizes = Counter(clip.split for clip in fold.utterances)
    assert sizes == {"train": 300, "test": 100}
    speakers = {split: {clip.speaker for clip in fold.utterances if clip.split == split} for split in sizes}
    assert len(speakers["test"]) == 19
    assert len(speakers["test"] & speakers["train"]) == 18


def test_a_fold_that_does_not_exist_is_refused_with_those_that_do(corpora_root, emobox_root):
    with pytest.raises(CorpusError, match=r"the folds \[1\]"):
        scan("emobox", emobox_root / "urdu", audio_root=corpora_root, fold=2)


def test_emobox_without_its_audio_is_refused_with_the_option_that_helps(emobox_root, tmp_path):
    with pytest.raises(CorpusError, match="audio_root"):
        scan("emobox", emobox_root / "urdu", audio_root=tmp_path)
