"""Episodes hold what their spec promises, on any manifest, in any order and process, or are refused at once."""

from __future__ import annotations

import itertools
import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from manifests import grid, manifests, utterance

from ser_fewshot.corpora import Utterance, scan
from ser_fewshot.episodes import Episode, EpisodeSampler, EpisodeSpec, class_numbers
from ser_fewshot.episodes import sampler as module
from ser_fewshot.errors import EpisodeError

FEW = 6  # choices of classes, where giving up early does no harm
PROTOCOLS = [
    *itertools.product(["emotion"], ["disjoint", "same", "any"]),
    *itertools.product(["speaker", "emotion_x_speaker"], ["same", "any"]),
]
SPECS = st.builds(
    lambda protocol, **rest: EpisodeSpec(label=protocol[0], query_speaker=protocol[1], **rest),
    st.sampled_from(PROTOCOLS),
    n_way=st.integers(2, 4),
    k_shot=st.integers(1, 4),
    n_query=st.integers(1, 4),
    query_text=st.sampled_from(["any", "different"]),
    mix_corpora=st.booleans(),
)


def sampler(
    utterances: Sequence[Utterance], spec: EpisodeSpec, *, seed: int = 0, choices: int = FEW
) -> EpisodeSampler | None:
    """A sampler that gives up early; None where it refuses."""
    with mock.patch.object(module, "_CHOICES", choices):
        try:
            return EpisodeSampler(utterances, spec, seed=seed)
        except EpisodeError:
            return None


def check(episode: Episode, spec: EpisodeSpec, utterances: Iterable[Utterance]) -> None:
    """Hold an episode against everything that its spec promises."""
    by_id = {item.id: item for item in utterances}
    support, query = ([[by_id[name] for name in part] for part in side] for side in (episode.support, episode.query))
    assert len(episode.classes) == len(set(episode.classes)) == spec.n_way
    assert [len(part) for part in support] == [spec.k_shot] * spec.n_way
    assert [len(part) for part in query] == [spec.n_query] * spec.n_way
    for label, *parts in zip(episode.classes, support, query, strict=True):
        assert {item.label(spec.label) for part in parts for item in part} == {label}
    asked, shown = ([item for part in side for item in part] for side in (query, support))
    everything = [*asked, *shown]
    assert len({item.id for item in everything}) == len(everything)
    if not spec.mix_corpora:
        assert len({item.corpus for item in everything}) == 1
    if spec.query_speaker == "disjoint":
        assert not {item.speaker_key for item in shown} & {item.speaker_key for item in asked}
        assert None not in {item.speaker_key for item in everything}
    if spec.query_speaker == "same":
        for group in (
            [everything] if spec.label == "emotion" else [[*s, *q] for s, q in zip(support, query, strict=True)]
        ):
            assert len({item.speaker_key for item in group}) == 1
            assert group[0].speaker is not None
    if spec.query_text == "different":
        assert not ({item.text_key for item in shown} & {item.text_key for item in asked}) - {None}


@given(manifests(), SPECS, st.integers(0, 2**32), st.integers(0, 10**6))
@settings(max_examples=100, deadline=None)
def test_every_episode_holds_what_its_spec_promises(utterances, spec, seed, index):
    drawn = sampler(utterances, spec, seed=seed)
    assume(drawn is not None)
    for number in (0, 1, index):
        with mock.patch.object(module, "_CHOICES", FEW):
            try:
                episode = drawn.draw(number)
            except EpisodeError:
                continue
        assert episode.index == number
        check(episode, spec, utterances)


@given(manifests(), SPECS, st.randoms(use_true_random=False))
@settings(max_examples=30, deadline=None)
def test_the_order_of_the_manifest_and_of_the_draws_does_not_matter(utterances, spec, chance):
    first = sampler(utterances, spec)
    assume(first is not None)
    shuffled = utterances.copy()
    chance.shuffle(shuffled)
    second = sampler(shuffled, spec)
    assert first.excluded == second.excluded
    numbers = [5, 0, 3]
    forwards = {number: first.draw(number) for number in numbers}
    assert {number: second.draw(number) for number in reversed(numbers)} == forwards
    assert first.draw(3) == forwards[3]


def possible(utterances: Iterable[Utterance], spec: EpisodeSpec) -> bool:
    """Whether any episode exists, by trying every set of classes and every parting of speakers and sentences."""
    known = [item for item in utterances if item.label(spec.label) is not None]
    if spec.query_speaker != "any":
        known = [item for item in known if item.speaker is not None]
    pools: dict[object, list[Utterance]] = {}
    for item in known:
        corpus = None if spec.mix_corpora else item.corpus
        alone = spec.query_speaker == "same" and spec.label == "emotion"
        pools.setdefault((corpus, item.speaker_key if alone else None), []).append(item)
    return any(serves(pool, side, spec) for pool in pools.values() for side in partings(pool, spec))


def partings(pool: Sequence[Utterance], spec: EpisodeSpec) -> Iterable[frozenset[str]]:
    keys = {item.speaker_key for item in pool} if spec.query_speaker == "disjoint" else set()
    keys |= {item.text_key for item in pool} if spec.query_text == "different" else set()
    names = sorted(keys - {None})
    for size in range(len(names) + 1):
        yield from map(frozenset, itertools.combinations(names, size))


def serves(pool: Sequence[Utterance], side: frozenset[str], spec: EpisodeSpec) -> bool:
    """Whether enough classes find their clips when the speakers or sentences of `side` are those of the support."""
    good = 0
    for label in {item.label(spec.label) for item in pool}:
        where = Counter()
        for item in pool:
            key = item.speaker_key if spec.query_speaker == "disjoint" else None
            key = item.text_key if spec.query_text == "different" else key
            parted = spec.query_speaker == "disjoint" or spec.query_text == "different"
            if item.label(spec.label) == label:
                where["either" if not parted or key is None else "support" if key in side else "query"] += 1
        lacking = max(spec.k_shot - where["support"], 0) + max(spec.n_query - where["query"], 0)
        good += lacking <= where["either"]
    return good >= spec.n_way


@given(manifests(corpora=2, speakers=4, texts=4), SPECS)
@settings(max_examples=60, deadline=None)
def test_a_spec_is_refused_exactly_where_no_episode_exists(utterances, spec):
    assume(spec.query_speaker != "disjoint" or spec.query_text == "any")
    assert (sampler(utterances, spec, choices=200) is not None) == possible(utterances, spec)


# Purity


def test_seeds_and_indices_give_different_episodes():
    clips, spec = grid(), EpisodeSpec(n_way=3, k_shot=2, n_query=2)
    drawn = [EpisodeSampler(clips, spec, seed=seed).draw(index) for seed in range(5) for index in range(20)]
    assert len({(item.classes, item.support, item.query) for item in drawn}) == len(drawn)


def test_many_draws_are_the_draws_one_by_one():
    drawn = EpisodeSampler(grid(), EpisodeSpec(n_way=3, k_shot=2, n_query=2), seed=3)
    assert drawn.draw_many(4) == tuple(drawn.draw(index) for index in range(4))
    assert drawn.draw_many(0) == ()


@pytest.mark.parametrize("mix_corpora", [False, True])
def test_a_harder_episode_holds_what_failed_and_fills_up_with_the_rest(mix_corpora):
    utterances = grid(emotions=6, speakers=4, takes=3)
    spec = EpisodeSpec(n_way=4, k_shot=1, n_query=2, mix_corpora=mix_corpora)
    drawn = EpisodeSampler(utterances, spec, seed=3)
    first, second, *_ = sorted({item.emotion for item in utterances if item.emotion})
    corpus = "" if mix_corpora else utterances[0].corpus
    places = Counter()
    for index in range(60):
        episode = drawn.draw_harder(index, {corpus: {first, second, "no such class"}, "no such corpus": {first}})
        check(episode, spec, utterances)
        assert {first, second} < set(episode.classes)
        assert episode == drawn.draw_harder(index, {corpus: {second, first}})
        assert episode != drawn.draw(index)
        places[episode.classes.index(first)] += 1
    assert set(places) == {0, 1, 2, 3}  # the number of a class must not say that it failed


def test_the_corpus_of_a_harder_episode_is_one_where_classes_failed():
    one, other = (
        [replace(item, corpus=name, id=f"{name}/{item.id}") for item in grid(emotions=4, speakers=4, takes=3)]
        for name in "ab"
    )
    spec = EpisodeSpec(n_way=3, k_shot=1, n_query=1)
    drawn = EpisodeSampler([*one, *other], spec)
    failed = one[0].emotion
    for index in range(20):
        episode = drawn.draw_harder(index, {"b": {failed}})
        assert all(clip.startswith("b/") for part in episode.query for clip in part)


def test_a_harder_episode_of_nothing_that_failed_is_refused():
    drawn = EpisodeSampler(grid(emotions=4, speakers=4, takes=3), EpisodeSpec(n_way=3, k_shot=1, n_query=1))
    for failed in ({}, {"elsewhere": {"anger"}}, {"": set()}):
        with pytest.raises(EpisodeError, match="none of them among the classes that failed"):
            drawn.draw_harder(0, failed)


def test_another_process_draws_the_same_episodes():
    code = (
        "from manifests import grid; from ser_fewshot.episodes import *; print(EpisodeSampler("
        "grid(corpora=('b', 'a')), EpisodeSpec(n_way=3, k_shot=2, n_query=2), seed=7).draw_many(3))"
    )
    environment, tests = {**os.environ, "PYTHONHASHSEED": "1"}, Path(__file__).parents[1]
    line = [sys.executable, "-c", code]
    other = subprocess.run(line, cwd=tests, env=environment, capture_output=True, text=True, check=True)
    drawn = EpisodeSampler(grid(corpora=("b", "a")), EpisodeSpec(n_way=3, k_shot=2, n_query=2), seed=7)
    assert other.stdout.strip() == repr(drawn.draw_many(3))


def test_drawing_touches_no_global_generator():
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002
    before = random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002
    EpisodeSampler(grid(), EpisodeSpec(n_way=3, k_shot=2, n_query=2)).draw_many(5)
    assert (random.getstate(), np.random.get_state()[1].tolist()) == before  # noqa: NPY002


# Fairness


def unequal() -> list[Utterance]:
    """Six classes of 8 to 258 clips by five speakers; the smallest is hard to part."""
    sizes = [8, 10, 20, 40, 80, 258]
    cells = [(f"e{size}", f"s{number % 5}", f"t{number % 7}") for size in sizes for number in range(size)]
    return [utterance(number, *cell) for number, cell in enumerate(cells)]


@pytest.mark.parametrize(
    "rest",
    [
        {"query_speaker": "any", "query_text": "different"},
        {"query_speaker": "disjoint", "mix_corpora": True},
    ],
    ids=str,
)
def test_classes_are_drawn_about_equally_often_whatever_their_size(rest):
    drawn = EpisodeSampler(unequal(), EpisodeSpec(n_way=3, k_shot=3, n_query=3, **rest)).draw_many(800)
    counts = Counter(label for episode in drawn for label in episode.classes)
    assert len(counts) == 6
    for count in counts.values():
        assert abs(count - 400) < 70  # five standard deviations
    numbered = Counter(episode.classes[0] for episode in drawn)
    assert min(numbered.values()) > 80  # no class is always the first


def test_corpora_and_single_speakers_are_drawn_about_equally_often():
    clips = [*grid(corpora=("big",), speakers=12), *grid(corpora=("small",), speakers=3)]
    apart = EpisodeSampler(clips, EpisodeSpec(n_way=3, k_shot=2, n_query=2)).draw_many(400)
    assert 150 < sum(episode.support[0][0].startswith("big") for episode in apart) < 250
    by_id = {item.id: item for item in clips}
    alone = EpisodeSampler(clips[:480], EpisodeSpec(n_way=3, k_shot=2, n_query=2, query_speaker="same")).draw_many(600)
    speakers = Counter(by_id[episode.support[0][0]].speaker for episode in alone)
    assert len(speakers) == 12
    assert 20 < min(speakers.values()) <= max(speakers.values()) < 85


def test_clips_of_a_class_are_support_and_query_about_equally_often():
    clips = grid(emotions=2, speakers=4, texts=5, takes=1)
    spec = EpisodeSpec(n_way=2, k_shot=3, n_query=3)
    drawn = EpisodeSampler(clips, spec).draw_many(800)
    for part in ("support", "query"):
        counts = Counter(name for episode in drawn for members in getattr(episode, part) for name in members)
        assert len(counts) == 40
        assert 70 < min(counts.values()) <= max(counts.values()) < 175  # 120 on average


def test_every_parting_of_the_speakers_occurs():
    clips = grid(emotions=2, speakers=4, texts=8, takes=1)
    by_id = {item.id: item for item in clips}
    drawn = EpisodeSampler(clips, EpisodeSpec(n_way=2, k_shot=8, n_query=8)).draw_many(300)
    sides = {frozenset(by_id[name].speaker for part in episode.support for name in part) for episode in drawn}
    assert {len(side) for side in sides} == {1, 2, 3}
    assert len(sides) == 14


# Specs


def test_every_legal_protocol_is_taken_and_says_what_it_is():
    clips = grid(corpora=("a", "b"))
    for (label, query_speaker), query_text, mix_corpora in itertools.product(
        PROTOCOLS, ["any", "different"], [False, True]
    ):
        given = {"label": label, "query_speaker": query_speaker, "query_text": query_text, "mix_corpora": mix_corpora}
        spec = EpisodeSpec(n_way=2, k_shot=1, n_query=1, **given)
        words = str(spec)
        assert words.startswith(f"2-way 1-shot by {label}, query speaker {query_speaker}")
        assert ("query text different" in words) == (query_text == "different")
        assert ("corpora mixed" in words) == mix_corpora
        check(EpisodeSampler(clips, spec).draw(0), spec, clips)


@pytest.mark.parametrize("name", ["n_way", "k_shot", "n_query", "label", "query_speaker", "query_text", "mix_corpora"])
def test_an_illegal_spec_is_refused_by_the_name_of_the_field(name):
    wrong = {
        "n_way": [1, 0, -1, 2.0, "3", True, None],
        "label": ["gender", None, ["emotion"]],
        "query_speaker": ["Disjoint", True],
        "query_text": ["same"],
        "mix_corpora": ["no", 1, None],
    }
    for value in wrong.get(name, [0, -1, 2.0, "3", True, None]):
        with pytest.raises(EpisodeError) as caught:
            EpisodeSpec(**{name: value})
        assert caught.value.subject == name
    for label in ("speaker", "emotion_x_speaker"):
        with pytest.raises(EpisodeError, match="query_speaker: found 'disjoint' with the label"):
            EpisodeSpec(label=label)


def test_an_illegal_seed_or_index_is_refused():
    spec = EpisodeSpec(n_way=2, k_shot=1, n_query=1)
    sampler = EpisodeSampler(grid(), spec)
    for value in (-1, 1.0, "0", None, True):
        with pytest.raises(EpisodeError, match="seed"):
            EpisodeSampler(grid(), spec, seed=value)
        with pytest.raises(EpisodeError, match="index"):
            sampler.draw(value)


# Refusals


SMALL = {"emotions": 3, "speakers": 4, "texts": 2, "takes": 2}  # 48 clips: 16 of each emotion, 4 of each speaker in it


IMPOSSIBLE = [
    ({"n_way": 4}, "4 classes", "3 such classes of one corpus"),
    ({"k_shot": 10, "n_query": 7}, "10 support and 7 query", "at most 16 clips with a known speaker, 17 needed"),
    ({"k_shot": 9, "n_query": 5}, "9 support and 5 query", "16 clips, whose 4 speakers cannot be parted"),
    ({"query_text": "different", "k_shot": 9}, "9 support and 2 query", "2 sentences cannot be parted"),
    (
        {"query_speaker": "any", "query_text": "different", "k_shot": 9},
        "9 support and 2 query",
        "2 sentences cannot be parted",
    ),
    (
        {"query_speaker": "same", "k_shot": 3},
        "3 classes of one corpus by one speaker",
        "4 clips by one speaker, 5 needed",
    ),
    ({"label": "speaker", "query_speaker": "same", "n_way": 5}, "5 classes", "4 such classes of one corpus"),
    (
        {"label": "emotion_x_speaker", "query_speaker": "same", "k_shot": 4, "n_query": 1},
        "4 support and 1 query",
        "at most 4 clips, 5 needed",
    ),
    ({"query_text": "different", "k_shot": 5, "n_query": 8}, "5 support and 8 query", "4 speakers and 2 sentences"),
]


def test_what_cannot_be_drawn_is_refused_at_construction_with_both_numbers(subtests):
    for rest, asked, there in IMPOSSIBLE:
        spec = EpisodeSpec(**{"n_way": 3, "k_shot": 2, "n_query": 2, **rest})
        with subtests.test(f"{rest}"), mock.patch.object(module, "_CHOICES", 20):
            with pytest.raises(EpisodeError) as caught:
                EpisodeSampler(grid(**SMALL), spec)
            assert asked in caught.value.expected
            assert there in caught.value.found


def test_classes_that_fit_alone_but_not_together_are_refused():
    # Each emotion fits one parting of the two speakers, and the two partings are opposite.
    clips = [utterance(number, "anger", "s1" if number < 5 else "s2") for number in range(20)]
    clips += [utterance(number, "joy", "s2" if number < 25 else "s1") for number in range(20, 40)]
    with mock.patch.object(module, "_CHOICES", 20), pytest.raises(EpisodeError, match="no way to part 2 speakers"):
        EpisodeSampler(clips, EpisodeSpec(n_way=2, k_shot=5, n_query=15))


def test_a_parting_that_one_set_of_classes_needs_is_found():
    # Of a million partings twenty serve: one of the twenty speakers is heard in the support.
    cells = [(emotion, f"s{speaker}") for emotion in ("anger", "joy") for speaker in range(20) for _ in range(3)]
    clips = [utterance(number, *cell) for number, cell in enumerate(cells)]
    spec = EpisodeSpec(n_way=2, k_shot=3, n_query=57)
    for episode in EpisodeSampler(clips, spec).draw_many(50):
        check(episode, spec, clips)


def test_a_manifest_without_labels_or_clips_is_refused_in_words():
    for clips in ([], [utterance(0, None, None)], [utterance(0, "joy", "s")]):
        with pytest.raises(EpisodeError, match=rf"found 0 such classes.* in {len(clips)} clips"):
            EpisodeSampler(clips, EpisodeSpec())


def test_repeated_ids_are_refused_quickly():
    with pytest.raises(EpisodeError, match="1 repeated id, such as c/00007"):
        EpisodeSampler([*grid(), grid()[7]], EpisodeSpec(n_way=2, k_shot=1, n_query=1))
    clips = [utterance(0, "joy", "s")] * 20_000 + [utterance(1, "joy", "s")] * 20_000
    begin = time.process_time()
    with pytest.raises(EpisodeError, match="39998 repeated ids, such as c/00000, c/00001"):
        EpisodeSampler(clips, EpisodeSpec())
    assert time.process_time() - begin < 3


def test_unknown_speakers_take_part_only_where_speakers_are_not_looked_at():
    clips = [replace(item, speaker=None) for item in grid()]
    with pytest.raises(EpisodeError, match="0 clips with a known speaker"):
        EpisodeSampler(clips, EpisodeSpec(n_way=2, k_shot=1, n_query=1))
    spec = EpisodeSpec(n_way=2, k_shot=1, n_query=1, query_speaker="any")
    check(EpisodeSampler(clips, spec).draw(0), spec, clips)


def test_unknown_sentences_may_stand_on_either_side():
    clips = [replace(item, text=None) for item in grid()]
    spec = EpisodeSpec(n_way=2, k_shot=8, n_query=8, query_text="different")
    check(EpisodeSampler(clips, spec).draw(0), spec, clips)


# What is left out


def test_excluded_classes_are_reported_with_the_reason():
    clips = [
        *grid(corpora=("a", "b"), emotions=3),
        *(utterance(1000 + number, "rare", f"s{number}", corpus="a") for number in range(3)),
        *(utterance(2000 + number, "solo", "s0", corpus="a") for number in range(30)),
        *(utterance(3000 + number, "nobody's", None, corpus="b") for number in range(30)),
        *grid(corpora=("tiny",), emotions=2),
    ]
    spec = EpisodeSpec(n_way=3, k_shot=2, n_query=2)
    found = EpisodeSampler(clips, spec)
    assert found.excluded == {
        "a/rare": "at most 3 clips with a known speaker, 4 needed",
        "a/solo": "30 clips, whose 1 speaker cannot be parted into 2 support and 2 query clips each",
        "b/nobody's": "at most 0 clips with a known speaker, 4 needed",
        "tiny/e0": "at most 2 such classes together, 3 needed",
        "tiny/e1": "at most 2 such classes together, 3 needed",
    }
    for episode in found.draw_many(50):
        assert set(episode.classes) == {"e0", "e1", "e2"}
    mixed = EpisodeSampler(clips, replace(spec, mix_corpora=True))
    assert sorted(mixed.excluded) == ["nobody's", "rare", "solo"]


def test_speakers_are_excluded_under_their_own_name():
    clips = [*grid(), utterance(999, "e0", "shy")]
    spec = EpisodeSpec(n_way=2, k_shot=1, n_query=1, label="speaker", query_speaker="same")
    assert EpisodeSampler(clips, spec).excluded == {"c/shy": "at most 1 clip, 2 needed"}


def test_nothing_is_excluded_where_everything_fits():
    for label, query_speaker in PROTOCOLS:
        spec = EpisodeSpec(n_way=2, k_shot=1, n_query=1, label=label, query_speaker=query_speaker)
        assert EpisodeSampler(grid(corpora=("a", "b")), spec).excluded == {}


def test_speakers_of_one_name_in_two_corpora_are_two_people():
    clips = grid(corpora=("a", "b"), speakers=2)
    spec = EpisodeSpec(n_way=4, k_shot=2, n_query=2, label="speaker", query_speaker="same", mix_corpora=True)
    assert set(EpisodeSampler(clips, spec).draw(0).classes) == {"a/s0", "a/s1", "b/s0", "b/s1"}
    with pytest.raises(EpisodeError, match="found 2 such classes of one corpus"):
        EpisodeSampler(clips, replace(spec, mix_corpora=False))


# Speed, and what goes to the learners


def test_a_thousand_draws_from_a_real_corpus_size_take_about_a_second():
    cells = [(f"e{number % 5}", f"s{number % 65}", f"t{number % 27}") for number in range(2_474)]
    clips = [utterance(number, *cell) for number, cell in enumerate(cells)]
    drawn = EpisodeSampler(clips, EpisodeSpec(n_way=5, k_shot=5, n_query=15))
    begin = time.process_time()
    drawn.draw_many(1_000)
    assert time.process_time() - begin < 3


def test_classes_are_numbered_in_their_order():
    episode = EpisodeSampler(grid(), EpisodeSpec(n_way=3, k_shot=2, n_query=4)).draw(0)
    assert class_numbers(episode.support).tolist() == [0, 0, 1, 1, 2, 2]
    assert class_numbers(episode.query).tolist() == [0] * 4 + [1] * 4 + [2] * 4


@pytest.mark.corpus
@pytest.mark.parametrize("corpus", ["ased", "emodb", "ravdess", "urdu"])
def test_real_corpora_give_episodes_of_every_protocol(corpora_root, corpus):
    clips = scan(corpus, corpora_root / corpus, check_audio=False).utterances
    for label, query_speaker in PROTOCOLS:
        spec = EpisodeSpec(n_way=2, k_shot=2, n_query=2, label=label, query_speaker=query_speaker)
        for episode in EpisodeSampler(clips, spec).draw_many(20):
            check(episode, spec, clips)
