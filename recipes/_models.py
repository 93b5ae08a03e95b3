"""Finished models, what they were trained on, and what they make of clips."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

from ser_fewshot.checkpoints import Model
from ser_fewshot.corpora import Utterance
from ser_fewshot.frontends import FeatureCache, FeatureSet, default_directory, extract


def trained_on(folder: Path) -> list[str]:
    """Return the corpora that a model's card says it was trained on."""
    card = folder / "README.md"
    line = re.search(r"^datasets: (\[.*\])$", card.read_text(encoding="utf-8") if card.exists() else "", re.MULTILINE)
    names: list[str] = json.loads(line[1]) if line else []
    return names


def features_of(model: Model, clips: Sequence[Utterance]) -> FeatureSet:
    """Return the features of clips as they were recorded, from the cache where it knows them."""
    cache = FeatureCache(default_directory(), model.frontend.identity)
    return extract(model.frontend, clips, cache=cache, normalization=model.config.normalization)
