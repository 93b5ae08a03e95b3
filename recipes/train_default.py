"""Train the model that comes with the package, from scan to model card.

    uv run ser-fewshot import path/to/whisper-base-encoder --layer 1 --pooling frames --out runs/whisper-1
    uv run ser-fewshot import path/to/whisper-base-encoder --layer 2 --pooling frames --out runs/whisper-2
    uv run --with av python recipes/free_speech.py --out runs/free_speech
    uv run python recipes/train_default.py --teachers runs/whisper-1 runs/whisper-2 \
        --speech runs/free_speech/manifest.csv --corpora ../shared/corpora

A small transformer on log-mel frames is initialised layer by layer from the first two layers of Whisper, and then
trained by distillation, both on free speech in many languages without labels. Then `default_model.fit` selects and fits
LDA, ridge regression and calibration on labelled corpora.

The last step is repeated without each corpus, for recipes/measure_default.py. Repeat the command to resume it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, cast

import torch
from default_model import layerwise
from default_model.card import default_card
from default_model.distillation import distil
from default_model.fit import CHOICES, FUNCTIONAL_WEIGHTS, NUISANCE_LIMITS, fit_labels
from default_model.targets import DistillationSet, load_at_level, prepare_targets

from ser_fewshot import corpora
from ser_fewshot.corpora import Utterance
from ser_fewshot.encoders import Transformer
from ser_fewshot.episodes.splits import split_by_corpus
from ser_fewshot.frontends import FeatureCache, FeatureSet, FrontEnd, default_directory, extract
from ser_fewshot.frontends.pretrained.frontend import Pretrained
from ser_fewshot.models import Model, ModelConfig, build_model, load_model, save_model
from ser_fewshot.models.training_set import TrainingSet
from ser_fewshot.storage.files import write_atomically
from ser_fewshot.storage.tensors import digest
from ser_fewshot.training import TrainSettings, fit_scale
from ser_fewshot.training.augmentation import Augmentation

CONFIG = ModelConfig(
    learner="ridge",
    settings={"encoder": {"name": "transformer", "channels": 256, "blocks": 2, "width": 2048}},
)
SETTINGS = TrainSettings(
    epochs=28,
    steps=500,
    batch_clips=16,
    learning_rate=3e-4,
    weight_decay=0.01,
    patience=28,
    augmentation=Augmentation(
        max_seconds=4.0, gain=0.0, tone=3.0, masked_bands=0.0, masked_frames=0.0, rooms=0.2, noises=0.4, telephones=0.2
    ),
)

INITIAL_CLIPS = 800
"""For the layer-wise initialisation."""

RESULTS = Path(__file__).parent / "results" / "default"
TEACHER = "the first two layers of OpenAI's Whisper base (MIT licence, https://github.com/openai/whisper)"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpora", type=Path, required=True, help="folder with one folder a corpus, named as it")
    parser.add_argument("--teachers", type=Path, nargs="+", required=True, help="imported layers of one encoder")
    parser.add_argument("--speech", type=Path, required=True, help="manifest of clips to learn from without labels")
    parser.add_argument("--permissive", action="store_true", help="only corpora that allow commercial use")
    parser.add_argument("--runs", type=Path, default=Path("runs/default"))
    parser.add_argument("--out", type=Path, help="where the model of all corpora goes too, such as into the package")
    arguments = parser.parse_args()
    distilled, speech, best = distilled_model(arguments)
    scans = {scan.corpus: scan.utterances for scan in corpora.scan_all(arguments.corpora)}
    names = corpora.permissive(scans) if arguments.permissive else sorted(scans)
    utterances = [clip for name in names for clip in scans[name]]
    cache = FeatureCache(default_directory(), distilled.frontend.identity)
    features = extract(distilled.frontend, utterances, cache=cache)
    for name in names:
        rest, _ = split_by_corpus(features.utterances, [name])
        finish(distilled, features.subset(rest), speech, best, arguments.runs / f"without_{name}")
    whole = finish(distilled, features, speech, best, arguments.runs / "all")
    if arguments.out:
        shutil.copytree(whole, arguments.out, dirs_exist_ok=True)


def distilled_model(arguments: argparse.Namespace) -> tuple[Model, Sequence[Utterance], Mapping[str, float]]:
    """Return a model with the distilled encoder, the clips of its training, and the record of the best epoch."""
    teachers = [load_model(folder).frontend for folder in arguments.teachers]
    speech = corpora.read_manifest(arguments.speech).utterances
    data = prepare_targets(build_model(CONFIG).frontend, teachers, speech, folder=arguments.runs / "lesson")
    model = initialised(data, teachers[-1], arguments.runs / "begun")
    run = arguments.runs / "distillation"
    best = distil(model, data, teachers=teachers, settings=SETTINGS, run=run, resume=True)
    print(f"epoch {best['epoch']:.0f} of the distillation: loss {best['loss']:.3f}", flush=True)
    clips = data.features.utterances
    return replace(model, training_set=TrainingSet.of(clips, labelled=False)), clips, best


def initialised(data: DistillationSet, teacher: FrontEnd, folder: Path) -> Model:
    """Return a model initialised from the teacher, from the folder if it is there."""
    made_of = [data.identity, teacher.identity, asdict(CONFIG), asdict(SETTINGS), INITIAL_CLIPS]
    identity, path = hashlib.sha256(json.dumps(made_of).encode()).hexdigest(), folder / "begun.json"
    if path.exists() and json.loads(path.read_text())["identity"] == identity:
        return load_model(folder)
    model = build_model(CONFIG)
    fit_scale(model.learner, data.features, SETTINGS)
    rows = torch.randperm(len(data.features), generator=torch.Generator().manual_seed(0))[:INITIAL_CLIPS].tolist()
    waveforms = [torch.from_numpy(load_at_level(data.features.utterances[row])) for row in rows]
    student, teacher = cast("Transformer", model.learner.get_submodule("encoder")), cast("Pretrained", teacher)
    layerwise.initialise(student, teacher, frontend=model.frontend, waveforms=waveforms)
    save_model(model, folder, card="")
    write_atomically(path, json.dumps({"identity": identity}) + "\n")
    return model


def finish(
    distilled: Model, features: FeatureSet, speech: Sequence[Utterance], best: Mapping[str, float], run: Path
) -> Path:
    """Fit the model to labelled clips, save it with its card and return its folder."""
    model, choices = fitted(distilled, features, run)
    card = default_card(
        model,
        features.utterances,
        speech=speech,
        teacher=TEACHER,
        choices=choices,
        settings=SETTINGS,
        best=best,
        measured=[json.loads(path.read_text()) for path in sorted(RESULTS.glob("default_*.json"))],
        command="uv run python recipes/train_default.py --teachers runs/whisper-1 runs/whisper-2"
        " --speech runs/free_speech/manifest.csv --corpora DIR",
    )
    save_model(model, run / "model", card=card)
    score = 100 * max(row["uar"] for row in choices)
    print(f"{run / 'model'}: UAR {score:.1f} % by leave-one-corpus-out", flush=True)
    return run / "model"


def fitted(distilled: Model, features: FeatureSet, run: Path) -> tuple[Model, list[dict[str, Any]]]:
    """Return the fitted model and the scores of all choices, from the run if they are there."""
    identity, path = identity_of(distilled, features), run / "fit.json"
    if path.exists() and (kept := json.loads(path.read_text()))["identity"] == identity:
        return load_model(run / "model"), kept["choices"]
    model, choices = fit_labels(distilled, features)
    save_model(model, run / "model", card="")
    write_atomically(path, json.dumps({"identity": identity, "choices": choices}, indent=1) + "\n")
    return model, choices


def identity_of(distilled: Model, features: FeatureSet) -> str:
    """Return a digest of the inputs of a fit."""
    sounds = zip(features.utterances, features.keys, strict=True)
    clips = [(item.id, item.emotion, item.speaker, key) for item, key in sounds]
    made_of = [
        digest(distilled.learner),
        distilled.frontend.identity,
        [asdict(choice) for choice in CHOICES],
        FUNCTIONAL_WEIGHTS,
        NUISANCE_LIMITS,
        clips,
    ]
    return hashlib.sha256(json.dumps(made_of).encode()).hexdigest()


if __name__ == "__main__":
    main()
