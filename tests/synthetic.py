"""Made-up frames, few and small enough for hundreds of tests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from conftest import tone
from torch import Tensor

from ser_fewshot.corpora import Utterance
from ser_fewshot.evaluation.calibration import Calibration
from ser_fewshot.frontends import Features, FeatureSet, analyse, stack
from ser_fewshot.learners import fit_speaker_model, points
from ser_fewshot.models import Model, ModelConfig, build_model, silence

DIM = 8
MUST_LEARN = {"mann"}
"""Learners that compare by what they have learned: with random weights they can know nothing."""
CALIBRATION = Calibration(
    temperature=(0.7, 0.2, -0.1, 0.0, 0.0),
    novelty=(-3.0, 0.1, 0.2, 0.0, 0.0, 3.0, -0.1, 0.0, 0.0, 0.0),
    most_ways=4,
    most_shots=5,
)
"""One that makes probabilities flatter, and clips unknown that lie several times the usual distance away."""
EMOTIONS = ("anger", "fear", "joy", "sadness", "surprise")


def frames(seed: int, *, n_frames: int | None = None, dim: int = DIM) -> Tensor:
    """One clip of noise: (frames, dim), 12 to 40 frames unless their number is given."""
    generator = torch.Generator().manual_seed(seed)
    length = int(torch.randint(12, 40, (), generator=generator)) if n_frames is None else n_frames
    return torch.randn(length, dim, generator=generator)


def batch(n: int, *, seed: int = 0, dim: int = DIM) -> Features:
    """Several clips of noise, of unequal length."""
    return stack([frames(1000 * seed + number, dim=dim) for number in range(n)])


def corpus(*, n_emotions: int = 4, n_speakers: int = 6, takes: int = 4, seed: int = 0) -> FeatureSet:
    """Clips of which a learner can learn: every emotion by every speaker, several times."""
    generator = torch.Generator().manual_seed(seed)
    level = 1.5 * torch.randn(len(EMOTIONS), DIM, generator=generator)
    voice = torch.randn(n_speakers, DIM, generator=generator)
    utterances, clips = [], []
    for emotion in range(n_emotions):
        for speaker in range(n_speakers):
            for take in range(takes):
                name = f"s{seed}/{EMOTIONS[emotion]}-{speaker}-{take}"
                noise = frames(len(clips) + 10_000 * (seed + 1))
                clips.append(noise + level[emotion] + voice[speaker])
                utterances.append(
                    Utterance(name, Path(f"{name}.wav"), "synthetic", EMOTIONS[emotion], speaker=f"{speaker}")
                )
    return FeatureSet(tuple(utterances), tuple(clips))


def small_model(
    learner: str = "ridge", *, encoder: str = "conv", n_mels: int = 12, beside: Mapping[str, Any] = {}, **changes: Any
) -> Model:
    """A model with its front-end, scaled to tones, small enough to be made for every test.

    `beside` are more settings of its encoder.
    """
    told = {"name": encoder, "channels": 4, "blocks": 1, "width": 3, **beside}
    config = ModelConfig(learner=learner, settings={"encoder": told}, frontend_settings={"n_mels": n_mels}, **changes)
    model = build_model(config, seed=3)
    waves = [
        torch.from_numpy(tone(0.5, hertz=hertz, peak=peak)) for hertz in (110, 220, 500, 900) for peak in (0.1, 0.5)
    ]
    model.learner.fit_scale(stack(analyse(model.frontend, waves)))
    return model


def with_voices(model: Model) -> Model:
    """The model with statistics of speakers: of one corpus, whose speakers and classes differ as much as clips do."""
    generator, width = torch.Generator().manual_seed(0), points(silence(model)).shape[1]
    level, voice = (torch.randn(4, width, generator=generator) for _ in range(2))
    rows = [(emotion, speaker) for emotion in range(4) for speaker in range(4) for _ in range(3)]
    z = torch.stack(
        [level[emotion] + voice[speaker] + torch.randn(width, generator=generator) for emotion, speaker in rows]
    )
    classes, speakers = ([str(row[part]) for row in rows] for part in (0, 1))
    return replace(model, speakers=fit_speaker_model(z, corpora=["c"] * len(rows), classes=classes, speakers=speakers))
