"""Evaluation over episodes: scores with intervals, calibration, open set."""

from __future__ import annotations

from ser_fewshot.evaluation.metrics import Evaluation, Interval, chance_of, compare, interval, score, t_quantile
from ser_fewshot.evaluation.runner import check_episodes, evaluate

__all__ = [
    "Evaluation",
    "Interval",
    "chance_of",
    "check_episodes",
    "compare",
    "evaluate",
    "interval",
    "score",
    "t_quantile",
]
