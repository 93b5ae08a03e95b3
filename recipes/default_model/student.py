"""The student: a small transformer on log-mel frames, initialised from the first layers of Whisper without labels."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor

from default_model import layerwise
from ser_fewshot import audio
from ser_fewshot.corpora import Utterance
from ser_fewshot.encoders import Transformer
from ser_fewshot.errors import AudioError
from ser_fewshot.frontends import FrontEnd, analyse, content_keys, stack
from ser_fewshot.frontends.pretrained.frontend import Pretrained
from ser_fewshot.models import Model, ModelConfig, build_model, load_model, save_model
from ser_fewshot.models.training_set import TrainingSet
from ser_fewshot.storage.files import write_atomically
from ser_fewshot.storage.tensors import load_weights

CONFIG = ModelConfig(
    learner="ridge",
    settings={"encoder": {"name": "transformer", "channels": 384, "blocks": 2, "width": 2048}},
)
N_CLIPS = 800
_LEVEL = 0.05  # root mean square of every clip: -26 dBFS, as usual for speech
_QUIET = 1e-6
_FRAMES = 600  # for the normalisation: one long clip must not pad all the others
_MADE_OF = "made_of.json"


def initialised(teacher: FrontEnd, speech: Sequence[Utterance], folder: Path) -> Model:
    """Return a model whose encoder is fitted to the teacher's layers, from the folder if it is there.

    Weights are rounded to half precision, in which they are shipped, so that what is fitted next fits those.

    Args:
        teacher: the encoder of Whisper, cut to as many blocks as CONFIG has.
        speech: clips, whose labels are not used; N_CLIPS of them are drawn.
        folder: of the model.
    """
    rows = torch.randperm(len(speech), generator=torch.Generator().manual_seed(0))[:N_CLIPS].tolist()
    chosen = [speech[row] for row in rows]
    made_of = [teacher.identity, asdict(CONFIG), content_keys(chosen)]
    identity, path = hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest(), folder / _MADE_OF
    if path.exists() and json.loads(path.read_text())["identity"] == identity:
        return load_model(folder)
    model = build_model(CONFIG)
    student = cast("Transformer", model.learner.get_submodule("encoder"))
    waveforms = list(_waveforms(chosen))
    student.fit_scale(stack([frames[:_FRAMES] for frames in analyse(model.frontend, waveforms)]))
    layerwise.initialise(student, cast("Pretrained", teacher), frontend=model.frontend, waveforms=waveforms)
    load_weights(student, {name: x.half().float() for name, x in student.state_dict().items()}, origin="student")
    model = replace(model, training_set=TrainingSet.of(chosen, labelled=False))
    save_model(model, folder, card="")
    write_atomically(path, json.dumps({"identity": identity}) + "\n")
    return load_model(folder)


def _waveforms(clips: Sequence[Utterance]) -> Iterator[Tensor]:
    """Yield clips, (samples,), at a fixed level, without those that cannot be used."""
    for clip in clips:
        try:
            waveform = audio.load(clip.path, start=clip.start, end=clip.end).waveform
        except AudioError as error:
            print(f"left out: {error}", flush=True)
            continue
        loudness = float(np.sqrt(np.mean(np.square(waveform))))
        yield torch.from_numpy(waveform * np.float32(_LEVEL / max(loudness, _QUIET)))
