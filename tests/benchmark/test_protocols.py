"""What each corpus is asked: as much as it can give, what was changed said, and nothing met before."""

from __future__ import annotations

import dataclasses

import pytest
from manifests import grid

from ser_fewshot.benchmark.protocols import PROTOCOLS, LeftOut, Question, questions, split_of
from ser_fewshot.episodes import EpisodeSampler

NAMES = {f"e{number}": name for number, name in enumerate(("anger", "fear", "happiness", "sadness", "neutral"))}


def clips(*, corpora=("a", "b"), emotions=4, speakers=8, texts=4, takes=1):
    found = grid(corpora=corpora, emotions=emotions, speakers=speakers, texts=texts, takes=takes)
    return tuple(dataclasses.replace(clip, emotion=NAMES[clip.emotion]) for clip in found)


def rich(corpora=("a", "b")):
    extra = ("disgust", "surprise")
    found = clips(corpora=corpora, emotions=5, texts=8)
    more = [
        dataclasses.replace(clip, id=f"{clip.id}-{name}", emotion=name)
        for name in extra
        for clip in found
        if clip.emotion == "anger"
    ]
    return (*found, *more)


def asked(utterances, name):
    protocol = next(protocol for protocol in PROTOCOLS if protocol.name == name)
    return {one.corpus: one for one in questions(utterances, [protocol], seed=0)}


@pytest.mark.parametrize("protocol", PROTOCOLS, ids=lambda protocol: protocol.name)
def test_what_is_tested_was_not_met_in_training(protocol):
    for one in asked(rich(), protocol.name).values():
        if isinstance(one, LeftOut):
            assert protocol.name == "speakers-20-way-5-shot"
            continue
        train, test = one.train, one.test
        assert {clip.corpus for clip in test} == {one.corpus}
        assert not {clip.speaker_key for clip in train} & {clip.speaker_key for clip in test}
        if protocol.new == "corpus":
            assert one.corpus not in {clip.corpus for clip in train}
        if protocol.new == "classes":
            assert {clip.emotion for clip in test} == {"disgust", "fear", "surprise"}
            assert not {clip.emotion for clip in train} & {clip.emotion for clip in test}
        EpisodeSampler(test, one.spec).draw_many(3)


def test_a_corpus_with_fewer_emotions_is_asked_fewer_and_it_is_said():
    one = asked(clips(emotions=3), "cross-corpus-5-shot")["a"]
    assert one.spec.n_way == 3
    assert "3 ways instead of 4: the corpus has no more emotions" in one.notes


def test_a_small_corpus_is_asked_fewer_queries_and_it_is_said():
    one = asked(clips(speakers=4, texts=3), "cross-corpus-5-shot")["a"]
    assert one.spec.n_way == 4
    assert one.spec.n_query < 10
    assert any("queries a class instead of 10" in note for note in one.notes)


def test_a_corpus_with_too_few_speakers_is_left_out_and_not_asked_fewer():
    utterances = clips(speakers=8)
    assert asked(utterances, "speakers-5-way-1-shot")["a"].spec.n_way == 5
    one = asked(utterances, "speakers-20-way-5-shot")["a"]
    assert isinstance(one, LeftOut)
    assert one.reason.startswith("found 8 such classes of one corpus")
    assert "expected at least 20 classes" in one.reason


def test_nothing_is_trained_on_a_corpus_of_one_speaker_and_it_is_said():
    few = tuple(dataclasses.replace(clip, speaker="s0") for clip in clips(corpora=("c",)))
    found = asked((*clips(), *few), "cross-corpus-5-shot")
    assert {clip.corpus for clip in found["a"].train} == {"b"}
    assert found["a"].notes == ("nothing was trained on c, which has one speaker",)
    alone = asked((*clips(corpora=("a",)), *few), "cross-corpus-5-shot")["a"]
    assert isinstance(alone, LeftOut)
    assert alone.reason == "found one speaker in c; expected a corpus of two speakers to train on"


def test_a_single_corpus_cannot_be_left_out_of_training():
    one = asked(clips(corpora=("a",)), "cross-corpus-1-shot")["a"]
    assert isinstance(one, LeftOut)
    assert one.reason == "found no other corpus; expected a second one to train on"


def test_a_corpus_with_few_emotions_has_none_to_hold_out():
    one = asked(clips(emotions=4), "unseen-classes-5-shot")["a"]
    assert isinstance(one, LeftOut)
    assert "to hold out" in one.reason


def test_the_digest_of_a_split_is_that_of_its_clips_and_not_of_their_order():
    one = asked(clips(), "unseen-speakers-5-shot")["a"]
    assert isinstance(one, Question)
    split = split_of(one.split, one.train, one.test)
    assert split == split_of(one.split, one.train[::-1], one.test[::-1])
    assert split.sha256 != split_of(one.split, one.test, one.train).sha256
    assert split.test[0].speakers + split.train[0].speakers == 8
