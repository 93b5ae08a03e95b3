"""Importers: speech encoders of other programs become models of this one; one file for each layout.

A module of this folder holds `recognises(source)` and `read(source)`, which returns a `Checkpoint`: the encoder in the
terms of transformers. Adding a layout means adding a file. Nothing is downloaded but what the user names, nothing in a
file is run, and no key goes missing without being named.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from ser_fewshot import plugins
from ser_fewshot.classifier.enrollment import Enrolled
from ser_fewshot.errors import CheckpointError
from ser_fewshot.importers._checkpoint import Checkpoint, Head, KeyReport
from ser_fewshot.importers._emotion_head import layer_of, model_with_head
from ser_fewshot.importers._model import Choice, Layer, build, demo_features, fit_scale, frontend_settings
from ser_fewshot.importers._source import Source, find
from ser_fewshot.learners import settings_of
from ser_fewshot.models import Model
from ser_fewshot.storage.paths import what_is

__all__ = ["Checkpoint", "Choice", "Head", "Imported", "KeyReport", "Layer", "Source", "import_model", "read"]

_HEAD_IGNORED = "its emotion head reads the mean of layer {layer} by ridge regression, which is not what was asked for"


@dataclass(frozen=True, eq=False)
class Imported:
    """A model made of a checkpoint.

    Attributes:
        checkpoint: the encoder as it was stored.
        model: this encoder with a learner on top.
        report: what became of every key.
        prior: a model and enrolled classes that predict what the checkpoint's emotion head predicts; None without one.
        notes: what had to be assumed or left out, one sentence each.
    """

    checkpoint: Checkpoint
    model: Model
    report: KeyReport
    prior: tuple[Model, dict[str, Enrolled]] | None
    notes: tuple[str, ...]

    @property
    def tuned(self) -> int:
        """How many of the encoder's blocks belong to the learner, so that they can be trained."""
        config = self.model.config
        n_blocks: int = config.settings["encoder"]["blocks"] if config.encoder_name == "blocks" else 0
        return n_blocks


def read(source: Source) -> Checkpoint:
    """Return the encoder of a source in the terms of transformers.

    Raises:
        CheckpointError: no layout recognises it, or it is damaged, dangerous or incomplete.
    """
    for name in plugins.names("importers"):
        layout = plugins.load("importers", name)
        if layout.recognises(source):
            checkpoint: Checkpoint = layout.read(source)
            return checkpoint
    kind = what_is(source.path)
    raise CheckpointError(
        source.name,
        found="no layout that is known" if kind in ("a folder", "an archive") else kind,
        expected=f"one of {' | '.join(plugins.names('importers'))}",
        remedy="Name the folder with config.json, or a .pt, .pth or .ckpt file of weights.",
    )


def import_model(name: str, choice: Choice, *, say: Callable[[str], None] = lambda _: None) -> Imported:
    """Return the model that a source becomes: a folder, a file, or a hub id, which is downloaded.

    `say` is called with a sentence before a download.

    Raises:
        CheckpointError: it cannot be read, cannot be trusted, or does not fill the model.
        SettingsError: the learner does not exist or does not fit.
    """
    settings_of(choice.learner, {})  # a wrong name is refused before anything is read
    checkpoint = read(find(name, say=say))
    head, notes = checkpoint.head, checkpoint.notes
    if head is not None:
        layer = layer_of(head, frontend_settings(checkpoint, Choice(), origin=name).n_blocks)
        fits = choice.layer in (None, layer) and choice.pooling in (None, "mean")
        fits = fits and choice.learner == "ridge" and not choice.tune
        choice = replace(choice, layer=layer, pooling="mean") if fits else choice
        head, notes = (head, notes) if fits else (None, (*notes, _HEAD_IGNORED.format(layer=layer)))
    settings = frontend_settings(checkpoint, choice, origin=name)
    model, report = build(checkpoint, settings, choice, origin=name)
    speech = demo_features(model)
    fit_scale(model, speech)
    prior = None if head is None else model_with_head(model, head, speech)
    return Imported(checkpoint, model, report, prior, notes)
