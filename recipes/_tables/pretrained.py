"""Layers of a pretrained encoder under several learners, and what silence alone tells."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from _tables._text import RESULTS, percent, read, table


def pretrained() -> str:
    """Every layer and every learner on weighted layers, by corpus."""
    result = read(RESULTS / "pretrained_whisper-base.json")["corpora"]
    return _by_corpus(result, list(next(iter(result.values()))))


def pretrained_untrimmed() -> str:
    """The same layers with the silence at the ends of clips left in."""
    result = read(RESULTS / "pretrained_whisper-base-untrimmed.json")["corpora"]
    return _by_corpus(result, [name for name in next(iter(result.values())) if name.endswith("mean and std")])


def pretrained_best() -> str:
    """The layer that is best on average, and the layers weighted, beside log-mel."""
    result = read(RESULTS / "pretrained_whisper-base.json")["corpora"]
    names = list(next(iter(result.values())))
    alone = [name for name in names if not name.startswith("weighted")]
    best = max(alone, key=lambda name: sum(of[name]["uar"]["mean"] for of in result.values()))
    logmel = {corpus: read(RESULTS / f"leave_out_{corpus}.json")["learners"]["ridge, statistics"] for corpus in result}
    both = {corpus: {"log-mel, ridge": logmel[corpus], **of} for corpus, of in result.items()}
    return "Whisper base, frozen. " + _by_corpus(both, ["log-mel, ridge", best, "weighted, ridge", "weighted, mtl"])


def silence_tells() -> str:
    result = read(RESULTS / "silence_tells.json")["corpora"]
    return _by_corpus(result, list(next(iter(result.values()))))


def _by_corpus(result: Mapping[str, Mapping[str, Any]], names: list[str]) -> str:
    score = next(iter(result.values()))[names[0]]
    rows = []
    for name in names:
        scores = [of[name]["uar"] for of in result.values()]
        mean = sum(uar["mean"] for uar in scores) / len(scores)
        rows.append([name, *map(percent, scores), f"{100 * mean:.1f}"])
    rows.append(["chance", *(f"{100 * score['chance']:.1f}" for _ in (*result, "mean"))])
    return f"UAR in %, mean ± 95 % CI over {score['episodes']} episodes; {score['protocol']}.\n\n" + table(
        ["features and learner", *result, "mean"], rows
    )
