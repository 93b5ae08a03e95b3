"""The protocols that a default model is measured by, and where their frozen episodes lie."""

from __future__ import annotations

from pathlib import Path

from ser_fewshot.episodes import Episode, EpisodeSpec
from ser_fewshot.episodes.frozen import load_episodes

EPISODES = Path(__file__).parent / "episodes"
PROTOCOLS = {
    "emotions": EpisodeSpec(n_way=4, k_shot=5, n_query=10),
    # One speaker rarely says more than eight clips in one emotion.
    "emotions_same_speaker": EpisodeSpec(n_way=4, k_shot=5, n_query=3, query_speaker="same"),
    "speakers_20_way": EpisodeSpec(n_way=20, k_shot=5, n_query=5, label="speaker", query_speaker="same"),
    "speakers_5_way": EpisodeSpec(n_way=5, k_shot=1, n_query=5, label="speaker", query_speaker="same"),
}


def list_of(corpus: str, protocol: str) -> Path:
    """Return where the episodes of a corpus and a protocol are frozen."""
    return EPISODES / f"{corpus}_{protocol}.jsonl.gz"


def frozen(corpus: str) -> dict[str, tuple[tuple[Episode, ...], EpisodeSpec]]:
    """Return the episodes of a corpus and what they are, by protocol; of those alone that the corpus can give."""
    paths = {name: list_of(corpus, name) for name in PROTOCOLS}
    return {name: load_episodes(path) for name, path in paths.items() if path.exists()}
