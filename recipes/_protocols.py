"""The protocols that default models are measured by, and their frozen episodes."""

from __future__ import annotations

from pathlib import Path

from ser_fewshot.episodes import Episode, EpisodeSpec
from ser_fewshot.episodes.frozen import load_episodes

EPISODES = Path(__file__).parent / "episodes"
PROTOCOLS = {
    "emotions": EpisodeSpec(n_way=4, k_shot=5, n_query=10),
    # Few speakers have more than eight clips of one emotion.
    "emotions_same_speaker": EpisodeSpec(n_way=4, k_shot=5, n_query=3, query_speaker="same"),
    "speakers_20_way": EpisodeSpec(n_way=20, k_shot=5, n_query=5, label="speaker", query_speaker="same"),
    "speakers_5_way": EpisodeSpec(n_way=5, k_shot=1, n_query=5, label="speaker", query_speaker="same"),
}


def list_of(corpus: str, protocol: str) -> Path:
    """Return the file of the frozen episodes of a corpus and a protocol."""
    return EPISODES / f"{corpus}_{protocol}.jsonl.gz"


def frozen(corpus: str) -> dict[str, tuple[tuple[Episode, ...], EpisodeSpec]]:
    """Return the frozen episodes of a corpus and their spec, for each protocol that it has enough clips for."""
    paths = {name: list_of(corpus, name) for name in PROTOCOLS}
    return {name: load_episodes(path) for name, path in paths.items() if path.exists()}
