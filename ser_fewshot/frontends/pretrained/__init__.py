"""Front-ends of pretrained speech encoders: wav2vec2, HuBERT, WavLM, Whisper and their relatives."""

from __future__ import annotations

from ser_fewshot.frontends.pretrained.frontend import FRONTEND, Pretrained, Settings

__all__ = ["FRONTEND", "Pretrained", "Settings"]
