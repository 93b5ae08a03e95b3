"""Evaluation over episodes: scores with intervals, calibration, open set."""

from __future__ import annotations

from ser_fewshot.evaluation.scores import (
    Evaluation,
    Interval,
    answered,
    chance_of,
    check_episodes,
    compare,
    evaluate,
    interval,
    score,
    t_quantile,
)

__all__ = [
    "Evaluation",
    "Interval",
    "answered",
    "chance_of",
    "check_episodes",
    "compare",
    "evaluate",
    "interval",
    "score",
    "t_quantile",
]
