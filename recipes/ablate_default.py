"""What each part of the default model is worth on left-out corpora.

For each corpus, by the model that recipes/train_default.py made without it, on the frozen episodes of recipes/episodes:
functionals, the student, both; both with LDA directions of the same corpora and with the meta-trained ones in their
place; and these with the clips enrolled under recording conditions too, which is the default model.

    uv run python recipes/ablate_default.py --corpora ../shared/corpora path/to/other/corpora \
        --corpus ased emodb ravdess urdu

Results go to recipes/results/default/ablation.json.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch
from _protocols import frozen
from default_model.embeddings import Embeddings, Scale, embed, standardised
from default_model.lda import with_lda
from torch import Tensor
from train_default import labelled

from ser_fewshot.encoders import Discriminant, Transformer
from ser_fewshot.evaluation import evaluate
from ser_fewshot.frontends import FeatureSet
from ser_fewshot.learners import build_learner
from ser_fewshot.models import Model, load_model
from ser_fewshot.storage.files import write_atomically

RESULTS = Path(__file__).parent / "results" / "default" / "ablation.json"
PENALTIES = {"functionals": 1.0}  # a thousand noisy values need more than learned embeddings, whose 0.5 is the model's


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpora", type=Path, required=True, nargs="+", help="folders with one folder a corpus")
    parser.add_argument("--corpus", required=True, nargs="+", help="which to leave out, one after the other")
    parser.add_argument("--runs", type=Path, default=Path("runs/default"))
    arguments = parser.parse_args()
    student = load_model(arguments.runs / "student")
    folder = arguments.runs / "embeddings"
    embeddings = {name: embed(student, clips, folder) for name, clips in labelled(arguments.corpora).items()}
    names = " ".join(arguments.corpus)
    command = f"uv run python recipes/ablate_default.py --corpora DIR DIR --corpus {names}"
    result: dict[str, Any] = {"command": command, "corpora": {}}
    for name in arguments.corpus:
        model = load_model(arguments.runs / f"without_{name}" / "model")
        result["corpora"][name] = dict(ablated(name, model, embeddings))
        write_atomically(RESULTS, json.dumps(result, indent=1) + "\n")


def ablated(name: str, model: Model, embeddings: Mapping[str, Embeddings]) -> Iterator[tuple[str, Any]]:
    """Yield each variant with its scores on the left-out corpus."""
    for variant, clips in variants(name, model, embeddings):
        penalty = PENALTIES.get(variant, model.config.settings["penalty"])
        learner = build_learner("ridge", 1, {"encoder": {"name": "mean"}, "penalty": penalty})
        scores = {}
        for protocol, (episodes, spec) in frozen(name).items():
            if spec.label == "emotion":
                found = evaluate(learner, clips, episodes, spec=spec).as_dict()
                scores[protocol] = {key: found[key] for key in ("protocol", "episodes_sha256", "chance", "uar")}
        yield variant, scores
        means = {key: round(100 * cast("Any", row["uar"])["mean"], 1) for key, row in scores.items()}
        print(name, variant, means, flush=True)


def variants(name: str, model: Model, embeddings: Mapping[str, Embeddings]) -> Iterator[tuple[str, FeatureSet]]:
    """Yield the embeddings of the clips of a corpus by each variant."""
    encoder = cast("Discriminant", model.learner.get_submodule("encoder"))
    learned = len(cast("Transformer", encoder.inner).mean)
    scale = Scale.of([one for other, one in embeddings.items() if other != name], learned=learned)
    sets = standardised(embeddings, scale)
    own = sets[name]
    z, utterances = torch.stack(list(own.clips)), own.utterances
    yield "functionals", FeatureSet(utterances, tuple(z[:, learned:]))
    yield "student", FeatureSet(utterances, tuple(z[:, :learned]))
    yield "student, functionals", FeatureSet(utterances, tuple(z))
    yield "student, functionals, LDA directions", FeatureSet(utterances, tuple(_with_lda(name, sets)))
    clean = FeatureSet(utterances, tuple(encoder.project(z)))
    yield "student, functionals, meta-trained directions", clean
    deviations = tuple(encoder.project(one) for one in own.deviations)
    yield "default: all that, enrolled under recording conditions too", replace(clean, deviations=deviations)


def _with_lda(name: str, sets: Mapping[str, FeatureSet]) -> Tensor:
    """Return the embeddings of a corpus with their projections on LDA directions of all others, (n, ...)."""
    rest = [one for other, one in sets.items() if other != name]
    clips = [clip for one in rest for clip in one.utterances]
    z = torch.stack([x for one in (*rest, sets[name]) for x in one.clips])
    found = with_lda(
        z,
        torch.arange(len(clips)),
        emotions=[f"{clip.corpus}/{clip.emotion}" for clip in clips],
        speakers=[str(clip.speaker_key) for clip in clips],
    )
    return found[len(clips) :]


if __name__ == "__main__":
    main()
