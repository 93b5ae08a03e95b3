"""A small model with directions of emotions and of speakers beside its embedding."""

from __future__ import annotations

import torch
from conftest import tone
from synthetic import CALIBRATION

from ser_fewshot.encoders import Discriminant
from ser_fewshot.frontends import analyse, stack
from ser_fewshot.models import Model, ModelConfig, build_model

N = 3


def model_of_two_views(learner: str = "ridge") -> Model:
    """A calibrated model that sees emotions unless told otherwise; its directions are random."""
    encoder = {"name": "statistics", "discriminant": N}
    config = ModelConfig(
        learner=learner, settings={"encoder": encoder}, frontend_settings={"n_mels": 12}, calibration=CALIBRATION
    )
    model = build_model(config)
    waves = [torch.from_numpy(tone(0.5, hertz=hertz, peak=hertz / 1000)) for hertz in (110, 220, 500, 900)]
    model.learner.fit_scale(stack(analyse(model.frontend, waves)))
    for number, directions in enumerate((directions_of(model).emotion, directions_of(model).speaker)):
        directions.copy_(torch.randn(directions.shape, generator=torch.Generator().manual_seed(number)))
    return model


def directions_of(model: Model) -> Discriminant:
    """The encoder of such a model."""
    found = model.learner.get_submodule("encoder")
    assert isinstance(found, Discriminant)
    return found
