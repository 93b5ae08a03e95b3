"""Few-shot speech emotion recognition: teach a machine a new emotion from five clips.

Public names are loaded when they are first used, so that importing the package loads neither torch nor a model.
"""

from __future__ import annotations

import importlib
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ser_fewshot.audio import Clip, load
    from ser_fewshot.classifier import FewShotClassifier, Prediction, Voice
    from ser_fewshot.classifier.sklearn import EmbeddingEstimator, FewShotEstimator
    from ser_fewshot.corpora import Utterance, read_manifest, scan, write_manifest
    from ser_fewshot.episodes import Episode, EpisodeSampler, EpisodeSpec
    from ser_fewshot.evaluation import Evaluation, compare, evaluate

__version__ = version("ser-fewshot")

_HOME = {
    "audio": ("Clip", "load"),
    "classifier": ("FewShotClassifier", "Prediction", "Voice"),
    "classifier.sklearn": ("EmbeddingEstimator", "FewShotEstimator"),
    "corpora": ("Utterance", "read_manifest", "scan", "write_manifest"),
    "episodes": ("Episode", "EpisodeSampler", "EpisodeSpec"),
    "evaluation": ("Evaluation", "compare", "evaluate"),
}

__all__ = [
    "Clip",
    "EmbeddingEstimator",
    "Episode",
    "EpisodeSampler",
    "EpisodeSpec",
    "Evaluation",
    "FewShotClassifier",
    "FewShotEstimator",
    "Prediction",
    "Utterance",
    "Voice",
    "compare",
    "evaluate",
    "load",
    "read_manifest",
    "scan",
    "write_manifest",
]


def __getattr__(name: str) -> Any:
    for module, names in _HOME.items():
        if name in names:
            return getattr(importlib.import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
