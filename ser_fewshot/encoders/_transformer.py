"""A small transformer encoder on log-mel frames, the student of a larger one."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ser_fewshot.audio.acoustics import RANGE, level
from ser_fewshot.encoders._base import HEADS, Encoder, EncoderSettings
from ser_fewshot.encoders._fixed import SMALLEST_SPREAD
from ser_fewshot.encoders._statistics import Statistics, moments
from ser_fewshot.frontends import Features

STRIDE = 2
"""Log-mel frames to one frame of the network."""

WINDOW = 3
"""Kernel size of both convolutions."""

POSITIONS = 512
"""Dimension of the sinusoidal positions."""

CHUNK = 200
"""Frames of the network, 4 s, that attend to each other: it was trained on clips that are hardly longer."""

_LONGEST_WAVE = 10_000.0  # frames, over 2 pi


class Transformer(Encoder):
    """Two convolutions and transformer blocks on level-normalised log-mel frames, pooled over time.

    The architecture is that of Whisper's encoder (Radford et al., "Robust speech recognition via large-scale weak
    supervision", 2022, https://arxiv.org/abs/2212.04356), narrower. Positions let a head attend to neighbouring frames:
    without them, the first layers of Whisper lose half of their gain over functionals. Longer clips are processed in
    chunks whose frames are pooled together. Embeddings, mean and standard deviation over time of the outputs of all
    blocks, do not depend on the recording level.
    """

    band_mean: Tensor
    band_scale: Tensor
    mean: Tensor
    scale: Tensor
    positions: Tensor

    def __init__(self, dim: int, settings: EncoderSettings) -> None:
        super().__init__()
        channels = settings.channels
        self.frame_width = settings.width // 2
        self.statistics = Statistics(dim) if settings.functionals else None
        n_functionals = 0 if self.statistics is None else self.statistics.width
        self.width = settings.width + n_functionals
        self._ratio = settings.functionals * math.sqrt(settings.width / max(n_functionals, 1))
        self.register_buffer("band_mean", torch.zeros(dim))
        self.register_buffer("band_scale", torch.ones(dim))
        self.register_buffer("mean", torch.zeros(settings.width))
        self.register_buffer("scale", torch.ones(settings.width))
        self.register_buffer("positions", sinusoids(CHUNK), persistent=False)
        self.conv1 = nn.Linear(WINDOW * dim, channels)
        self.conv2 = nn.Linear(WINDOW * channels, channels)
        self.in_proj = nn.Linear(channels, channels)
        self.pos_proj = nn.Linear(POSITIONS, channels, bias=False)
        self.blocks = nn.ModuleList(Block(channels) for _ in range(settings.blocks))
        head_width = self.frame_width // settings.blocks
        self.layer_heads = nn.ModuleList(nn.Linear(channels, head_width) for _ in range(settings.blocks))

    def fit_scale(self, features: Features, y: Tensor | None = None) -> None:
        """Fit mean and standard deviation of each band, and of the functionals, to (batch, frames, dim)."""
        normalised = normalise_level(features)
        if self.statistics is not None:
            self.statistics.fit_scale(normalised)
        frames = normalised.x[normalised.mask]
        self.band_mean.copy_(frames.mean(0))
        self.band_scale.copy_(frames.std(0, correction=0).clamp_min(SMALLEST_SPREAD))

    def frames(self, features: Features) -> tuple[Tensor, Tensor]:
        """(batch, frames, dim) -> outputs of all blocks, (batch, frames / STRIDE, frame_width), and the mask."""
        return self._frames(normalise_level(features))

    def _frames(self, normalised: Features) -> tuple[Tensor, Tensor]:
        x, mask = self.stem(normalised)
        attention_mask = _attention_mask(mask)
        outputs = []
        for block, head in zip(self.blocks, self.layer_heads, strict=True):
            x = block(x, attention_mask)
            outputs.append(head(x))
        return torch.cat(outputs, 2), mask

    def stem(self, normalised: Features) -> tuple[Tensor, Tensor]:
        """Level-normalised (batch, frames, dim) -> block input (batch, frames / STRIDE, channels) and mask."""
        mask = normalised.mask
        x = (normalised.x - self.band_mean) / self.band_scale * mask[..., None]
        x = nn.functional.gelu(self.conv1(windows(x))) * mask[..., None]
        x = nn.functional.gelu(self.conv2(windows(x, stride=STRIDE)))
        positions = self.positions[torch.arange(x.shape[1]) % CHUNK]
        return self.in_proj(x) + self.pos_proj(positions), mask[:, ::STRIDE]

    def pool(self, frames: Tensor, mask: Tensor) -> Tensor:
        """(batch, frames, frame_width) -> standardised mean and deviation over time, (batch, 2 * frame_width)."""
        return (torch.cat(moments(frames, mask), 1) - self.mean) / self.scale

    def forward(self, features: Features) -> Tensor:
        """(batch, frames, dim) -> (batch, width)."""
        normalised = normalise_level(features)
        pooled = self.pool(*self._frames(normalised))
        if self.statistics is None:
            return pooled
        return torch.cat([pooled, self._ratio * self.statistics(normalised)], 1)


class Block(nn.Module):
    """A pre-norm transformer block."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.attention_norm = nn.RMSNorm(channels, eps=1e-5)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.out_proj = nn.Linear(channels, channels)
        self.norm = nn.RMSNorm(channels, eps=1e-5)
        self.fc1 = nn.Linear(channels, 4 * channels)
        self.fc2 = nn.Linear(4 * channels, channels)

    def forward(self, x: Tensor, attention_mask: Tensor | None) -> Tensor:
        """x (batch, frames, channels), attention_mask (batch, 1, 1 or frames, frames) -> as x."""
        x = x + self.out_proj(self.attention(x, attention_mask))
        out: Tensor = x + self.fc2(self.hidden(x))
        return out

    def attention(self, x: Tensor, attention_mask: Tensor | None) -> Tensor:
        """Outputs of all heads, (batch, frames, channels), before `out_proj`."""
        query, key, value = self.qkv(self.attention_norm(x)).unflatten(2, (3, HEADS, -1)).permute(2, 0, 3, 1, 4)
        return _attention(query, key, value, attention_mask).transpose(1, 2).flatten(2)

    def hidden(self, x: Tensor) -> Tensor:
        """Hidden units of the feed-forward layers, (batch, frames, 4 * channels)."""
        return nn.functional.gelu(self.fc1(self.norm(x)))


def _attention_mask(mask: Tensor) -> Tensor | None:
    """mask (batch, frames) -> which frames each attends to, (batch, 1, 1 or frames, frames); None if all to all.

    Those of its own clip and chunk; padding attends to its chunk, so that no softmax is over nothing.
    """
    n = mask.shape[1]
    if n <= CHUNK and not torch.compiler.is_exporting():
        return None if mask.all() else mask[:, None, None]
    chunk = torch.arange(n) // CHUNK
    together = (chunk[:, None] == chunk)[None, None].to(mask.device)
    return together & (mask[:, None, None] | ~mask[:, None, :, None])


def _attention(query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None) -> Tensor:
    """(batch, heads, frames, size) each -> scaled dot-product attention, (batch, heads, frames, size)."""
    if not torch.is_grad_enabled():
        return nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=attention_mask)
    # The fused kernel has no second derivative, which MAML takes.
    scores = query @ key.mT / math.sqrt(query.shape[-1])
    scores = scores if attention_mask is None else scores.masked_fill(~attention_mask, -torch.inf)
    attended: Tensor = scores.softmax(-1) @ value
    return attended


def windows(x: Tensor, *, stride: int = 1) -> Tensor:
    """(batch, frames, dim) -> each frame between its neighbours, (batch, frames / stride, WINDOW * dim).

    A linear layer on these is a convolution, in a third of the time that torch's own takes on a CPU.
    """
    n = x.shape[1]
    padded = nn.functional.pad(x, (0, 0, WINDOW // 2, WINDOW // 2))
    return torch.cat([padded[:, offset : offset + n : stride] for offset in range(WINDOW)], 2)


def sinusoids(n: int) -> Tensor:
    """Positions 0 to n - 1 as sines and cosines, (n, POSITIONS): Vaswani et al., https://arxiv.org/abs/1706.03762."""
    half = POSITIONS // 2
    rates = torch.exp(torch.arange(half) * (-math.log(_LONGEST_WAVE) / (half - 1)))
    angles = torch.arange(n)[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], 1)


def normalise_level(features: Features) -> Features:
    """(batch, frames, dim) log power relative to each clip's level, floored at RANGE below it."""
    x = (features.x - level(features.x, features.mask)[:, None, None]).clamp_min(-RANGE)
    return Features(x * features.mask[..., None], features.lengths)
