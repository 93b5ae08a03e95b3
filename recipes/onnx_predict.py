"""Recognise clips with a model that `ser-fewshot export` wrote, on a machine without torch and without this package.

    ser-fewshot enroll mine --out mine.ser
    ser-fewshot export mine.ser --out mine.onnx
    pip install numpy soundfile soxr onnxruntime
    python recipes/onnx_predict.py mine.onnx clip.wav ...

A copy of this one file is all that the other machine needs. It prints, for each clip, its label and the probability of
every enrolled label; only `ser-fewshot predict` detects clips of none of them.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path

import numpy as np
import onnxruntime  # type: ignore[import-untyped]
import soundfile
import soxr
from numpy.typing import NDArray

Wave = NDArray[np.float32]

FRAME, HOP = 400, 160
"""Levels are taken over 25 ms, every 10 ms, in samples at 16 kHz."""


def load(path: Path, *, rate: int, trim_db: float) -> Wave:
    """Load a clip for the model, (samples,): mono, resampled, and trimmed unless `trim_db` is infinite."""
    try:
        samples, found = soundfile.read(path, dtype="float32", always_2d=True)
    except soundfile.SoundFileError as error:
        raise SystemExit(f"{path}: found no audio that can be read ({error}); check the path") from error
    wave: Wave = samples.mean(axis=1)
    if found != rate:
        wave = soxr.resample(wave, found, rate)
    return wave if math.isinf(trim_db) else trim(wave, trim_db=trim_db)


def trim(wave: Wave, *, trim_db: float) -> Wave:
    """Cut the ends of a wave (samples,) that are `trim_db` below its loudest frame."""
    centred = np.pad(wave - wave.mean(), FRAME // 2)
    frames = np.lib.stride_tricks.sliding_window_view(centred, FRAME)[::HOP]
    power = np.square(frames).mean(axis=1)
    (loud,) = np.nonzero(power > power.max() * 10 ** (-trim_db / 10))
    if not len(loud):
        raise SystemExit("found nothing but silence")
    return wave[loud[0] * HOP : (loud[-1] + 1) * HOP]


class Model:
    """An exported model."""

    def __init__(self, path: Path) -> None:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # errors: it warns of an optional input
        self.session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        metadata = self.session.get_modelmeta().custom_metadata_map
        self.labels: list[str] = json.loads(metadata["labels"])
        self.rate, self.trim_db = int(metadata["sample_rate"]), float(metadata["trim_db"])
        self.shortest, self.longest = float(metadata["min_seconds"]), float(metadata["max_seconds"])

    def predict(self, path: Path) -> dict[str, float]:
        """Return the probability of every label, for one clip."""
        wave = load(path, rate=self.rate, trim_db=self.trim_db)
        if not self.shortest <= len(wave) / self.rate <= self.longest:
            raise SystemExit(
                f"{path}: found {len(wave) / self.rate:.2f} s of sound; "
                f"expected {self.shortest:g} to {self.longest:g} s. Choose another part of the recording."
            )
        (probabilities,) = self.session.run(["probabilities"], {"waveform": wave[None]})
        return dict(zip(self.labels, probabilities[0].tolist(), strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description="Recognise clips with an exported model, without torch.")
    parser.add_argument("model", type=Path, help="what 'ser-fewshot export' wrote")
    parser.add_argument("clips", type=Path, nargs="+", metavar="CLIP")
    arguments = parser.parse_args()
    model = Model(arguments.model)
    for clip in arguments.clips:
        probabilities = model.predict(clip)
        label = max(probabilities, key=lambda name: probabilities[name])
        print(clip, label, *(f"{name}={value:.3f}" for name, value in probabilities.items()), sep="\t")


if __name__ == "__main__":
    main()
