"""Pretrained speech encoders of the transformers library: wav2vec2, HuBERT, WavLM, Whisper and their relatives.

Early and middle layers carry more prosody than the last, which carries words (Pasad et al., "Layer-wise analysis of a
self-supervised speech representation model", 2021, https://arxiv.org/abs/2107.04734), so the layer is chosen, or
learned: Yang et al., "SUPERB", 2021, https://arxiv.org/abs/2105.01051, weigh all by a softmax.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ser_fewshot.audio import SAMPLE_RATE
from ser_fewshot.compute.threads import each
from ser_fewshot.errors import SettingsError
from ser_fewshot.frontends._features import FrontEndModule, stack
from ser_fewshot.frontends.pretrained.architectures import KNOWN, blocks_key, build, checked, checked_preprocessor
from ser_fewshot.frontends.pretrained.chunks import Piece, batches, cut
from ser_fewshot.frontends.pretrained.family import Family
from ser_fewshot.frontends.pretrained.spectral import Conformer, Whisper
from ser_fewshot.frontends.pretrained.waveform import Convolutional, GatedConvolutional, SqueezedConvolutional
from ser_fewshot.settings import check_types
from ser_fewshot.storage.tensors import digest

__all__ = ["FRONTEND", "KNOWN", "Pooling", "Pretrained", "Settings"]

Pooling = Literal["mean", "mean_std", "frames"]
"""What a clip becomes: its average frame, that and the standard deviation beside it, or all its frames."""

_FAMILIES: dict[str, Any] = {
    "sew": SqueezedConvolutional,
    "wav2vec2-bert": Conformer,
    "wavlm": GatedConvolutional,
    "whisper": Whisper,
}
"""By model type; the others are convolutional."""
_MOST_FRAMES = 10_000  # of a chunk: attention grows with their square
_CPU_BATCH = 500  # frames, padding included: 10 s of sound fill a core, and batches run side by side
_ACCELERATOR_BATCH = 20_000


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The encoder and the features that are taken from it; all of it changes the output.

    Attributes:
        architecture: the encoder's part of the checkpoint's `config.json`.
        preprocessor: its `preprocessor_config.json`, completed by the library's defaults.
        layer: 0 is the input of the first transformer block, k the output of block k, the last is the encoder's own
            output; "weighted" is all of them, side by side, for the learner to weigh.
        pooling: see `Pooling`.
        chunk: seconds; a longer clip is analysed in pieces of this length.
        overlap: seconds that neighbouring pieces share; each keeps the half that is farther from its edge.
        trim: whether silence at the ends of a clip is cut off first. Left in, it raises scores on some corpora for the
            wrong reason: the length of a file, and of its silence, can depend on the emotion.
        random_weights: how many tensors the checkpoint lacked, so that they are random.
    """

    architecture: dict[str, Any]
    preprocessor: dict[str, Any] = field(default_factory=dict)
    layer: int | Literal["weighted"] = "weighted"
    pooling: Pooling = "mean_std"
    chunk: float = 30.0
    overlap: float = 4.0
    trim: bool = True
    random_weights: int = 0

    def __post_init__(self) -> None:
        check_types(self, where="pretrained")
        architecture = checked(self.architecture)
        # With all defaults, so that a saved model does not change when one of the library's does.
        object.__setattr__(self, "architecture", architecture)
        object.__setattr__(self, "preprocessor", checked_preprocessor(architecture["model_type"], self.preprocessor))
        n_blocks = architecture[blocks_key(architecture)]
        if isinstance(self.layer, int) and not 0 <= self.layer <= n_blocks:
            expected, remedy = f"0 to {n_blocks}, or 'weighted'", "Choose one that the encoder has."
            raise SettingsError("pretrained.layer", found=str(self.layer), expected=expected, remedy=remedy)
        if not 0 <= 2 * self.overlap <= self.chunk:
            raise SettingsError(
                "pretrained",
                found=f"chunk {self.chunk:g} s, overlap {self.overlap:g} s",
                expected="0 <= overlap <= chunk / 2",
                remedy="Change one of them.",
            )

    @property
    def n_blocks(self) -> int:
        """How many transformer blocks are built and run."""
        total: int = self.architecture[blocks_key(self.architecture)]
        return total if self.layer == "weighted" else self.layer


def family_of(architecture: Mapping[str, Any], preprocessor: Mapping[str, Any]) -> Family:
    """Return how an encoder of a checked architecture computes."""
    family: Family = _FAMILIES.get(architecture["model_type"], Convolutional)(architecture, preprocessor)
    return family


class Pretrained(FrontEndModule):
    """Waveforms in, frames of a pretrained encoder out.

    The features of a clip depend on that clip alone; see `family`.

    Attributes:
        dim: values in a frame: width of the encoder, twice that with standard deviations, times `layers`.
        layers: how many lie side by side in a frame: 1, unless they are to be weighted.
        pooled: whether a clip is one frame.
        network: the modules of the transformers encoder that are used, frozen; random until weights are loaded.

    Raises:
        SettingsError: the encoder cannot be built, or a chunk is longer or shorter than it can take.
    """

    sample_rate = SAMPLE_RATE
    storage = torch.float16
    spectral = False

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.settings = settings
        self.family = family_of(settings.architecture, settings.preprocessor)
        total = settings.architecture[blocks_key(settings.architecture)]
        self._final = settings.n_blocks == total
        self.layers = settings.n_blocks + 1 if settings.layer == "weighted" else 1
        self.pooled = settings.pooling != "frames"
        self.trim = settings.trim
        self.dim = self.layers * self.family.width * (2 if settings.pooling == "mean_std" else 1)
        self._longest, self._overlap = self._frames(settings.chunk), self._frames(settings.overlap)
        self._check_chunk()
        model = build(settings.architecture, blocks=settings.n_blocks)
        self.network = nn.Module()
        for name, part in self.family.parts(model, final=self._final).items():
            self.network.add_module(name, part)
        self.network.requires_grad_(requires_grad=False).eval()
        self.network.register_load_state_dict_post_hook(self._forget_digest)  # type: ignore[no-untyped-call]
        self._digest: str | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle settings and weights: torch cannot pickle a weight-normalised module."""
        return _rebuild, (self.settings, self.network.state_dict())

    @property
    def identity(self) -> dict[str, object]:
        """Everything that decides the values of the output, the weights among it; it keys the cache."""
        if self._digest is None:
            self._digest = digest(self.network)
        return {"frontend": "pretrained", "version": 1, **asdict(self.settings), "weights": self._digest}

    def train(self, mode: bool = True) -> Pretrained:
        """Stay in evaluation mode while a learner on top trains."""
        return super().train(mode=False)

    @torch.no_grad()
    def analyse(self, waveforms: Sequence[Tensor]) -> list[Tensor]:
        """Analyse one clip or more, of (samples,) each, in batches of like length.

        Returns:
            (frames, dim) of each clip; (1, dim) where clips are pooled.
        """
        device = next(self.network.parameters()).device
        signals = each(lambda waveform: self.family.signal(waveform.to(device)), waveforms)
        pieces = [
            piece
            for clip, signal in enumerate(signals)
            for piece in cut(clip, self.family.n_frames(len(signal)), longest=self._longest, overlap=self._overlap)
        ]
        most_frames = _CPU_BATCH if signals[0].device.type == "cpu" else _ACCELERATOR_BATCH
        found: dict[Piece, Tensor] = {}
        for described in each(partial(self._describe, signals), list(batches(pieces, most_frames=most_frames))):
            found |= described
        of_clips: list[list[Tensor]] = [[] for _ in signals]
        for piece in pieces:
            of_clips[piece.clip].append(found[piece])
        return [self._joined(parts).to(waveform) for parts, waveform in zip(of_clips, waveforms, strict=True)]

    def _describe(self, signals: Sequence[Tensor], batch: Sequence[Piece]) -> dict[Piece, Tensor]:
        """Return the states of each piece of a batch, or their moments where clips are pooled."""
        found = {}
        states_of = self._encode([self._part(signals[piece.clip], piece) for piece in batch])
        for piece, states in zip(batch, states_of, strict=True):
            kept = states[:, piece.first - piece.start : piece.last - piece.start]  # (layers, frames, width)
            found[piece] = _moments(kept) if self.pooled else kept.clone()
        return found

    @property
    def traceable_seconds(self) -> float:
        """The longest clip, in s, that is analysed in one piece, as `traceable` does it."""
        return self._longest * self.family.stride / self.family.rate

    def traceable(self) -> nn.Module:
        """Return a module from one clip (1, samples) in one piece to its frames (1, frames, dim), for export."""
        return _Traceable(self)

    def _forget_digest(self, _network: nn.Module, _keys: object) -> None:
        self._digest = None

    def _part(self, signal: Tensor, piece: Piece) -> Tensor:
        family = self.family
        stop = len(signal) if piece.whole else (piece.stop - 1) * family.stride + family.receptive
        return signal[piece.start * family.stride : stop]

    def _encode(self, signals: Sequence[Tensor]) -> list[Tensor]:
        """Signals -> (layers, frames, width) each."""
        stems = [self.family.stem(self.network, signal) for signal in signals]
        lengths = [len(stem) for stem in stems]
        batch = stack(stems).to(stems[0].device)
        states = self._states(batch.x, batch.mask if len(set(lengths)) > 1 else None)
        return [row[:, :length] for row, length in zip(states, lengths, strict=True)]

    def _states(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """Input of the first block (batch, frames, width) and its mask -> (batch, layers, frames, width)."""
        states = [x, *self.family.blocks(self.network, x, mask)]
        if self._final:
            states[-1] = self.family.last(self.network, states[-1])
        return torch.stack(states[-self.layers :], 1)

    def _joined(self, parts: Sequence[Tensor]) -> Tensor:
        """States or moments of a clip's pieces -> (frames, dim)."""
        if not self.pooled:
            return torch.cat(list(parts), 1).transpose(0, 1).flatten(1)
        n, total, squares = torch.stack(list(parts)).sum(0).unbind()  # (layers, width) each
        mean = total / n
        deviation = (squares / n - mean.square()).clamp_min(0).sqrt()
        values = [mean, deviation] if self.settings.pooling == "mean_std" else [mean]
        return torch.cat(values, 1).flatten()[None].float()

    def _frames(self, seconds: float) -> int:
        return int(seconds * self.family.rate / self.family.stride)

    def _check_chunk(self) -> None:
        most = min(_MOST_FRAMES, self.family.positions or _MOST_FRAMES)
        if not 1 <= self._longest <= most:
            raise SettingsError(
                "pretrained.chunk",
                found=f"{self.settings.chunk:g} s, {self._longest} frames",
                expected=f"1 to {most} frames",
                remedy=f"Choose at most {most * self.family.stride / self.family.rate:g} s.",
            )


class _Traceable(nn.Module):
    """`analyse` for one clip in one piece."""

    def __init__(self, frontend: Pretrained) -> None:
        super().__init__()
        self.frontend = frontend

    def forward(self, waveform: Tensor) -> Tensor:
        """(1, samples) -> (1, frames, dim)."""
        frontend, family = self.frontend, self.frontend.family
        stem = family.stem(frontend.network, family.signal(waveform[0]))
        states = frontend._states(stem[None], None)[0]  # (layers, frames, width)
        return frontend._joined([_moments(states) if frontend.pooled else states])[None]


def _rebuild(settings: Settings, weights: dict[str, Tensor]) -> Pretrained:
    with torch.random.fork_rng(devices=[]):
        frontend = Pretrained(settings)
    frontend.network.load_state_dict(weights)
    return frontend


def _moments(states: Tensor) -> Tensor:
    """(layers, frames, width) -> number of frames, sum and sum of squares, (3, layers, width), in double."""
    values = states.double()
    n = torch.full_like(values[:, 0], values.shape[1])
    return torch.stack([n, values.sum(1), values.square().sum(1)])


FRONTEND = Pretrained
