"""A small transformer on log-mel frames, made to be taught by a larger one, whose frames it says."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ser_fewshot.audio.acoustics import RANGE, level
from ser_fewshot.encoders._base import HEADS, Encoder, EncoderSettings
from ser_fewshot.encoders._description import SMALLEST_SPREAD
from ser_fewshot.encoders._statistics import Statistics, moments
from ser_fewshot.frontends import Features

STRIDE = 2
"""Frames of the front-end that become one of the network."""

WINDOW = 3
"""Frames that a convolution sees: one, and its two neighbours."""

POSITIONS = 512
"""Sines and cosines of a frame's place."""

PIECE = 200
"""Frames of the network, 4 s, that see each other. It was taught by clips that are hardly longer."""

_LONGEST_WAVE = 10_000.0  # frames, over 2 pi


class Transformer(Encoder):
    """Log-mel frames, however loud, through two convolutions and transformer blocks whose frames are then pooled.

    The shape is that of Whisper's encoder (Radford et al., "Robust speech recognition via large-scale weak
    supervision", 2022, https://arxiv.org/abs/2212.04356), narrower. Its positions are what lets a head look at the
    frames beside its own: without them, the first layers of Whisper lose half of what they know more than functionals.
    A longer clip is heard in pieces, whose frames are pooled together: a clip and the same clip said twice are alike.
    A level that one microphone sets and another does not is taken off first: a clip and the same clip at another gain,
    above the floor of the front-end, have one embedding, the mean and the standard deviation over time of what every
    block says.
    """

    band_mean: Tensor
    band_scale: Tensor
    mean: Tensor
    scale: Tensor
    places: Tensor

    def __init__(self, dim: int, settings: EncoderSettings) -> None:
        super().__init__()
        channels = settings.channels
        self.said = settings.width // 2
        self.statistics = Statistics(dim) if settings.functionals else None
        beside = 0 if self.statistics is None else self.statistics.width
        self.width = settings.width + beside
        self._ratio = settings.functionals * math.sqrt(settings.width / max(beside, 1))
        self.register_buffer("band_mean", torch.zeros(dim))
        self.register_buffer("band_scale", torch.ones(dim))
        self.register_buffer("mean", torch.zeros(settings.width))
        self.register_buffer("scale", torch.ones(settings.width))
        self.register_buffer("places", positions(PIECE), persistent=False)
        self.enter = nn.Linear(WINDOW * dim, channels)
        self.halve = nn.Linear(WINDOW * channels, channels)
        self.join = nn.Linear(channels, channels)
        self.place = nn.Linear(POSITIONS, channels, bias=False)
        self.blocks = nn.ModuleList(Block(channels) for _ in range(settings.blocks))
        self.say = nn.ModuleList(nn.Linear(channels, self.said // settings.blocks) for _ in range(settings.blocks))

    def fit_scale(self, features: Features, y: Tensor | None = None) -> None:
        """Measure mean and spread of each band, and of the functionals, over (batch, frames, dim) at one level."""
        at_level = levelled(features)
        if self.statistics is not None:
            self.statistics.fit_scale(at_level)
        frames = at_level.x[at_level.mask]
        self.band_mean.copy_(frames.mean(0))
        self.band_scale.copy_(frames.std(0, correction=0).clamp_min(SMALLEST_SPREAD))

    def frames(self, features: Features) -> tuple[Tensor, Tensor]:
        """(batch, frames, dim) -> what blocks say, side by side, (batch, frames / STRIDE, said), and the mask."""
        return self._frames(levelled(features))

    def _frames(self, at_level: Features) -> tuple[Tensor, Tensor]:
        x, mask = self.heard(at_level)
        seen = _seen(mask)
        said = []
        for block, say in zip(self.blocks, self.say, strict=True):
            x = block(x, seen)
            said.append(say(x))
        return torch.cat(said, 2), mask

    def heard(self, at_level: Features) -> tuple[Tensor, Tensor]:
        """At one level, (batch, frames, dim) -> what enters the first block, (batch, frames / STRIDE, channels)."""
        mask = at_level.mask
        x = (at_level.x - self.band_mean) / self.band_scale * mask[..., None]
        x = nn.functional.gelu(self.enter(windows(x))) * mask[..., None]
        x = nn.functional.gelu(self.halve(windows(x, stride=STRIDE)))
        places = self.places[torch.arange(x.shape[1]) % PIECE]
        return self.join(x) + self.place(places), mask[:, ::STRIDE]

    def pooled(self, frames: Tensor, mask: Tensor) -> Tensor:
        """(batch, frames, said), mask (batch, frames) -> mean and standard deviation of clips, (batch, 2 * said)."""
        return (torch.cat(moments(frames, mask), 1) - self.mean) / self.scale

    def forward(self, features: Features) -> Tensor:
        """(batch, frames, dim) -> (batch, width)."""
        at_level = levelled(features)
        seen = self.pooled(*self._frames(at_level))
        if self.statistics is None:
            return seen
        return torch.cat([seen, self._ratio * self.statistics(at_level)], 1)


class Block(nn.Module):
    """Self-attention and two layers on each frame; both residual, each after a norm."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.attention_norm = nn.RMSNorm(channels, eps=1e-5)
        self.attend = nn.Linear(channels, 3 * channels)
        self.gather = nn.Linear(channels, channels)
        self.norm = nn.RMSNorm(channels, eps=1e-5)
        self.widen = nn.Linear(channels, 4 * channels)
        self.narrow = nn.Linear(4 * channels, channels)

    def forward(self, x: Tensor, seen: Tensor | None) -> Tensor:
        """x (batch, frames, channels), seen (batch, 1, 1 or frames, frames) which frames each sees -> as x."""
        x = x + self.gather(self.attended(x, seen))
        out: Tensor = x + self.narrow(self.widened(x))
        return out

    def attended(self, x: Tensor, seen: Tensor | None) -> Tensor:
        """What the heads see, side by side, (batch, frames, channels)."""
        query, key, value = self.attend(self.attention_norm(x)).unflatten(2, (3, HEADS, -1)).permute(2, 0, 3, 1, 4)
        return _attention(query, key, value, seen).transpose(1, 2).flatten(2)

    def widened(self, x: Tensor) -> Tensor:
        """What the units between the two layers answer, (batch, frames, 4 * channels)."""
        return nn.functional.gelu(self.widen(self.norm(x)))


def _seen(mask: Tensor) -> Tensor | None:
    """mask (batch, frames) -> which frames each sees, (batch, 1, frames, frames); None where that is every one.

    Those of its own clip and piece; padding, which nobody sees, sees its piece, so that it is a number too. Where
    frames of a clip see the same, one row is enough: (batch, 1, 1, frames).
    """
    n = mask.shape[1]
    if n <= PIECE and not torch.compiler.is_exporting():
        return None if mask.all() else mask[:, None, None]
    piece = torch.arange(n) // PIECE
    together = (piece[:, None] == piece)[None, None].to(mask.device)
    return together & (mask[:, None, None] | ~mask[:, None, :, None])


def _attention(query: Tensor, key: Tensor, value: Tensor, seen: Tensor | None) -> Tensor:
    """(batch, heads, frames, size) each, seen (batch, 1, 1 or frames, frames) -> what each head makes of it."""
    if not torch.is_grad_enabled():
        return nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=seen)
    # By parts: the fused one has no second derivative, which MAML takes.
    scores = query @ key.mT / math.sqrt(query.shape[-1])
    scores = scores if seen is None else scores.masked_fill(~seen, -torch.inf)
    made: Tensor = scores.softmax(-1) @ value
    return made


def windows(x: Tensor, *, stride: int = 1) -> Tensor:
    """(batch, frames, dim) -> frames, each with its neighbours beside it, (batch, frames / stride, WINDOW * dim).

    One matrix product on these is a convolution, at a third of the time that the library's own takes on a processor.
    """
    n = x.shape[1]
    around = nn.functional.pad(x, (0, 0, WINDOW // 2, WINDOW // 2))
    return torch.cat([around[:, place : place + n : stride] for place in range(WINDOW)], 2)


def positions(n: int) -> Tensor:
    """Places 0 to n - 1 as sines and cosines, (n, POSITIONS): Vaswani et al., 2017, https://arxiv.org/abs/1706.03762."""
    half = POSITIONS // 2
    rates = torch.exp(torch.arange(half) * (-math.log(_LONGEST_WAVE) / (half - 1)))
    angles = torch.arange(n)[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], 1)


def levelled(features: Features) -> Features:
    """(batch, frames, dim) -> the same relative to each clip's level, and not below what counts as silence in it."""
    x = (features.x - level(features.x, features.mask)[:, None, None]).clamp_min(-RANGE)
    return Features(x * features.mask[..., None], features.lengths)
