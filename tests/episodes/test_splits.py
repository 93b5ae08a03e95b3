"""What is met at meta-test was not met in meta-training: no class, no speaker, no corpus."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from manifests import grid, manifests, utterance

from ser_fewshot.episodes.splits import split_by_class, split_by_corpus, split_by_speaker, split_every_class
from ser_fewshot.errors import EpisodeError

CLIPS = grid(corpora=("a", "b", "c"), speakers=5, texts=2, takes=1)


def test_classes_are_disjoint_and_nothing_is_lost():
    for held_out in (["e1"], ("e0", "e4"), {"e0", "e1", "e2", "e3"}, "e1", iter(["e1", "e2"])):
        train, test = split_by_class(CLIPS, held_out)
        emotions = {item.emotion for item in test}
        assert not {item.emotion for item in train} & emotions
        assert len(train) + len(test) == len(CLIPS)
    assert emotions == {"e1", "e2"}  # an iterator of names is read once


def test_corpora_are_disjoint_and_nothing_is_lost():
    for held_out in (["a"], ["c", "b"], "b"):
        train, test = split_by_corpus(CLIPS, held_out)
        assert {item.corpus for item in test} == set(held_out)
        assert not {item.corpus for item in train} & set(held_out)
        assert len(train) + len(test) == len(CLIPS)


def test_speakers_are_disjoint_and_every_corpus_is_in_both_parts():
    for fraction, held_out in ((0.2, 1), (0.4, 2), (0.5, 2), (0.01, 1), (0.99, 4)):
        train, test = split_by_speaker(CLIPS, test_fraction=fraction, seed=1)
        assert not {item.speaker_key for item in train} & {item.speaker_key for item in test}
        assert len(train) + len(test) == len(CLIPS)
        for corpus in "abc":
            assert len({item.speaker for item in test if item.corpus == corpus}) == held_out
            assert len({item.speaker for item in train if item.corpus == corpus}) == 5 - held_out


@given(manifests(), st.floats(0.01, 0.99), st.integers(0, 2**32))
@settings(max_examples=60, deadline=None)
def test_any_manifest_with_speakers_is_parted_or_refused(utterances, fraction, seed):
    try:
        train, test = split_by_speaker(utterances, test_fraction=fraction, seed=seed)
    except EpisodeError:
        speakers: dict[str, set[str | None]] = {}
        for item in utterances:
            speakers.setdefault(item.corpus, set()).add(item.speaker)
        assert not speakers or any(len(names) < 2 or None in names for names in speakers.values())
    else:
        assert not {item.speaker_key for item in train} & {item.speaker_key for item in test}
        assert len(train) + len(test) == len(utterances)
        assert {item.corpus for item in train} == {item.corpus for item in test}


def test_the_speakers_held_out_depend_on_the_seed_and_not_on_the_order():
    chosen = {
        seed: {item.speaker_key for item in split_by_speaker(CLIPS, test_fraction=0.4, seed=seed)[1]}
        for seed in range(5)
    }
    for seed, speakers in chosen.items():
        test = split_by_speaker(CLIPS[::-1], test_fraction=0.4, seed=seed)[1]
        assert {item.speaker_key for item in test} == speakers
    assert len({frozenset(speakers) for speakers in chosen.values()}) > 1


@pytest.mark.parametrize("fraction", [0.2, 0.99])
def test_the_conventional_split_holds_out_the_same_share_of_every_class_and_nothing_is_lost(fraction):
    train, test = split_every_class(CLIPS, test_fraction=fraction, seed=0)
    assert sorted(clip.id for clip in train + test) == sorted(clip.id for clip in CLIPS)
    assert not {clip.id for clip in train} & {clip.id for clip in test}
    for corpus in {clip.corpus for clip in CLIPS}:
        for emotion in {clip.emotion for clip in CLIPS}:
            of_class = [clip for clip in CLIPS if (clip.corpus, clip.emotion) == (corpus, emotion)]
            held_out = [clip for clip in test if clip in of_class]
            assert len(held_out) == min(max(round(fraction * len(of_class)), 1), len(of_class) - 1)


def test_the_conventional_split_depends_on_the_seed_and_not_on_the_order_and_shares_speakers():
    parts = {seed: split_every_class(CLIPS, test_fraction=0.4, seed=seed) for seed in range(3)}
    for seed, (train, test) in parts.items():
        assert set(split_every_class(CLIPS[::-1], test_fraction=0.4, seed=seed)[1]) == set(test)
        assert {clip.speaker_key for clip in train} & {clip.speaker_key for clip in test}
    assert len({frozenset(clip.id for clip in test) for _, test in parts.values()}) == 3


def test_a_class_of_one_clip_cannot_be_on_both_sides():
    clips = [*CLIPS, utterance(99999, "envy", "s0")]
    with pytest.raises(EpisodeError, match="envy: found 1 clip; expected at least 2"):
        split_every_class(clips, test_fraction=0.2, seed=0)


def test_utterances_stay_in_their_order():
    for train, test in (
        split_by_class(CLIPS, ["e1"]),
        split_by_speaker(CLIPS, test_fraction=0.4, seed=0),
        split_every_class(CLIPS, test_fraction=0.4, seed=0),
    ):
        for part in (train, test):
            assert list(part) == [item for item in CLIPS if item in set(part)]


def test_a_clip_without_an_emotion_is_in_neither_part():
    clips = [*CLIPS, utterance(99999, None, "s0")]
    for train, test in (split_by_class(clips, ["e0"]), split_every_class(clips, test_fraction=0.2, seed=0)):
        assert len(train) + len(test) == len(CLIPS)


def test_holding_out_what_does_not_occur_nothing_or_everything_is_refused():
    for held_out, found in (
        (["joy"], "found joy to hold out; expected some, not all, of e0, e1, e2, e3, e4"),
        (["e0", "joy"], "found joy to hold out"),
        ([], "found nothing to hold out"),
        ("", "found"),
        (["e0", "e1", "e2", "e3", "e4"], "found e0, e1, e2, e3, e4 to hold out"),
        (["E0"], "found E0 to hold out"),
    ):
        with pytest.raises(EpisodeError, match=f"split by emotion: {found}"):
            split_by_class(CLIPS, held_out)
    for split in (split_by_class, split_by_corpus):
        with pytest.raises(EpisodeError, match="some, not all, of nothing"):
            split([], ["e0"])


def test_an_error_about_thousands_of_names_stays_short():
    clips = [utterance(number, f"emotion {number}", "s") for number in range(3_000)]
    with pytest.raises(EpisodeError, match="and 2980 more") as caught:
        split_by_class(clips, ["joy"])
    assert len(str(caught.value)) < 600


def test_speakers_that_cannot_be_parted_are_refused():
    for clips, fraction, seed, found in (
        (CLIPS, 0.0, 0, "test_fraction 0.0"),
        (CLIPS, 1.0, 0, "test_fraction 1.0"),
        (CLIPS, -0.2, 0, "test_fraction -0.2"),
        (CLIPS, float("nan"), 0, "test_fraction nan"),
        (CLIPS, 0.2, -1, "seed -1"),
        ([*CLIPS, replace(CLIPS[0], id="x", speaker=None)], 0.2, 0, "x: found no speaker"),
        ([*CLIPS, utterance(0, "e0", "s", corpus="d")], 0.2, 0, "d: found 1 speaker"),
        ([], 0.2, 0, "nothing"),
    ):
        with pytest.raises(EpisodeError, match=found):
            split_by_speaker(clips, test_fraction=fraction, seed=seed)
