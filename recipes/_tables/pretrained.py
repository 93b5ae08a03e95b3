"""Layers of a pretrained encoder with several learners, and scores of silence alone."""

from __future__ import annotations

from _tables._text import RESULTS, by_corpus, read

_HEAD = "features and learner"


def pretrained() -> str:
    """Every layer and every learner on weighted layers, by corpus."""
    result = read(RESULTS / "pretrained_whisper-base.json")["corpora"]
    return by_corpus(result, list(next(iter(result.values()))), _HEAD)


def pretrained_untrimmed() -> str:
    """The same layers with the silence at the ends of clips left in."""
    result = read(RESULTS / "pretrained_whisper-base-untrimmed.json")["corpora"]
    return by_corpus(result, [name for name in next(iter(result.values())) if name.endswith("mean and std")], _HEAD)


def pretrained_best() -> str:
    """The layer that is best on average, and the layers weighted, beside log-mel."""
    result = read(RESULTS / "pretrained_whisper-base.json")["corpora"]
    names = list(next(iter(result.values())))
    alone = [name for name in names if not name.startswith("weighted")]
    best = max(alone, key=lambda name: sum(of[name]["uar"]["mean"] for of in result.values()))
    logmel = {corpus: read(RESULTS / f"leave_out_{corpus}.json")["learners"]["ridge, statistics"] for corpus in result}
    both = {corpus: {"log-mel, ridge": logmel[corpus], **of} for corpus, of in result.items()}
    return "Whisper base, frozen. " + by_corpus(
        both, ["log-mel, ridge", best, "weighted, ridge", "weighted, mtl"], _HEAD
    )


def silence_tells() -> str:
    result = read(RESULTS / "silence_tells.json")["corpora"]
    return by_corpus(result, list(next(iter(result.values()))), _HEAD)
