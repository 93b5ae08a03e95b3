"""Functionals of openSMILE, the acoustic descriptions that the field compares itself with; one frame a clip.

Eyben, Wöllmer, Schuller, "openSMILE: the Munich versatile and fast open-source audio feature extractor", 2010,
https://doi.org/10.1145/1873951.1874246. eGeMAPS, 88 values: Eyben et al., "The Geneva minimalistic acoustic parameter
set", 2016, https://doi.org/10.1109/TAFFC.2015.2457417. ComParE 2016, 6,373 values: Schuller et al., 2016,
https://doi.org/10.21437/Interspeech.2016-129.

The package is free for research alone (audEERING's licence), and an extra: pip install ser-fewshot[bench].
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from ser_fewshot.audio import SAMPLE_RATE
from ser_fewshot.optional import not_installed

FeatureSetName = Literal["eGeMAPSv02", "ComParE_2016"]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Which functionals are computed."""

    features: FeatureSetName = "eGeMAPSv02"


class OpenSmile:
    """Waveforms in, functionals (1, dim) out; 0 where one is not a number, as of the pitch of a clip without any.

    Raises:
        SettingsError: openSMILE is not installed.
    """

    sample_rate = SAMPLE_RATE
    trim = True
    spectral = False
    layers = 1
    pooled = True
    network = None
    storage = torch.float32

    def __init__(self, settings: Settings | None = None) -> None:
        self.settings = settings or Settings()
        try:
            opensmile: Any = importlib.import_module("opensmile")
        except ImportError as error:
            raise not_installed(error, extra="bench", subject="opensmile") from error
        self._smile = opensmile.Smile(
            feature_set=opensmile.FeatureSet[self.settings.features], feature_level=opensmile.FeatureLevel.Functionals
        )
        self._version = opensmile.__version__
        self.dim = len(self._smile.feature_names)

    @property
    def identity(self) -> dict[str, object]:
        """Everything that decides the values of the output; it keys the cache."""
        return {"frontend": "opensmile", "version": 1, "opensmile": self._version, **asdict(self.settings)}

    def analyse(self, waveforms: Sequence[Tensor]) -> list[Tensor]:
        """Waveforms (samples,) each -> functionals (1, dim) each."""
        values = [self._smile(waveform.numpy(), self.sample_rate) for waveform in waveforms]  # (1, dim, 1) each
        return [torch.from_numpy(x.reshape(1, -1).astype("float32")).nan_to_num(0.0, 0.0, 0.0) for x in values]


FRONTEND = OpenSmile
