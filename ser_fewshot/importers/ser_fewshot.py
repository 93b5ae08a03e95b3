"""A model folder of this program: its pretrained encoder, to be read at another layer or by another learner."""

from __future__ import annotations

from ser_fewshot.errors import CheckpointError
from ser_fewshot.importers._checkpoint import Checkpoint
from ser_fewshot.importers._files import as_tensors, inside
from ser_fewshot.importers._source import Source
from ser_fewshot.storage.tensors import read_tensors

_FRONTEND = "frontend."  # the prefix of its weights, beside those of the learner


def recognises(source: Source) -> bool:
    """Whether it is a folder that this program saved."""
    return source.path.is_dir() and source.config.get("model_type") == "ser_fewshot"


def read(source: Source) -> Checkpoint:
    """Return its encoder, without its learner.

    Raises:
        CheckpointError: it has no pretrained encoder, or is damaged.
    """
    settings = source.config.get("frontend_settings")
    if source.config.get("frontend") != "pretrained" or not isinstance(settings, dict):
        raise CheckpointError(
            source.name,
            found=f"a model with the front-end {source.config.get('frontend')!r:.80}",
            expected="one with a pretrained encoder",
            remedy="Nothing is to be imported: enrol in it with 'enroll --model'.",
        )
    learner = source.config.get("settings")
    encoder = learner.get("encoder") if isinstance(learner, dict) else None
    if isinstance(encoder, dict) and encoder.get("name") == "blocks":
        raise CheckpointError(
            source.name,
            found="a model whose last blocks are tuned, and part of its learner",
            expected="one with its whole encoder in front",
            remedy="Use it as it is, with 'train --model' or 'enroll --model', or import the encoder it came from.",
        )
    path = inside(source.path, "model.safetensors")
    tensors = as_tensors(read_tensors(path)[0], path)
    return Checkpoint(
        "ser_fewshot",
        architecture=settings.get("architecture", {}),
        preprocessor=settings.get("preprocessor", {}),
        tensors={name.removeprefix(_FRONTEND): x for name, x in tensors.items() if name.startswith(_FRONTEND)},
        random=settings.get("random_weights", 0),
        dropped={name: "learner" for name in tensors if not name.startswith(_FRONTEND)},
    )
