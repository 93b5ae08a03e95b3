"""Episodes with a context: one query speaker, clips of whom stand beside, and what was drawn before stays as it was."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from manifests import grid

from ser_fewshot.episodes import EpisodeSampler, EpisodeSpec
from ser_fewshot.episodes.frozen import episodes_hash, load_episodes, save_episodes
from ser_fewshot.errors import EpisodeError

CLIPS = tuple(replace(clip, emotion="neutral" if clip.emotion == "e4" else clip.emotion) for clip in grid())
BY_ID = {clip.id: clip for clip in CLIPS}


def spec(**more: Any) -> EpisodeSpec:
    return EpisodeSpec(**{"n_way": 3, "k_shot": 2, "n_query": 2, "context": 6, **more})


@pytest.mark.parametrize("more", [{}, {"support_speakers": "one"}, {"query_speaker": "same"}], ids=str)
def test_the_context_is_of_the_one_query_speaker_and_holds_no_other_clip_of_the_episode(more):
    for of, emotions in (("any", None), ("neutral", {"neutral"}), ("one", None)):
        for episode in EpisodeSampler(CLIPS, spec(context_of=of, **more)).draw_many(8):
            support, query, context = (
                [BY_ID[clip] for clip in ids]
                for ids in (sum(episode.support, ()), sum(episode.query, ()), episode.context)
            )
            assert len({clip.speaker for clip in (*query, *context)}) == 1
            if more.get("query_speaker") != "same":
                assert {clip.speaker for clip in support}.isdisjoint({query[0].speaker})
            if more.get("support_speakers") == "one":
                assert len({clip.speaker for clip in support}) == 1
            assert 0 < len(context) <= 6
            assert not {*context} & {*support, *query}
            found = {clip.emotion for clip in context}
            assert emotions is None or found == emotions
            assert of != "one" or len(found) == 1


def test_a_longer_context_begins_with_a_shorter_one_and_changes_nothing_else():
    short, long = (EpisodeSampler(CLIPS, spec(context=n), seed=3).draw_many(5) for n in (2, 6))
    for one, other in zip(short, long, strict=True):
        assert other.context[:2] == one.context
        assert replace(one, context=()) == replace(other, context=())


def test_a_list_with_contexts_is_frozen_and_one_without_has_the_hash_of_before(tmp_path):
    given = spec(support_speakers="one", context_of="one")
    drawn = EpisodeSampler(CLIPS, given).draw_many(3)
    save_episodes(tmp_path / "list.jsonl", drawn, given, seed=0)
    assert load_episodes(tmp_path / "list.jsonl") == (drawn, given)
    plain = EpisodeSpec(n_way=3, k_shot=2, n_query=2)
    assert {"context", "context_of", "support_speakers"}.isdisjoint(plain.as_dict())
    assert "context" not in EpisodeSampler(CLIPS, plain).draw(0).as_dict()
    assert episodes_hash(drawn) != episodes_hash([replace(one, context=()) for one in drawn])


def test_a_context_where_classes_are_speakers_and_what_no_speaker_can_give_are_refused():
    for wrong in (
        {"label": "speaker", "query_speaker": "same"},
        {"context": -1},
        {"context_of": "two"},
        {"context": 0, "context_of": "one"},
        {"query_speaker": "any"},
        {"query_speaker": "any", "context": 0, "support_speakers": "one"},
    ):
        with pytest.raises(EpisodeError):
            spec(**wrong)
    with pytest.raises(EpisodeError, match="no neutral clip"):
        EpisodeSampler(grid(), spec(context_of="neutral"))
    with pytest.raises(EpisodeError, match="no way to part"):
        EpisodeSampler(CLIPS, spec(n_query=9))
