"""Episodes: N-way K-shot tasks, how they are drawn, split and frozen."""

from __future__ import annotations

from ser_fewshot.episodes.sampler import EpisodeSampler
from ser_fewshot.episodes.spec import Episode, EpisodeSpec, Ids, QuerySpeaker, SupportSpeakers, class_numbers

__all__ = [
    "Episode",
    "EpisodeSampler",
    "EpisodeSpec",
    "Ids",
    "QuerySpeaker",
    "SupportSpeakers",
    "class_numbers",
]
