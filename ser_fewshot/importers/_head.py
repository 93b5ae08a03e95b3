"""A model with the emotion head of the checkpoint: it recognises from the first clip on, and enrolment refines it."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor

from ser_fewshot.classifier.enrollment import Enrolled
from ser_fewshot.encoders import Encoder, Mean, PooledFeatures, layer_weights
from ser_fewshot.errors import CheckpointError
from ser_fewshot.frontends import FeatureSet
from ser_fewshot.importers._checkpoint import Head
from ser_fewshot.importers._prior import enrolled_of, prior_of
from ser_fewshot.models import Model, build_model
from ser_fewshot.storage.tensors import load_weights


def reads_layer(head: Head, n_blocks: int) -> int | Literal["weighted"]:
    """Return the layer that a head reads."""
    return n_blocks if head.layers is None else "weighted"


def model_with_head(model: Model, head: Head, speech: FeatureSet) -> tuple[Model, dict[str, Enrolled]] | None:
    """Return a model on the same front-end, and enrolled classes on which it says what a head says.

    Args:
        model: its front-end pools by the mean and hands over the layer, or layers, that the head reads.
        head: what was read beside the encoder.
        speech: features of any speech, by that front-end.

    Returns:
        None if the head says the same of every clip.

    Raises:
        CheckpointError: the head is not of this encoder, or not finite.
    """
    frames = torch.cat(tuple(speech.clips)).float()  # (n_clips, layers * width): a clip is one frame
    _check_fit(head, model)
    encoder, weight, bias = _embedding(head, frames)
    with torch.no_grad():
        found = prior_of(weight, bias, encoder(speech.batch(range(len(speech)))))
    if found is None:
        return None
    name = "mean" if head.layers is None else "statistics"
    told = {"encoder": {"name": name}, "penalty": found.penalty, "sharpness": found.sharpness}
    ridge = build_model(replace(model.config, learner="ridge", settings=told), frontend=model.frontend)
    load_weights(ridge.learner.get_submodule("encoder"), encoder.state_dict(), origin="emotion head")
    return ridge, enrolled_of(head, found.clips)


def _check_fit(head: Head, model: Model) -> None:
    layers = (1,) if head.layers is None else tuple(head.layers.shape)
    n_layers, width = model.frontend.layers, model.frontend.dim // model.frontend.layers
    if (*layers, head.weight.shape[1]) != (n_layers, width):
        raise CheckpointError(
            "emotion head",
            found=f"one on (layers, width) {(*layers, head.weight.shape[1])}",
            expected=f"{(n_layers, width)}, as the encoder has",
            remedy="Take weights and configuration from one source; --pooling frames imports its encoder alone.",
        )


def _embedding(head: Head, frames: Tensor) -> tuple[Encoder, Tensor, Tensor]:
    """Return an encoder that reads layers as a head does, and the head's weight and bias on what that gives.

    Args:
        head: of one layer or a mixture of all.
        frames: (n_clips, layers * width) of any speech.
    """
    if head.layers is None:
        return Mean(frames.shape[1]), head.weight, head.bias
    encoder = PooledFeatures(frames.shape[1], layers=len(head.layers))
    # One scale for all layers, since the head adds them as they are, and one far from clipping what speech gives.
    centre = frames.mean(0)
    scale = (frames - centre).abs().max()
    state = {"mean": centre, "scale": scale.expand_as(centre).clone(), "layers": head.layers / _layer_gain()}
    encoder.load_state_dict(state)
    return encoder, head.weight * scale, head.bias + head.weight @ encoder.mix(centre).detach()


def _layer_gain() -> Tensor:
    """Return what an encoder multiplies the parameters of its layers by before their softmax."""
    small = 0.01
    return layer_weights(torch.tensor([small, 0.0], dtype=torch.float64))[0].logit() / small
