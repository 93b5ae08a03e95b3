"""Models: an encoder, a learner and a calibration, built, saved, loaded and meta-trained."""

from __future__ import annotations

from ser_fewshot.models.build import build_model, swap_learner, take_encoder, with_view
from ser_fewshot.models.config import FORMAT, Model, ModelConfig
from ser_fewshot.models.deviations import as_enrolled, under_conditions, with_deviations
from ser_fewshot.models.save_load import assemble, load_model, save_model, silence, split_by_prefix, to_store

__all__ = [
    "FORMAT",
    "Model",
    "ModelConfig",
    "as_enrolled",
    "assemble",
    "build_model",
    "load_model",
    "save_model",
    "silence",
    "split_by_prefix",
    "swap_learner",
    "take_encoder",
    "to_store",
    "under_conditions",
    "with_deviations",
    "with_view",
]
