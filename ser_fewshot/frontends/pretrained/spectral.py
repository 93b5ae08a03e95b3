"""Encoders on log-mel frames: Wav2Vec2-BERT and Whisper."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from transformers import SeamlessM4TFeatureExtractor, WhisperFeatureExtractor

from ser_fewshot.audio import SAMPLE_RATE
from ser_fewshot.compute.threads import Lock
from ser_fewshot.errors import SettingsError
from ser_fewshot.frontends._stft import stft_kernels
from ser_fewshot.frontends.pretrained.family import Family, bias_of, tensor_of

_POSITIONS = Lock()  # the library keeps the positions of the last batch in the module, and batches run in threads


class Conformer(Family):
    """Wav2Vec2-BERT: log-mel frames, two by two, through conformer blocks, whose convolutions look back only.

    Barrault et al., "Seamless", 2023, https://arxiv.org/abs/2312.05187.
    """

    keeps = ("feature_projection", "encoder")
    above = ("encoder.layers", "encoder.embed_positions")
    projections = ("linear_q", "linear_v")

    def __init__(self, architecture: Mapping[str, Any], preprocessor: Mapping[str, Any]) -> None:
        bands, pair = preprocessor["num_mel_bins"], preprocessor["stride"]
        if bands * pair != architecture["feature_projection_input_dim"]:
            raise SettingsError(
                "preprocessor",
                found=f"num_mel_bins {bands}, stride {pair}",
                expected=f"a product of {architecture['feature_projection_input_dim']}, as the encoder takes",
                remedy="Take config and preprocessor from one checkpoint.",
            )
        kind: Any = SeamlessM4TFeatureExtractor
        self._extractor = kind(feature_size=bands, num_mel_bins=bands, stride=pair)
        self.width = architecture["hidden_size"]
        self.shortest = 400 + (pair - 1) * 160  # samples: a window of 25 ms, and a hop of 10 ms for each further one
        self.rate = SAMPLE_RATE / 160 / pair
        self.stride = self.receptive = 1

    def signal(self, waveform: Tensor) -> Tensor:
        """(samples,) -> (steps, stride * bands): log-mel, each band with mean 0 and variance 1 over the clip."""
        made = self._extractor(self._filled(waveform).cpu().numpy(), sampling_rate=SAMPLE_RATE, return_tensors="pt")
        whole = made["attention_mask"][0].bool()  # a frame that would be half padding is not there
        return tensor_of(made["input_features"][0][whole].to(waveform))

    def stem(self, parts: Any, signal: Tensor) -> Tensor:
        """(steps, bands) -> (frames, width)."""
        return tensor_of(parts.feature_projection(signal[None]))[0]

    def blocks(self, parts: Any, x: Tensor, mask: Tensor | None) -> Iterator[Tensor]:
        """Run the blocks with their relative positions; see `Family.blocks`."""
        bias = None if mask is None else bias_of(mask, x.dtype)
        embed = parts.encoder.embed_positions
        with _POSITIONS.held():
            positions = None if embed is None else embed(x)
        for block in parts.encoder.layers:
            x = tensor_of(
                block(x, attention_mask=bias, relative_position_embeddings=positions, conv_attention_mask=mask)
            )
            yield x


class Whisper(Family):
    """The encoder of Whisper on a clip at its own length, instead of filled up to 30 s with silence.

    Its log-mel is taken of the clip alone and its positions are cut to the clip. Radford et al., "Robust speech
    recognition via large-scale weak supervision", 2022, https://arxiv.org/abs/2212.04356.
    """

    keeps = ("conv1", "conv2", "embed_positions", "layers", "layer_norm")
    above = ("layers", "layer_norm")

    def __init__(self, architecture: Mapping[str, Any], preprocessor: Mapping[str, Any]) -> None:
        bands, self._hop, self._n_fft = (preprocessor[key] for key in ("feature_size", "hop_length", "n_fft"))
        if bands != architecture["num_mel_bins"]:
            raise SettingsError(
                "preprocessor",
                found=f"feature_size {bands}",
                expected=f"{architecture['num_mel_bins']}, as many bands as the encoder takes",
                remedy="Take config and preprocessor from one checkpoint.",
            )
        kind: Any = WhisperFeatureExtractor
        extractor = kind(feature_size=bands, hop_length=self._hop, n_fft=self._n_fft)
        self._filters = torch.from_numpy(extractor.mel_filters.T).float().contiguous()  # (bands, frequencies)
        self._window = torch.hann_window(self._n_fft)
        self._waves = stft_kernels(self._window, self._n_fft)
        self.width = architecture["d_model"]
        self.positions = architecture["max_source_positions"]
        self.shortest = self._n_fft
        self.rate = SAMPLE_RATE / self._hop
        self.stride = self.receptive = 2

    def parts(self, model: Any, *, final: bool) -> dict[str, nn.Module]:
        """Leave out the norm after the last block where earlier ones are asked for."""
        if not final:
            model.layer_norm = nn.Identity()
        return super().parts(model, final=final)

    def signal(self, waveform: Tensor) -> Tensor:
        """(samples,) -> (steps, bands): log-mel as WhisperFeatureExtractor makes it, without padding."""
        log = self._mel(self._filled(waveform)).clamp_min(1e-10).log10()  # (bands, steps)
        return ((torch.maximum(log, log.max() - 8.0) + 4.0) / 4.0).T

    def _mel(self, sound: Tensor) -> Tensor:
        """(samples,) -> power in each band, (bands, steps)."""
        filters = self._filters.to(sound)
        if torch.compiler.is_exporting():
            around = nn.functional.pad(sound[None, None], (self._n_fft // 2, self._n_fft // 2), mode="reflect")
            parts = nn.functional.conv1d(around, self._waves, stride=self._hop)[0, :, :-1]  # (n_fft + 2, steps)
            return filters.repeat_interleave(2, dim=1) @ parts.square()
        window = self._window.to(sound)
        spectrum = torch.stft(sound, self._n_fft, self._hop, window=window, return_complex=True)[:, :-1]
        return filters @ spectrum.abs().square()

    def n_frames(self, steps: int) -> int:
        """Return how many frames a signal gives: the last may see one step and the padding of the convolution."""
        return (steps + 1) // 2

    def stem(self, parts: Any, signal: Tensor) -> Tensor:
        """(steps, bands) -> (frames, width), with the positions from the beginning."""
        x = nn.functional.gelu(parts.conv1(signal.T[None]))
        x = nn.functional.gelu(parts.conv2(x))[0].T
        return tensor_of(x + parts.embed_positions.weight[: x.shape[0]])

    def last(self, parts: Any, x: Tensor) -> Tensor:
        """Apply the norm that the encoder ends with."""
        return tensor_of(parts.layer_norm(x))

    def _stack(self, parts: Any) -> Any:
        return parts.layers
