"""The emotion head of a checkpoint as one virtual enrolled clip a class, which later enrolment refines.

Ridge regression on one embedding a class makes a weight vector a class, so embeddings exist on which it reproduces the
head, and then its probabilities are the head's, for every clip. Let A = U S V^T be the head's weights, centred over
classes (which no softmax sees), and z0 a point where its centred logits are all 0. The embeddings are the rows of
z0 + s U D V^T: ridge regression of the penalty s^2 lambda makes A / s of them where D / (D^2 + lambda) = S for each
singular value, and a sharpness of s makes A of that.

The free parameters decide how clips that are enrolled later change it. z0 is the point nearest to the mean embedding of
speech, so that what all clips have in common does not count for the first class that gets one. The sharpness is small
and the penalty low, of the two D the larger: virtual clips are then ones that the head is just sure of, and one class
may get more clips than another. (A larger sharpness is as good while all get equally many, and else gives one class
all.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from ser_fewshot.classifier.enrollment import Enrolled
from ser_fewshot.classifier.inputs import checked_label
from ser_fewshot.corpora import canonical_emotion
from ser_fewshot.encoders import Encoder, Mean, PooledFeatures, layer_weights
from ser_fewshot.errors import CheckpointError, EnrollmentError
from ser_fewshot.frontends import FeatureSet
from ser_fewshot.importers._checkpoint import Head
from ser_fewshot.models import Model, build_model
from ser_fewshot.storage.tensors import load_weights

CLIP_NAME = "imported head"
"""The name of a virtual clip where predictions name the nearest one."""

_SHARPNESS = 5.0  # logits by which a virtual clip is of its class: 98 % of 4
_PENALTY = 0.03  # of the largest lambda for which there is a D
_RANK = 1e-6  # of the largest singular value: directions below it are rounding


@dataclass(frozen=True, eq=False)
class VirtualClips:
    """Embeddings on which ridge regression reproduces a head.

    Attributes:
        embeddings: (n_classes, width) one a class.
        penalty: of the ridge regression, relative as in `learners.ridge`.
        sharpness: of it.
    """

    embeddings: Tensor
    penalty: float
    sharpness: float


def layer_of(head: Head, n_blocks: int) -> int | Literal["weighted"]:
    """Return the layer that a head reads."""
    return n_blocks if head.layers is None else "weighted"


def model_with_head(model: Model, head: Head, speech: FeatureSet) -> tuple[Model, dict[str, Enrolled]] | None:
    """Return a model on the same front-end, and enrolled classes on which it predicts what a head predicts.

    Args:
        model: its front-end pools by the mean and hands over the layer, or layers, that the head reads.
        head: the head of the checkpoint.
        speech: features of any speech, by that front-end.

    Returns:
        None if the head predicts the same for every clip.
    """
    frames = torch.cat(tuple(speech.clips)).float()  # (n_clips, layers * width): a clip is one frame
    _check_fit(head, model)
    encoder, weight, bias = _embedding(head, frames)
    with torch.no_grad():
        virtual = virtual_clips(weight, bias, encoder(speech.batch(range(len(speech)))))
    if virtual is None:
        return None
    name = "mean" if head.layers is None else "statistics"
    settings = {"encoder": {"name": name}, "penalty": virtual.penalty, "sharpness": virtual.sharpness}
    ridge = build_model(replace(model.config, learner="ridge", settings=settings), frontend=model.frontend)
    load_weights(ridge.learner.get_submodule("encoder"), encoder.state_dict(), origin="emotion head")
    return ridge, enrolled_classes(head, virtual.embeddings)


def virtual_clips(weight: Tensor, bias: Tensor, speech: Tensor) -> VirtualClips | None:
    """Return the virtual clips of an affine head, None if it predicts the same for every clip.

    Args:
        weight: (n_classes, width).
        bias: (n_classes,).
        speech: (n_clips, width) embeddings of any speech.
    """
    _check_finite(weight, bias, speech)
    A, b = weight.double(), bias.double()
    A, b = A - A.mean(0), b - b.mean()
    U, S, Vh = torch.linalg.svd(A, full_matrices=False)
    rank = int((S / S[0] > _RANK).sum()) if float(S[0]) > 0 else 0
    if rank == 0:
        return None
    U, S, Vh = U[:, :rank], S[:rank], Vh[:rank]
    centre = speech.double().mean(0)
    zero = centre - Vh.T @ (U.T @ (A @ centre + b) / S)
    D = (1 + (1 - _PENALTY * (S / S[0]).square()).sqrt()) / (2 * S)
    penalty = _PENALTY / (4 * S[0].square()) * len(A) / D.square().sum()  # over the mean squared norm of the clips
    clips = zero + _SHARPNESS * (U * D) @ Vh
    _check_finite(clips.float(), penalty.log())
    return VirtualClips(clips.float(), float(penalty), _SHARPNESS)


def enrolled_classes(head: Head, clips: Tensor) -> dict[str, Enrolled]:
    """Return virtual clips (n_classes, width) as enrolled classes, under the field's nouns where they are known.

    Two that share a noun keep the head's own labels; where those do not tell the classes apart, they are numbered.
    """
    kinds = ([canonical_emotion(label) for label in head.labels], head.labels)
    labels = next(filter(_are_distinct, kinds), [f"class {row}" for row in range(len(head.labels))])
    return {
        checked_label(label): Enrolled((clip.clone(),), (CLIP_NAME,)) for label, clip in zip(labels, clips, strict=True)
    }


def _are_distinct(labels: Sequence[str]) -> bool:
    """Whether labels are legal names of classes that differ."""
    try:
        return len({checked_label(label) for label in labels}) == len(labels)
    except EnrollmentError:
        return False


def _check_fit(head: Head, model: Model) -> None:
    layers = (1,) if head.layers is None else tuple(head.layers.shape)
    n_layers, width = model.frontend.layers, model.frontend.dim // model.frontend.layers
    if (*layers, head.weight.shape[1]) != (n_layers, width):
        raise _unusable(
            f"one on (layers, width) {(*layers, head.weight.shape[1])}",
            f"{(n_layers, width)}, as the encoder has",
            "Take weights and configuration from one source",
        )


def _check_finite(*tensors: Tensor) -> None:
    if not all(bool(tensor.isfinite().all()) for tensor in tensors):
        raise _unusable(
            "NaN or infinite values in its weights, or in what follows from them",
            "finite weights of a usual size",
            "Its training failed, or the file was changed",
        )


def _unusable(found: str, expected: str, remedy: str) -> CheckpointError:
    remedy += "; --pooling frames imports its encoder alone."
    return CheckpointError("emotion head", found=found, expected=expected, remedy=remedy)


def _embedding(head: Head, frames: Tensor) -> tuple[Encoder, Tensor, Tensor]:
    """Return an encoder that reads layers as a head does, and the head's weight and bias on its embeddings.

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
