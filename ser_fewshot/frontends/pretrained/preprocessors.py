"""What a checkpoint's `preprocessor_config.json` may say, and what holds where it says nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ser_fewshot.audio import SAMPLE_RATE
from ser_fewshot.errors import SettingsError

_LARGEST = {"sampling_rate": 192_000, "n_fft": 2_048, "hop_length": 2_048, "stride": 16}
_MOST_BANDS = 1_024

_WAVEFORM: dict[str, Any] = {"feature_size": 1, "sampling_rate": SAMPLE_RATE, "do_normalize": True}
_DEFAULTS: dict[str, dict[str, Any]] = {
    "wav2vec2-bert": {"num_mel_bins": 80, "stride": 2, "sampling_rate": SAMPLE_RATE},
    "whisper": {"feature_size": 80, "hop_length": 160, "n_fft": 400, "sampling_rate": SAMPLE_RATE},
}
"""As in the feature extractors of transformers 5."""


def checked_preprocessor(model_type: str, preprocessor: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a preprocessor does to a waveform, in full.

    Raises:
        SettingsError: it wants another sample rate than 16 kHz, or a value is not legal.
    """
    full = {key: preprocessor.get(key, value) for key, value in _DEFAULTS.get(model_type, _WAVEFORM).items()}
    for key, value in full.items():
        most = _LARGEST.get(key, _MOST_BANDS)
        legal = isinstance(value, bool) if key == "do_normalize" else type(value) is int and 1 <= value <= most
        if not legal:
            expected = "true or false" if key == "do_normalize" else f"a whole number from 1 to {most}"
            raise _illegal(key, value, expected)
    if full["sampling_rate"] != SAMPLE_RATE:
        raise _illegal("sampling_rate", full["sampling_rate"], f"{SAMPLE_RATE} Hz, at which every clip is read")
    if full.get("feature_size", 1) != 1 and model_type not in _DEFAULTS:
        raise _illegal("feature_size", full["feature_size"], "1, a waveform of one channel")
    if full.get("hop_length", 1) > full.get("n_fft", 1):
        raise _illegal("hop_length", full["hop_length"], f"at most n_fft, {full['n_fft']}")
    return full


def _illegal(key: str, value: object, expected: str) -> SettingsError:
    return SettingsError(
        f"preprocessor.{key}",
        found=f"{value!r:.80}",
        expected=expected,
        remedy="Take an encoder that was made for such input.",
    )
