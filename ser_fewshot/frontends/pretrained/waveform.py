"""Encoders on the waveform itself: wav2vec2 and its relatives."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ser_fewshot.audio import SAMPLE_RATE
from ser_fewshot.frontends.pretrained.family import Family, tensor_of


class Convolutional(Family):
    """wav2vec2, HuBERT, UniSpeech-SAT, data2vec: convolutions on the waveform, then a transformer.

    Baevski et al., "wav2vec 2.0", 2020, https://arxiv.org/abs/2006.11477; Hsu et al., "HuBERT", 2021,
    https://arxiv.org/abs/2106.07447; Chen et al., "UniSpeech-SAT", 2021, https://arxiv.org/abs/2110.05752; Baevski et
    al., "data2vec", 2022, https://arxiv.org/abs/2202.03555.
    """

    keeps: tuple[str, ...] = ("feature_extractor", "feature_projection", "encoder")

    def __init__(self, architecture: Mapping[str, Any], preprocessor: Mapping[str, Any]) -> None:
        self.width = architecture["hidden_size"]
        self.rate = SAMPLE_RATE
        self.stride = math.prod(architecture["conv_stride"])
        self.receptive = 1
        for kernel, stride in zip(
            *(reversed(architecture[key]) for key in ("conv_kernel", "conv_stride")), strict=True
        ):
            self.receptive = (self.receptive - 1) * stride + kernel
        self.shortest = self.receptive
        self._stable = architecture.get("do_stable_layer_norm", False)
        self.above = ("encoder.layers", "encoder.layer_norm") if self._stable else ("encoder.layers",)
        self._normalize = preprocessor["do_normalize"]

    def parts(self, model: Any, *, final: bool) -> dict[str, nn.Module]:
        """Leave out the norm after the last block where earlier ones are asked for."""
        if self._stable and not final:
            model.encoder.layer_norm = nn.Identity()
        return super().parts(model, final=final)

    def signal(self, waveform: Tensor) -> Tensor:
        """(samples,) -> (samples,), with mean 0 and variance 1 where the checkpoint was trained so."""
        if self._normalize:
            waveform = (waveform - waveform.mean()) / (waveform.var(correction=0) + 1e-7).sqrt()
        return self._filled(waveform)

    def stem(self, parts: Any, signal: Tensor) -> Tensor:
        """(samples,) -> (frames, width), positions included."""
        x = tensor_of(parts.feature_projection(parts.feature_extractor(signal[None]).transpose(1, 2)))
        x = x + parts.encoder.pos_conv_embed(x)
        return tensor_of(x if self._stable else parts.encoder.layer_norm(x))[0]

    def last(self, parts: Any, x: Tensor) -> Tensor:
        """Apply the norm that the "stable" architectures end with."""
        return tensor_of(parts.encoder.layer_norm(x)) if self._stable else x


class GatedConvolutional(Convolutional):
    """WavLM: its first block computes a bias of relative positions, which each block gates.

    Chen et al., "WavLM", 2022, https://arxiv.org/abs/2110.13900.
    """

    # Its attention takes the weights of its projections and never calls them, so that no adapter in them would run.
    projections = ("intermediate_dense", "output_dense")

    def blocks(self, parts: Any, x: Tensor, mask: Tensor | None) -> Iterator[Tensor]:
        """Pass the bias from block to block; see `Family.blocks`."""
        positions, padding = None, None if mask is None else _Padding(mask, x.dtype)
        for block in parts.encoder.layers:
            x, positions = block(x, attention_mask=padding, position_bias=positions)[:2]
            yield x


class _Padding:
    """The padding of a batch for WavLM's attention, which calls `.ne(1)` on its mask.

    From a boolean mask the library makes a boolean one and passes it to torch beside a float bias, and torch warns of
    the unlike types; a filter of that warning would hold for the whole process. Numbers mean the same to it.
    """

    def __init__(self, mask: Tensor, dtype: torch.dtype) -> None:
        self._added = torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill(~mask, -math.inf)

    def ne(self, _one: int) -> Tensor:
        """Return the bias of the attention scores, (batch, frames)."""
        return self._added


class SqueezedConvolutional(Convolutional):
    """SEW: as wav2vec2, but the blocks run on frames of half the rate, which are its output here.

    Wu et al., "Performance-efficiency trade-offs in unsupervised pre-training", 2021, https://arxiv.org/abs/2109.06870.
    """

    keeps = ("feature_extractor", "layer_norm", "feature_projection", "encoder")

    def __init__(self, architecture: Mapping[str, Any], preprocessor: Mapping[str, Any]) -> None:
        super().__init__(architecture, preprocessor)
        self.receptive += (architecture["squeeze_factor"] - 1) * self.stride
        self.stride *= architecture["squeeze_factor"]
        self.shortest = self.receptive

    def parts(self, model: Any, *, final: bool) -> dict[str, nn.Module]:
        """Leave out the upsampling to the full rate."""
        model.encoder.upsample = nn.Identity()
        return super().parts(model, final=final)

    def stem(self, parts: Any, signal: Tensor) -> Tensor:
        """(samples,) -> (frames, width), squeezed, positions included."""
        x = parts.layer_norm(parts.feature_extractor(signal[None]).transpose(1, 2))
        if hasattr(parts, "feature_projection"):
            x = parts.feature_projection(x)
        x = x.transpose(1, 2)  # (1, width, frames)
        positions, pooled = parts.encoder.pos_conv_embed(x), parts.encoder.pool(x)
        x = pooled + positions[..., : pooled.shape[-1]]  # an odd kernel may give one position too many, never too few
        return tensor_of(parts.encoder.layer_norm(x.transpose(1, 2)))[0]
