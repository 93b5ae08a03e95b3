"""What an encoder is told and what it promises."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from ser_fewshot.errors import SettingsError
from ser_fewshot.frontends import Features

EncoderName = Literal["statistics", "mean", "dense", "conv", "transformer", "blocks"]
View = Literal["emotion", "speaker"]

HEADS = 8
"""Of every block of "transformer"."""

_LARGEST = 4096  # channels and width; more is a slip of the keyboard or a hostile file
_MOST_BLOCKS = 64


@dataclass(frozen=True, kw_only=True)
class EncoderSettings:
    """What is built between the frames and the embedding.

    Attributes:
        name: "statistics" describes the frames by fixed functionals and learns nothing; "mean" is the average frame,
            the plainest baseline; "dense" learns, beside the functionals, what a small network makes of them; "conv",
            what a convolutional network sees in the frames; "transformer" is a small network alone that looks at the
            whole clip, made to be taught by a larger encoder; "blocks" are the next transformer blocks of the
            pretrained encoder whose frames it is given, so that they can be trained.
        whitening: whether the functionals are turned and scaled so that clips of one class (the label of the first task
            in training) differ alike in every direction: what varies within a class counts less. Good for speakers.
        discriminant: directions that are set beside the embedding, in which classes differ most for how much clips of
            one class do; 0 for none. They are found when the training is done.
        recording: directions in which recordings of one clip differ, along which an embedding is kept within what is
            usual; with `discriminant` alone, and found with it.
        view: whether these are the directions of emotions or of speakers.
        functionals: how much the fixed functionals weigh beside what "transformer" sees, which weighs 1.
        channels: width of the network.
        blocks: residual layers in it; the transformer blocks of "transformer" and of "blocks".
        width: what the learned part adds to the embedding; of "transformer", the embedding: mean and standard deviation
            of what every block says.
        dropout: share of values dropped in training; "transformer" and "blocks" drop none.
        lora: rank of the low-rank adapters that are trained in "blocks", instead of their weights; 0 for none.
        layers: of the front-end that stand side by side in a frame; a learned softmax mixes them.
        pooled: whether the front-end makes one frame of a clip, which then stands for the functionals.
        continues: the settings of the front-end whose encoder "blocks" go on with.
            These three follow the front-end: a model that is built sets them.
    """

    name: EncoderName = "conv"
    whitening: bool = False
    discriminant: int = 0
    recording: int = 0
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
        if self.name not in get_args(EncoderName):
            expected = " | ".join(get_args(EncoderName))
            raise SettingsError("encoder", found=repr(self.name), expected=expected, remedy="Choose one of these.")
        if self.view not in get_args(View):
            expected = " | ".join(get_args(View))
            raise SettingsError("encoder.view", found=repr(self.view), expected=expected, remedy="Choose one of these.")
        if not 0 <= self.functionals <= _LARGEST or (self.functionals and self.name != "transformer"):
            raise SettingsError(
                "encoder.functionals",
                found=f"{self.functionals!r} for {self.name!r}",
                expected=f"0 to {_LARGEST} for 'transformer', else 0",
                remedy="Leave it out, or choose 'transformer'.",
            )
        if type(self.whitening) is not bool or (self.whitening and self.name in ("mean", "transformer")):
            raise SettingsError(
                "encoder.whitening",
                found=f"{self.whitening!r} for {self.name!r}",
                expected="true or false, and functionals to whiten",
                remedy="Leave it out, or choose another encoder.",
            )
        if (self.pooled and self.name in ("conv", "transformer", "blocks")) or (
            self.layers > 1 and self.pooled and self.name == "mean"
        ):
            raise SettingsError(
                "encoder",
                found=f"{self.name!r} on a front-end with one frame a clip and {self.layers} layers",
                expected="statistics | dense",
                remedy="Choose one of these, or let the front-end keep its frames (pooling 'frames').",
            )
        if type(self.lora) is not int or not 0 <= self.lora <= _LARGEST or (self.lora and self.name != "blocks"):
            raise SettingsError(
                "encoder.lora",
                found=f"{self.lora!r} for {self.name!r}",
                expected=f"a rank from 1 to {_LARGEST} for 'blocks', else 0",
                remedy="8 is a good rank to begin with.",
            )
        self._check_sizes()

    def _check_sizes(self) -> None:
        whole = all(type(value) is int for value in (self.channels, self.width, self.blocks, self.layers))
        positive = (self.channels, self.width, self.layers)
        whole = whole and all(
            type(value) is int and 0 <= value <= _LARGEST for value in (self.discriminant, self.recording)
        )
        whole = whole and bool(self.recording) <= bool(self.discriminant)
        sizes = whole and 1 <= min(positive) <= max(positive) <= _LARGEST
        if not sizes or not (self.name == "blocks") <= self.blocks <= _MOST_BLOCKS or not 0 <= self.dropout < 1:
            raise SettingsError(
                "encoder",
                found=f"channels {self.channels}, width {self.width}, blocks {self.blocks}, dropout {self.dropout}, "
                f"discriminant {self.discriminant}, recording {self.recording}",
                expected=f"channels and width in 1 ... {_LARGEST}, blocks in 0 ... {_MOST_BLOCKS}, dropout in [0, 1), "
                f"discriminant in 0 ... {_LARGEST}, recording as well and 0 without discriminant",
                remedy="Change the one that is not.",
            )
        of_heads = self.channels % HEADS == 0 and self.blocks and self.width % (2 * self.blocks) == 0
        if self.name == "transformer" and not of_heads:
            raise SettingsError(
                "encoder",
                found=f"channels {self.channels}, blocks {self.blocks}, width {self.width}",
                expected=f"channels a multiple of {HEADS}, at least 1 block, a width that is a multiple of 2 * blocks",
                remedy="Change the one that is not.",
            )


class Encoder(nn.Module):
    """Frames to one embedding a clip.

    Attributes:
        width: length of the embedding.
        autocast: the context it computes in: training may choose a lower precision. Embeddings stay in single
            precision, as what follows, such as a linear system, is small and needs it.
    """

    width: int
    autocast: Callable[[], AbstractContextManager[Any]] = nullcontext

    def __call__(self, features: Features) -> Tensor:
        """(batch, frames, dim) -> (batch, width)."""
        with self.autocast():
            z: Tensor = super().__call__(features)
        return z.float() if z.dtype in (torch.float16, torch.bfloat16) else z

    def fit_scale(self, features: Features, y: Tensor | None = None) -> None:
        """Learn, from meta-train clips and their class numbers (batch,), the scale of what is fixed.

        Nothing to learn by default.
        """

    def prepare(self, features: Features) -> Features:
        """Return what may stand for the clips in `forward`: all that depends on no weight. By default their frames."""
        return features

    def forward(self, features: Features) -> Tensor:
        """(batch, frames, dim) -> (batch, width)."""
        raise NotImplementedError
