"""Ablation of the default model on left-out corpora.

For each corpus, by the model that recipes/train_default.py made without it, on the frozen episodes of recipes/episodes:
the functionals alone, the teachers with and without their positions, the student before and after distillation, then
with functionals, LDA directions and the clamp along the nuisance subspace added one by one.

    uv run python recipes/ablate_default.py --teachers runs/whisper-1 runs/whisper-2 --corpora ../shared/corpora

Results go to recipes/results/default/ablation.json.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch
from _protocols import frozen
from default_model.fit import fit_directions
from torch import Tensor

from ser_fewshot import corpora
from ser_fewshot.corpora import Utterance
from ser_fewshot.encoders import Discriminant, PooledFeatures, Transformer
from ser_fewshot.episodes.splits import split_by_corpus
from ser_fewshot.evaluation import evaluate
from ser_fewshot.frontends import FeatureCache, FeatureSet, default_directory, extract
from ser_fewshot.frontends.pretrained.frontend import Pretrained
from ser_fewshot.learners import build_learner, embed_clips
from ser_fewshot.models import Model, load_model
from ser_fewshot.storage.files import write_atomically

RESULTS = Path(__file__).parent / "results" / "default" / "ablation.json"
PENALTY, SHRINKAGE = 0.1, 0.5  # the same for all rows
PENALTY_OF_FUNCTIONALS = 1.0  # a thousand noisy values need more than learned embeddings


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpora", type=Path, required=True, help="folder with one folder a corpus, named as it")
    parser.add_argument("--teachers", type=Path, nargs="+", required=True, help="imported layers of one encoder")
    parser.add_argument("--runs", type=Path, default=Path("runs/default"))
    arguments = parser.parse_args()
    utterances = [clip for scan in corpora.scan_all(arguments.corpora) for clip in scan.utterances]
    names = sorted({item.corpus for item in utterances})
    teachers = [load_model(folder) for folder in arguments.teachers]
    references = {
        "teachers without positions": embed_teachers(teachers, utterances, positions=False),
        "teachers": embed_teachers(teachers, utterances),
        "student before its training": embed_student(load_model(arguments.runs / "begun"), utterances),
    }
    result: dict[str, Any] = {
        "command": "uv run python recipes/ablate_default.py --teachers runs/whisper-1 runs/whisper-2 --corpora DIR",
        "corpora": {},
    }
    for name in names:
        model = load_model(arguments.runs / f"without_{name}" / "model")
        features = extract(model.frontend, utterances, cache=FeatureCache(default_directory(), model.frontend.identity))
        result["corpora"][name] = dict(ablated(name, model, features, references))
        write_atomically(RESULTS, json.dumps(result, indent=1) + "\n")


def embed_teachers(teachers: Sequence[Model], utterances: Sequence[Utterance], *, positions: bool = True) -> Tensor:
    """Return mean and standard deviation over time of the teachers' frames, concatenated, (n_clips, ...)."""
    parts = []
    for teacher in teachers:
        frames = cast("Pretrained", teacher.frontend)
        pooled = Pretrained(replace(frames.settings, pooling="mean_std"))
        weights = dict(frames.network.state_dict())
        weights["embed_positions.weight"] = positions * weights["embed_positions.weight"]
        pooled.network.load_state_dict(weights)
        features = extract(pooled, utterances, cache=FeatureCache(default_directory(), pooled.identity))
        parts.append(torch.stack(tuple(features.clips))[:, 0])
    return torch.cat(parts, 1)


def embed_student(student: Model, utterances: Sequence[Utterance]) -> Tensor:
    """Return embeddings (n_clips, width)."""
    cache = FeatureCache(default_directory(), student.frontend.identity)
    return torch.stack(embed_clips(student.learner, extract(student.frontend, utterances, cache=cache).clips))


def ablated(
    name: str, model: Model, features: FeatureSet, references: Mapping[str, Tensor]
) -> Iterator[tuple[str, Any]]:
    """Yield each variant with its scores on the left-out corpus."""
    _, own = split_by_corpus(features.utterances, [name])
    for variant, embeddings in variants(name, model, features, references):
        clips = FeatureSet(features.utterances, tuple(embeddings)).subset(own)
        penalty = PENALTY_OF_FUNCTIONALS if variant == "functionals" else PENALTY
        learner = build_learner("ridge", 1, {"encoder": {"name": "mean"}, "penalty": penalty})
        scores = {}
        for protocol, (episodes, spec) in frozen(name).items():
            if spec.label == "emotion":
                found = evaluate(learner, clips, episodes, spec=spec).as_dict()
                scores[protocol] = {key: found[key] for key in ("protocol", "episodes_sha256", "chance", "uar")}
        yield variant, scores
        means = {key: round(100 * cast("Any", row["uar"])["mean"], 1) for key, row in scores.items()}
        print(name, variant, means, flush=True)


def variants(
    name: str, model: Model, features: FeatureSet, references: Mapping[str, Tensor]
) -> Iterator[tuple[str, Tensor]]:
    """Yield the embeddings of each variant, (n_clips, width)."""
    rows = torch.tensor([item.corpus != name for item in features.utterances])

    def standardised(z: Tensor) -> Tensor:
        z = ((z - z[rows].mean(0)) / z[rows].std(0).clamp_min(1e-5)).clamp(-5, 5)
        unit: Tensor = z / z[rows].norm(dim=1).mean()
        return unit

    def with_directions(z: Tensor) -> Tensor:
        rest, _ = split_by_corpus(features.utterances, [name])
        embeddings = FeatureSet(features.utterances, tuple(z)).subset(rest)
        discriminant = Discriminant(PooledFeatures(z.shape[1]), n=encoder.emotion.shape[1], view="emotion")
        fit_directions(discriminant, embeddings, views=("emotion",), shrinkage=SHRINKAGE)
        return discriminant.project(z)

    encoder = cast("Discriminant", model.learner.get_submodule("encoder"))
    inner = cast("Transformer", encoder.inner)
    whole = torch.stack(embed_clips(model.learner, features.clips))
    encoder.nuisance_limit.fill_(math.inf)  # no clamp
    plain = torch.stack(embed_clips(model.learner, features.clips))[:, : inner.width]
    student, functionals = (part.contiguous() for part in plain.tensor_split([len(inner.mean)], 1))
    if functionals.shape[1]:
        yield "functionals", functionals
    for who, z in references.items():
        yield who, standardised(z)
        yield f"{who}, directions", with_directions(standardised(z))
    yield "student", student
    yield "student, directions", with_directions(student)
    if functionals.shape[1]:
        yield "student, functionals", plain
        yield "student, functionals, directions", with_directions(plain)
    yield "default: all that, and recordings brought back", whole


if __name__ == "__main__":
    main()
