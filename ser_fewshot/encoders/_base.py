"""Settings and interface of every encoder."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ser_fewshot.frontends import Features
from ser_fewshot.settings import check_choice, require

EncoderName = Literal["statistics", "mean", "dense", "conv", "transformer", "blocks"]
View = Literal["emotion", "speaker"]

HEADS = 8
"""Attention heads in each block of "transformer"."""

_LARGEST = 4096  # channels and width; more is a typing error or a hostile file
_MOST_BLOCKS = 64


@dataclass(frozen=True, kw_only=True)
class EncoderSettings:
    """How frames become an embedding.

    Attributes:
        name: "statistics": fixed functionals of the frames, nothing learned; "mean": the average frame, a baseline;
            "dense": the functionals and a small network on them; "conv": the functionals and a convolutional network on
            the frames; "transformer": a small transformer on log-mel frames, the student of a larger one; "blocks": the
            next transformer blocks of the pretrained encoder that the front-end is, to be trained.
        whitening: whiten the functionals by the within-class covariance (the class is the label of the first training
            task). Good for speakers.
        discriminant: number of directions of emotions, its projection on which is appended to the embedding; 0 for
            none. They are fitted after training.
        recording: number of nuisance directions, in which recordings of one clip differ, along which an embedding is
            clamped; needs `discriminant`. Models of 0.1 have them.
        components: number of components, whitened within speakers, that the embedding is projected on where speakers
            are told apart; needs `discriminant`. 0: directions of speakers beside the embedding, as in 0.1.
        view: whether the embedding is for telling emotions or speakers apart.
        functionals: weight of the fixed functionals beside the output of "transformer", which weighs 1.
        channels: width of the network.
        blocks: residual layers in it; the transformer blocks of "transformer" and of "blocks".
        width: dimension of the learned part of the embedding; for "transformer", of the embedding: mean and standard
            deviation over time of the outputs of all blocks.
        dropout: share of values dropped in training; "transformer" and "blocks" have no dropout.
        lora: rank of the low-rank adapters trained in "blocks" in place of their weights; 0 for none.
        layers: layers of the front-end that are concatenated in a frame; a learned softmax mixes them.
        pooled: whether the front-end outputs one frame a clip, which then replaces the functionals.
        continues: settings of the front-end whose encoder "blocks" continues. These three follow the front-end:
            `build_model` sets them.
    """

    name: EncoderName = "conv"
    whitening: bool = False
    discriminant: int = 0
    recording: int = 0
    components: int = 0
    view: View = "emotion"
    functionals: float = 0.0
    channels: int = 96
    blocks: int = 3
    width: int = 128
    dropout: float = 0.2
    lora: int = 0
    layers: int = 1
    pooled: bool = False
    continues: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_choice("encoder", self.name, EncoderName)
        check_choice("encoder.view", self.view, View)
        require(
            0 <= self.functionals <= _LARGEST and (not self.functionals or self.name == "transformer"),
            "encoder.functionals",
            found=f"{self.functionals!r} for {self.name!r}",
            expected=f"0 to {_LARGEST} for 'transformer', else 0",
            remedy="Leave it out, or choose 'transformer'.",
        )
        require(
            type(self.whitening) is bool and not (self.whitening and self.name in ("mean", "transformer")),
            "encoder.whitening",
            found=f"{self.whitening!r} for {self.name!r}",
            expected="true or false, and functionals to whiten",
            remedy="Leave it out, or choose another encoder.",
        )
        needs_frames = self.name in ("conv", "transformer", "blocks") or (self.layers > 1 and self.name == "mean")
        require(
            not (self.pooled and needs_frames),
            "encoder",
            found=f"{self.name!r} on a front-end with one frame a clip and {self.layers} layers",
            expected="statistics | dense",
            remedy="Choose one of these, or let the front-end keep its frames (pooling 'frames').",
        )
        require(
            _is_count(self.lora) and (not self.lora or self.name == "blocks"),
            "encoder.lora",
            found=f"{self.lora!r} for {self.name!r}",
            expected=f"a rank from 1 to {_LARGEST} for 'blocks', else 0",
            remedy="8 is a good rank to begin with.",
        )
        self._check_sizes()

    def _check_sizes(self) -> None:
        sizes = all(_is_count(value) and value for value in (self.channels, self.width, self.layers))
        directions = all(_is_count(value) for value in (self.discriminant, self.recording, self.components))
        blocks = type(self.blocks) is int and (self.name == "blocks") <= self.blocks <= _MOST_BLOCKS
        alone = bool(self.recording or self.components) > bool(self.discriminant)
        require(
            sizes and directions and blocks and not alone and 0 <= self.dropout < 1,
            "encoder",
            found=f"channels {self.channels}, width {self.width}, blocks {self.blocks}, dropout {self.dropout}, "
            f"discriminant {self.discriminant}, recording {self.recording}, components {self.components}",
            expected=f"channels and width in 1 ... {_LARGEST}, blocks in 0 ... {_MOST_BLOCKS}, dropout in [0, 1), "
            f"discriminant in 0 ... {_LARGEST}, recording and components as well and 0 without discriminant",
            remedy="Change the one that is not.",
        )
        fits = self.channels % HEADS == 0 and bool(self.blocks) and self.width % (2 * self.blocks) == 0
        require(
            self.name != "transformer" or fits,
            "encoder",
            found=f"channels {self.channels}, blocks {self.blocks}, width {self.width}",
            expected=f"channels a multiple of {HEADS}, at least 1 block, a width that is a multiple of 2 * blocks",
            remedy="Change the one that is not.",
        )


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value <= _LARGEST


class Encoder(nn.Module):
    """Frames to one embedding a clip.

    Attributes:
        width: dimension of the embedding.
        n_directions: values at the end of the embedding that are projections on directions of emotions.
        mixup: how far the clips of a support are moved towards what they are under recording conditions, up to 1.
        autocast: context of the forward pass: training may choose a lower precision. Embeddings stay in single
            precision, as what follows, such as solving a linear system, needs it.
    """

    width: int
    n_directions: int = 0
    mixup: float = 0.5
    autocast: Callable[[], AbstractContextManager[Any]] = nullcontext

    def __call__(self, features: Features) -> Tensor:
        """(batch, frames, dim) -> (batch, width)."""
        with self.autocast():
            z: Tensor = super().__call__(features)
        return z.float() if z.dtype in (torch.float16, torch.bfloat16) else z

    def fit_scale(self, features: Features, y: Tensor | None = None) -> None:
        """Fit the normalisation to meta-train clips and their class numbers (batch,); nothing by default."""

    def prepare(self, features: Features) -> Features:
        """Return what depends on no weight and may replace the clips in `forward`; by default their frames."""
        return features

    def forward(self, features: Features) -> Tensor:
        """(batch, frames, dim) -> (batch, width)."""
        raise NotImplementedError
