"""An emotion head as enrolled clips: what it learned becomes one virtual clip a class, which enrolment refines.

Ridge regression on one embedding a class makes a weight vector a class. So embeddings can be found on which it makes
those of the head, and then its probabilities are the head's, for every clip. Let A = U S V^T be the head's weights,
centred over classes (which no softmax sees), and z0 a point where its centred logits are all 0. The embeddings are the
rows of z0 + s U D V^T: ridge regression of the penalty s^2 lambda makes A / s of them where D / (D^2 + lambda) = S for
each singular value, and a sharpness of s makes A of that.

What is free decides how clips that are enrolled later change it. z0 is the point nearest to speech as the encoder hears
it, so that what all clips have in common does not count for the first class that gets one. The sharpness is small and
the penalty low, of the two D the larger: virtual clips are then ones that the head is just sure of, and one class may
get more clips than another. (A larger sharpness is as good while all get equally many, and else gives one class all.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ser_fewshot.classifier.enrollment import Enrolled
from ser_fewshot.classifier.inputs import checked_label
from ser_fewshot.corpora import canonical_emotion
from ser_fewshot.errors import CheckpointError, EnrollmentError
from ser_fewshot.importers._checkpoint import Head

CLIP_NAME = "imported head"
"""What a virtual clip is called where predictions name the nearest one."""

_SHARPNESS = 5.0  # logits by which a virtual clip is of its class: 98 % of 4
_PENALTY = 0.03  # of the largest lambda for which there is a D
_RANK = 1e-6  # of the largest singular value: directions below it are rounding


@dataclass(frozen=True, eq=False)
class Prior:
    """Enrolled clips on which ridge regression says what a head says.

    Attributes:
        clips: (n_classes, width) one a class.
        penalty: of the ridge regression, relative as in `learners.ridge`.
        sharpness: of it.
    """

    clips: Tensor
    penalty: float
    sharpness: float


def prior_of(weight: Tensor, bias: Tensor, speech: Tensor) -> Prior | None:
    """Return the prior of an affine head, None if it says the same of every clip.

    Args:
        weight: (n_classes, width).
        bias: (n_classes,).
        speech: (n_clips, width) embeddings of any speech.

    Raises:
        CheckpointError: the head is not finite, or so large or small that its clips are not.
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
    return Prior(clips.float(), float(penalty), _SHARPNESS)


def _check_finite(*tensors: Tensor) -> None:
    if not all(bool(tensor.isfinite().all()) for tensor in tensors):
        raise CheckpointError(
            "emotion head",
            found="NaN or infinite values in its weights, or in what follows from them",
            expected="finite weights of a usual size",
            remedy="Its training failed, or the file was changed; --pooling frames imports its encoder alone.",
        )


def enrolled_of(head: Head, clips: Tensor) -> dict[str, Enrolled]:
    """Return virtual clips (n_classes, width) as enrolled classes, under the field's nouns where they are known.

    Two that share a noun keep the head's own words; where those do not tell the classes apart, they are numbered.
    """
    kinds = ([canonical_emotion(label) for label in head.labels], head.labels)
    labels = next(filter(_tell_apart, kinds), [f"class {row}" for row in range(len(head.labels))])
    return {
        checked_label(label): Enrolled((clip.clone(),), (CLIP_NAME,)) for label, clip in zip(labels, clips, strict=True)
    }


def _tell_apart(labels: Sequence[str]) -> bool:
    """Whether labels are legal names of classes that differ."""
    try:
        return len({checked_label(label) for label in labels}) == len(labels)
    except EnrollmentError:
        return False
