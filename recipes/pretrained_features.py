"""What is each layer of a pretrained encoder worth on a held-out corpus in another language? Each, and weighted.

Each corpus is held out in turn. Episodes are 4-way 5-shot on it, speakers of support and query disjoint. On frozen
features, mean and standard deviation over time:

- each layer, with and without the standard deviations, with ridge regression and the feature scale of the other
  corpora;
- a weighted sum of the layers, whose weights ridge regression learned over episodes of the other corpora;
- other learners on such sums, trained on the other corpora.

The held-out corpus has no part in the choice of layer weights and epoch.

    uv run ser-fewshot import path/to/encoder --layer weighted --out runs/encoder
    uv run python recipes/pretrained_features.py --model runs/encoder --corpora ../shared/corpora

Repeat the command to go on after a kill.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from _models import features_of
from _recipe import Recipe, Rows, options

from ser_fewshot.encoders import layer_weights
from ser_fewshot.episodes import Episode, EpisodeSpec
from ser_fewshot.evaluation import evaluate
from ser_fewshot.frontends import FeatureSet
from ser_fewshot.learners import Learner, build_learner
from ser_fewshot.models import Model, ModelConfig, load_model
from ser_fewshot.models.meta_train import meta_train
from ser_fewshot.training import TrainSettings

HEADLINE = ("layer 2, mean and std", "weighted, ridge", "weighted, mtl")
SPEC = EpisodeSpec(n_way=4, k_shot=5, n_query=10)
TRAIN = TrainSettings(tasks=(EpisodeSpec(n_way=4, k_shot=5, n_query=5),), epochs=6, meta_batch=2)
# The defaults, 1 and 10, are for a thousand functionals of little noise; a penalty of 0.03 to 0.3 scores alike here.
RIDGE = {"penalty": 0.1, "sharpness": 4.0}
SCALE_STEP = 4  # every fourth clip of the other corpora is enough for a scale


def main(argv: Sequence[str] | None = None) -> None:
    parser = options(__doc__, corpus=())
    parser.add_argument("--model", type=Path, required=True, help="what 'ser-fewshot import --layer weighted' wrote")
    parser.add_argument("--learners", nargs="*", default=["ridge", "protonet", "mtl", "finetune"])
    parser.add_argument("--name", help="of the results file (default: the model's folder)")
    parser.add_argument("--runs", type=Path, default=Path("runs/pretrained_features"))
    recipe = Recipe(__file__, __doc__, parser.parse_args(argv))
    model = load_model(recipe.arguments.model)
    name = recipe.arguments.name or recipe.arguments.model.name
    path = recipe.path.with_name(f"pretrained_{name}.json")
    recipe.result.update(layers=model.frontend.layers, train=asdict(recipe.short(TRAIN)))
    for held_out, own, rest in recipe.each_corpus(features_of(model, recipe.utterances())):
        runs = recipe.runs / name / held_out
        recipe.write(held_out, leave_out(recipe, model, own, rest, runs), headline=HEADLINE, path=path)


def leave_out(recipe: Recipe, model: Model, test: FeatureSet, rest: FeatureSet, runs: Path) -> Rows:
    """Score every layer and every learner on the held-out corpus."""
    episodes = recipe.draw(test, SPEC)
    rows: Rows = {}
    for layer in range(model.frontend.layers):
        own, others = (layer_of(clips, layer, model.frontend.layers) for clips in (test, rest))
        rows[f"layer {layer}, mean and std"] = score(untrained(others), own, episodes)
        rows[f"layer {layer}, mean"] = score(untrained(first_half(others)), first_half(own), episodes)
    for name in recipe.arguments.learners:
        trained, shares = train(name, model, rest, recipe.short(TRAIN), runs / name)
        rows[f"weighted, {name}"] = {**score(trained, test, episodes), "shares": shares}
    return rows


def layer_of(features: FeatureSet, layer: int, layers: int) -> FeatureSet:
    """Return one layer of features that concatenate several."""
    clips = tuple(clip.view(len(clip), layers, -1)[:, layer] for clip in features.clips)
    return FeatureSet(features.utterances, clips)


def first_half(features: FeatureSet) -> FeatureSet:
    """Return the means of features that concatenate means and standard deviations."""
    clips = tuple(clip[:, : clip.shape[1] // 2] for clip in features.clips)
    return FeatureSet(features.utterances, clips)


def untrained(clips: FeatureSet) -> Learner:
    """Return untrained ridge regression with the feature scale of some clips."""
    settings = {"encoder": {"name": "statistics", "pooled": True}, **RIDGE}
    learner = build_learner("ridge", clips.clips[0].shape[1], settings)
    learner.fit_scale(clips.batch(range(0, len(clips), SCALE_STEP)))
    return learner


def train(name: str, model: Model, rest: FeatureSet, settings: TrainSettings, run: Path) -> tuple[Learner, list[float]]:
    """Train a learner on the weighted layers; return it with the final weights of the layers."""
    config = ModelConfig(
        learner=name,
        settings={"encoder": {"name": "statistics"}, **RIDGE} if name == "ridge" else {"encoder": {"name": "dense"}},
        frontend=model.config.frontend,
        frontend_settings=model.config.frontend_settings,
    )
    trained, _ = meta_train(
        config,
        lambda _, part: rest.subset(part),
        rest.utterances,
        settings=settings,
        run=run,
        frontend=model.frontend,
        resume=True,
    )
    shares = [layer_weights(tensor) for key, tensor in trained.learner.state_dict().items() if key.endswith(".layers")]
    return trained.learner, [round(share, 3) for share in torch.cat(shares).tolist()]


def score(learner: Learner, clips: FeatureSet, episodes: Sequence[Episode]) -> dict[str, Any]:
    found = evaluate(learner, clips, episodes, spec=SPEC).as_dict()
    return {key: found[key] for key in ("protocol", "episodes", "episodes_sha256", "chance", "uar", "recall")}


if __name__ == "__main__":
    main()
