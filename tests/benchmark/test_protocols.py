"""Protocols on a corpus: nothing of the test is met in training, and what differs for a small corpus is noted."""

from __future__ import annotations

import dataclasses

import pytest
from manifests import grid

from ser_fewshot.benchmark.protocols import PROTOCOLS, Case, LeftOut, cases, split_of
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


def on_each(utterances, name):
    protocol = next(protocol for protocol in PROTOCOLS if protocol.name == name)
    return {one.corpus: one for one in cases(utterances, [protocol], seed=0)}


@pytest.mark.parametrize("protocol", PROTOCOLS[:1] + PROTOCOLS[2:4] + PROTOCOLS[6:], ids=lambda one: one.name)
def test_what_is_tested_was_not_met_in_training(protocol):
    for one in on_each(rich(), protocol.name).values():
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


def test_a_new_voice_speaks_all_queries_and_the_clips_that_it_is_known_from():
    found = {name: on_each(rich(), name)["a"] for name in ("new-voice-context-4", "new-voice-session")}
    assert [one.protocol.session for one in found.values()] == [False, True]
    for one in found.values():
        assert one.protocol.voice
        who = {clip.id: clip.speaker_key for clip in one.test}
        for episode in EpisodeSampler(one.test, one.spec).draw_many(3):
            assert len({who[clip] for part in (*episode.query, episode.context) for clip in part}) == 1
            assert len(episode.context) == one.spec.context


def test_a_small_corpus_has_fewer_ways_or_queries_and_a_note():
    one = on_each(clips(emotions=3), "cross-corpus-5-shot")["a"]
    assert one.spec.n_way == 3
    assert "3 ways instead of 4: the corpus has no more emotions" in one.notes
    one = on_each(clips(speakers=4, texts=3), "cross-corpus-5-shot")["a"]
    assert one.spec.n_way == 4
    assert one.spec.n_query < 10
    assert any("queries a class instead of 10" in note for note in one.notes)


def test_a_corpus_that_cannot_serve_a_protocol_is_left_out_with_the_reason():
    utterances = clips(speakers=8)
    assert on_each(utterances, "speakers-5-way-1-shot")["a"].spec.n_way == 5
    one = on_each(utterances, "speakers-20-way-5-shot")["a"]
    assert isinstance(one, LeftOut)
    assert one.reason.startswith("found 8 such classes of one corpus")
    assert "expected at least 20 classes" in one.reason
    alone = on_each(clips(corpora=("a",)), "cross-corpus-1-shot")["a"]
    assert alone.reason == "found no other corpus; expected a second one to train on"
    assert "to hold out" in on_each(clips(emotions=4), "unseen-classes-5-shot")["a"].reason


def test_nothing_is_trained_on_a_corpus_of_one_speaker_and_it_is_noted():
    few = tuple(dataclasses.replace(clip, speaker="s0") for clip in clips(corpora=("c",)))
    found = on_each((*clips(), *few), "cross-corpus-5-shot")
    assert {clip.corpus for clip in found["a"].train} == {"b"}
    assert found["a"].notes == ("nothing was trained on c, which has one speaker",)
    alone = on_each((*clips(corpora=("a",)), *few), "cross-corpus-5-shot")["a"]
    assert isinstance(alone, LeftOut)
    assert alone.reason == "found one speaker in c; expected a corpus of two speakers to train on"


def test_the_digest_of_a_split_is_that_of_its_clips_and_not_of_their_order():
    one = on_each(clips(), "unseen-speakers-5-shot")["a"]
    assert isinstance(one, Case)
    split = split_of(one.split, one.train, one.test)
    assert split == split_of(one.split, one.train[::-1], one.test[::-1])
    assert split.sha256 != split_of(one.split, one.test, one.train).sha256
    assert split.test[0].speakers + split.train[0].speakers == 8
