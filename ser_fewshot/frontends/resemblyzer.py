"""Speaker embeddings of Resemblyzer, trained to tell voices apart; one frame of 256 values a clip.

Wan et al., "Generalized end-to-end loss for speaker verification" (GE2E), 2018, https://arxiv.org/abs/1710.10467. Clips
are made louder and long pauses cut, as the package's own examples do.

The package and its weights are free (Apache 2.0), and an extra: pip install ser-fewshot[bench].
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import torch
from torch import Tensor

from ser_fewshot.audio import SAMPLE_RATE
from ser_fewshot.optional import not_installed

_LEAST_SAMPLES = 400  # one window: where voice activity detection leaves less, the whole clip is taken


@dataclass(frozen=True, kw_only=True)
class Settings:
    """There is nothing to set."""


class Resemblyzer:
    """Waveforms in, embeddings (1, 256) of unit length out.

    Raises:
        SettingsError: Resemblyzer is not installed.
    """

    sample_rate = SAMPLE_RATE
    trim = True
    spectral = False
    layers = 1
    pooled = True
    network = None
    trained_elsewhere = True  # its weights are the library's
    storage = torch.float32

    def __init__(self, settings: Settings | None = None) -> None:
        self.settings = settings or Settings()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # of a module of scipy, under its older name
                self._library: Any = importlib.import_module("resemblyzer")
        except ImportError as error:
            raise not_installed(error, extra="bench", subject="resemblyzer") from error
        self._encoder = self._library.VoiceEncoder("cpu", verbose=False)
        self.dim = self._encoder.linear.out_features

    @property
    def identity(self) -> dict[str, object]:
        """Everything that decides the values of the output; it keys the cache."""
        return {"frontend": "resemblyzer", "version": 1, "resemblyzer": version("resemblyzer")}

    def analyse(self, waveforms: Sequence[Tensor]) -> list[Tensor]:
        """Waveforms (samples,) each -> embeddings (1, 256) each."""
        return [self._embedding(waveform) for waveform in waveforms]

    def _embedding(self, waveform: Tensor) -> Tensor:
        wave = waveform.numpy()
        voiced = self._library.preprocess_wav(wave)
        embedding = self._encoder.embed_utterance(voiced if len(voiced) >= _LEAST_SAMPLES else wave)
        return torch.from_numpy(embedding)[None]


FRONTEND = Resemblyzer
