"""A frozen list gives back the episodes that were frozen, or an error; a changed one is never scored on."""

from __future__ import annotations

import gzip
import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from manifests import grid

from ser_fewshot.episodes import Episode, EpisodeSampler, EpisodeSpec
from ser_fewshot.episodes import frozen as episode_lists
from ser_fewshot.episodes.frozen import episodes_hash, load_episodes, save_episodes
from ser_fewshot.errors import EpisodeError, SettingsError

SPEC = EpisodeSpec(n_way=3, k_shot=2, n_query=1, query_text="different")
EPISODES = EpisodeSampler(grid(), SPEC, seed=5).draw_many(4)


@pytest.fixture
def frozen(tmp_path: Path) -> Path:
    path = tmp_path / "list.jsonl"
    save_episodes(path, EPISODES, SPEC, seed=5)
    return path


def test_what_was_frozen_is_read_again_with_its_spec(frozen):
    assert load_episodes(frozen) == (EPISODES, SPEC)
    frozen.write_bytes(frozen.read_bytes().replace(b"\n", b"\r\n"))  # other line ends are no change
    assert load_episodes(frozen) == (EPISODES, SPEC)


def test_the_first_line_says_what_the_list_is_and_the_same_list_gives_the_same_bytes(frozen, tmp_path):
    header = json.loads(frozen.read_text().splitlines()[0])
    assert header["spec"]["query_text"] == "different"
    assert (header["seed"], header["episodes"]) == (5, 4)
    assert header["episodes_sha256"] == episodes_hash(EPISODES)
    assert len(frozen.read_text().splitlines()) == 5
    save_episodes(tmp_path / "again.jsonl", EPISODES, SPEC, seed=5)
    assert (tmp_path / "again.jsonl").read_bytes() == frozen.read_bytes()


def test_the_hash_tells_any_two_lists_apart():
    first, *others = EPISODES
    swapped = Episode(first.index, first.classes[::-1], first.support, first.query)
    lists = [EPISODES, EPISODES[::-1], others, [first], [swapped, *others], []]
    assert len({episodes_hash(item) for item in lists}) == len(lists)
    assert episodes_hash(list(EPISODES)) == episodes_hash(EPISODES)


@given(st.lists(st.text(min_size=1), min_size=5, max_size=5, unique=True), st.text())
@settings(max_examples=60, deadline=None)
def test_ids_of_any_script_survive(tmp_path_factory, ids, label):
    spec = EpisodeSpec(n_way=2, k_shot=1, n_query=1)
    episode = Episode(0, (label, label + "2"), ((ids[0],), (ids[1],)), ((ids[2],), (ids[3],)))
    path = tmp_path_factory.mktemp("lists") / "list"
    save_episodes(path, [episode], spec, seed=0)
    assert load_episodes(path) == ((episode,), spec)


def test_ids_that_could_end_a_line_or_cannot_be_encoded_survive(tmp_path):
    odd = ["\u2028", "\x85", "\n", "\udcff", '"', "\\", "\x00"]
    episodes = [Episode(n, ("a", "b"), ((f"1{text}",), ("2",)), (("3",), ("4",))) for n, text in enumerate(odd)]
    save_episodes(tmp_path / "list", episodes, EpisodeSpec(n_way=2, k_shot=1, n_query=1), seed=0)
    assert load_episodes(tmp_path / "list")[0] == tuple(episodes)


def edited(path: Path, line: int, change: Any) -> None:
    lines = [json.loads(item) for item in path.read_text().splitlines()]
    change(lines[line])
    path.write_text("".join(json.dumps(item) + "\n" for item in lines))


def sealed_again(path: Path) -> None:
    """State the hash of what now stands there, as one would who changes a list on purpose."""
    header, *lines = [json.loads(item) for item in path.read_text().splitlines()]
    header.pop("sha256", None)
    body = [episode_lists._line(item) for item in lines]
    seal = episode_lists._digest([episode_lists._line(header), *body])
    path.write_text("".join([episode_lists._line({**header, "sha256": seal}), *body]))


SPEC_CHANGES = {
    "another protocol": {"query_text": "any"},
    "a leakier protocol": {"query_speaker": "any"},
    "mixed corpora": {"mix_corpora": True},
    "more classes": {"n_way": 4},
    "one class": {"n_way": 1},
    "text for a number": {"n_way": "3"},
    "truth for a number": {"k_shot": True},
    "a float": {"n_query": 1.0},
    "null": {"label": None},
    "a list": {"label": ["emotion"]},
    "an unknown word": {"query_speaker": "sometimes"},
    "a number for truth": {"mix_corpora": 0},
    "an unknown field": {"temperature": 1},
}


LEGAL_SPECS = {"another protocol", "a leakier protocol", "mixed corpora"}  # to which only the hash can object


def test_a_changed_header_is_refused(frozen, subtests):
    content = frozen.read_bytes()
    changes: dict[str, Any] = {
        name: lambda header, change=change: header["spec"].update(change) for name, change in SPEC_CHANGES.items()
    }
    changes |= {
        f"no {field}": lambda header, field=field: header["spec"].pop(field) for field in ("n_way", "mix_corpora")
    }
    others = [{"seed": 6}, {"episodes": 5}, {"sha256": "0" * 64}, {"sha256": None}, {"sha256": 3}, {"more": 1}]
    others += [{"episodes_sha256": "0" * 64}, {"spec": None}, {"spec": []}, {"spec": "5-way"}]
    changes |= {f"{change}": lambda header, change=change: header.update(change) for change in others}
    for name, change in changes.items():
        with subtests.test(name):
            frozen.write_bytes(content)
            edited(frozen, 0, change)
            with pytest.raises(EpisodeError, match=r"list\.jsonl"):
                load_episodes(frozen)
            if name in SPEC_CHANGES.keys() - LEGAL_SPECS:
                sealed_again(frozen)  # even if the hash fits
                with pytest.raises(EpisodeError):
                    load_episodes(frozen)


def swap_sides(line: dict[str, Any]) -> None:
    line["support"][0][0], line["query"][0][0] = line["query"][0][0], line["support"][0][0]


LINE_CHANGES = {
    "another index": lambda line: line.update(index=9),
    "a text for the index": lambda line: line.update(index="2"),
    "a float for the index": lambda line: line.update(index=2.0),
    "another clip": lambda line: line["query"][0].__setitem__(0, "c/elsewhere"),
    "support and query swapped": swap_sides,
    "a clip twice": lambda line: line["query"][0].__setitem__(0, line["support"][0][0]),
    "a class twice": lambda line: line["classes"].__setitem__(0, line["classes"][1]),
    "a clip too many": lambda line: line["support"][0].append("c/more"),
    "a clip too few": lambda line: line["support"][0].pop(),
    "a class too few": lambda line: line["classes"].pop(),
    "a query class too few": lambda line: line["query"].pop(),
    "a number for a clip": lambda line: line["query"][0].__setitem__(0, 3),
    "a text for a list": lambda line: line["support"].__setitem__(0, "ab"),
    "no query": lambda line: line.pop("query"),
    "null for a list": lambda line: line.update(support=None),
    "a field too many": lambda line: line.update(weight=1),
}


LEGAL_LINES = {"another index", "another clip", "support and query swapped"}  # to which only the hash can object


def test_a_changed_episode_is_refused(frozen, subtests):
    content = frozen.read_bytes()
    sealed_again(frozen)
    assert load_episodes(frozen) == (EPISODES, SPEC)
    for name, change in LINE_CHANGES.items():
        with subtests.test(name):
            frozen.write_bytes(content)
            edited(frozen, 2, change)
            with pytest.raises(EpisodeError, match=r"list\.jsonl: found .{3,}; expected"):
                load_episodes(frozen)
            if name not in LEGAL_LINES:
                sealed_again(frozen)  # even if the hash fits
                with pytest.raises(EpisodeError, match=r"list\.jsonl: found (the )?episode"):
                    load_episodes(frozen)


CONTENTS = {
    "nothing": b"",
    "an empty line": b"\n",
    "no JSON": b"these are no episodes\n",
    "a number": b"5\n",
    "null": b"null\n",
    "a list": b"[]\n",
    "no UTF-8": b"\xff\xfe{}\n",
    "deep": b"[" * 100_000 + b"\n",
    "a long number": b"9" * 5_000 + b"\n",
    "a sound": b"RIFF\x00\x00\x00\x00WAVE",
    "nulls": bytes(1000),
}


def test_a_file_that_is_no_list_is_refused_in_one_short_line(tmp_path, subtests):
    path = tmp_path / "list.jsonl"
    for name, content in CONTENTS.items():
        path.write_bytes(content)
        with subtests.test(name):
            with pytest.raises(EpisodeError, match="a list of episodes frozen by this program") as caught:
                load_episodes(path)
            assert len(str(caught.value)) < 500


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_a_list_cut_anywhere_is_refused(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("lists") / "list"
    save_episodes(path, EPISODES, SPEC, seed=5)
    whole = path.read_bytes()
    path.write_bytes(whole[: data.draw(st.integers(0, len(whole) - 2))])
    with pytest.raises(EpisodeError):
        load_episodes(path)


def test_missing_and_doubled_lines_are_noticed(frozen):
    header, *lines = frozen.read_text().splitlines(keepends=True)
    for kept in (lines[:3], lines[1:], lines[::2], lines + lines[:1], lines[::-1]):
        frozen.write_text("".join([header, *kept]))
        with pytest.raises(EpisodeError, match="hash"):
            load_episodes(frozen)


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    with pytest.raises(EpisodeError, match="found no such file"):
        load_episodes(tmp_path / "nowhere")
    with pytest.raises(EpisodeError, match="list of episodes"):
        load_episodes(tmp_path)
    with pytest.raises(SettingsError):
        save_episodes(tmp_path, EPISODES, SPEC, seed=5)


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    path = tmp_path / "list.jsonl.gz"
    save_episodes(path, EPISODES, SPEC, seed=5)
    return path


def test_a_packed_list_is_the_same_list(packed, frozen):
    assert load_episodes(packed) == (EPISODES, SPEC)
    assert gzip.decompress(packed.read_bytes()) == frozen.read_bytes()


def test_packing_twice_gives_the_same_bytes_under_any_name(packed, tmp_path, monkeypatch):
    again = tmp_path / "again.gz"
    monkeypatch.setattr("time.time", lambda: 1e9)
    save_episodes(again, EPISODES, SPEC, seed=5)
    assert again.read_bytes() == packed.read_bytes()
    assert packed.read_bytes()[3:8] == bytes(5)  # no name and no time in its header: RFC 1952, 2.3


def test_a_packed_list_cut_or_damaged_anywhere_is_refused(packed):
    whole = packed.read_bytes()
    for end in range(0, len(whole), 7):
        packed.write_bytes(whole[:end])
        with pytest.raises(EpisodeError, match="a list of episodes frozen by this program"):
            load_episodes(packed)
    # The first ten bytes hold what no reader needs, such as the operating system.
    for position in range(10, len(whole), 7):
        packed.write_bytes(whole[:position] + bytes([whole[position] ^ 0xFF]) + whole[position + 1 :])
        with pytest.raises(EpisodeError):
            load_episodes(packed)


def test_a_plain_list_under_a_packed_name_is_refused_and_the_other_way_round(frozen, packed):
    plain, other = frozen.read_bytes(), packed.read_bytes()
    frozen.write_bytes(other)
    packed.write_bytes(plain)
    for path in (frozen, packed):
        with pytest.raises(EpisodeError, match="a list of episodes frozen by this program"):
            load_episodes(path)


def test_no_more_is_read_than_a_list_may_hold(frozen, packed, monkeypatch):
    size = frozen.stat().st_size
    for path in (frozen, packed):
        monkeypatch.setattr(episode_lists, "_MOST_BYTES", size)
        assert load_episodes(path)[0] == EPISODES
        monkeypatch.setattr(episode_lists, "_MOST_BYTES", size - 1)
        with pytest.raises(EpisodeError, match=f"found more than {size - 1} bytes"):
            load_episodes(path)
        with pytest.raises(EpisodeError, match=f"expected at most {size - 1} bytes"):
            save_episodes(path, EPISODES, SPEC, seed=5)


def test_a_small_file_that_unpacks_to_gigabytes_is_refused_in_little_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(episode_lists, "_MOST_BYTES", 2**20)
    path = tmp_path / "bomb.gz"
    path.write_bytes(gzip.compress(bytes(2**24)) * 64)  # a gigabyte, in members as gzip allows
    tracemalloc.start()
    try:
        with pytest.raises(EpisodeError, match="more than 1048576 bytes"):
            load_episodes(path)
        assert tracemalloc.get_traced_memory()[1] < 2**23
    finally:
        tracemalloc.stop()
