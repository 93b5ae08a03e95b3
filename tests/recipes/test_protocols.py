"""The committed episodes of recipes/episodes: there, whole, small, and what the command would freeze again."""

from __future__ import annotations

import itertools
import json

import _emogator
import _protocols
import freeze_episodes
import pytest
from _protocols import EPISODES, PROTOCOLS
from manifests import grid, utterance

from ser_fewshot import corpora
from ser_fewshot.episodes import EpisodeSampler, EpisodeSpec
from ser_fewshot.episodes.frozen import episodes_hash, load_episodes

ROOT = EPISODES.parents[1]
LISTS = sorted(EPISODES.glob("*.jsonl.gz"))
EVERY = {"emotions", "speakers_5_way"}
GIVES = {
    "ased": EVERY | {"emotions_same_speaker", "speakers_20_way"},
    "emodb": EVERY | {"emotions_same_speaker"},  # ten speakers
    "ravdess": EVERY | {"emotions_same_speaker", "speakers_20_way"},
    "urdu": EVERY,  # most of its speakers have one emotion
}


def test_every_corpus_has_600_episodes_of_each_protocol_that_it_can_give_on_which_results_were_scored():
    for corpus, protocols in GIVES.items():
        lists = _protocols.frozen(corpus)
        assert set(lists) == protocols
        for name, (episodes, spec) in lists.items():
            assert spec == PROTOCOLS[name]
            assert [episode.index for episode in episodes] == list(range(600))
            assert all(clip.startswith(f"{corpus}/") for part in episodes[0].query for clip in part)
        result = json.loads((ROOT / "recipes" / "results" / f"leave_out_{corpus}.json").read_text(encoding="utf-8"))
        hashes = {score["episodes_sha256"] for score in result["learners"].values()}
        assert hashes == {episodes_hash(lists["emotions"][0])}
    of_emogator = {*_emogator.UNSEEN, *_emogator.ALL_EMOTIONS}
    assert len(LISTS) == sum(map(len, GIVES.values())) + len(of_emogator) == len(list(EPISODES.iterdir())) - 1
    assert sum(path.stat().st_size for path in LISTS) < 3_000_000


def test_emogator_is_parted_into_disjoint_emotions_and_speakers_and_its_lists_are_of_the_test_part():
    split = _emogator.Split.read()
    for parts, sizes in ((split.emotions, (18, 4, 8)), (split.speakers, (214, 72, 71))):
        assert tuple(len(parts[part]) for part in _emogator.PARTS) == sizes
        assert len({name for part in parts.values() for name in part}) == sum(sizes)
    emotions, speakers = (sorted(itertools.chain(*parts.values())) for parts in (split.emotions, split.speakers))
    whole = [utterance(number, *pair) for number, pair in enumerate(itertools.product(emotions, speakers))]
    assert _emogator.parted(whole) == split
    for name, spec in {**_emogator.UNSEEN, **_emogator.ALL_EMOTIONS}.items():
        episodes, drawn_by = load_episodes(_protocols.list_of("emogator", name))
        assert len(episodes) == 600
        assert drawn_by == spec
        speakers = {clip.split("/")[1].split("-")[0] for one in episodes for part in one.support for clip in part}
        assert speakers <= set(split.speakers["test"])
        classes = {label.removeprefix("emogator/") for one in episodes for label in one.classes}
        assert classes <= set(split.emotions["test"]) if name in _emogator.UNSEEN else len(classes) == 30


def test_a_list_is_frozen_where_it_is_looked_for_and_what_cannot_be_drawn_is_said(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(_protocols, "EPISODES", tmp_path)
    clips = list(
        grid(corpora=("small",), emotions=4, speakers=6, texts=4, takes=2)
    )  # eight of each speaker and emotion
    freeze_episodes.freeze("small", {name: (clips, spec) for name, spec in PROTOCOLS.items()}, 3, 7)
    lists = _protocols.frozen("small")
    assert set(lists) == {"emotions", "emotions_same_speaker", "speakers_5_way"}
    assert lists["emotions"][0] == EpisodeSampler(clips, PROTOCOLS["emotions"], seed=7).draw_many(3)
    assert "small: speakers_20_way: none: 6 such classes" in capsys.readouterr().out


def test_protocols_are_as_the_tables_call_them():
    assert PROTOCOLS["emotions"] == EpisodeSpec(n_way=4, k_shot=5, n_query=10, query_speaker="disjoint")
    assert str(PROTOCOLS["speakers_20_way"]) == "20-way 5-shot by speaker, query speaker same"
    assert {spec.query_speaker for name, spec in PROTOCOLS.items() if name != "emotions"} == {"same"}


@pytest.mark.corpus
def test_the_command_freezes_the_committed_lists_again(corpora_root):
    clips = [clip for clip in corpora.scan("emodb", corpora_root / "emodb").utterances if freeze_episodes.usable(clip)]
    for name in GIVES["emodb"]:
        committed, spec = load_episodes(_protocols.list_of("emodb", name))
        assert EpisodeSampler(clips, spec, seed=0).draw_many(20) == committed[:20]
