"""What is meta-training worth on a held-out corpus in another language? For two learners.

For each corpus: meta-train on the others, with a fifth of their speakers for meta-validation, then score 4-way 5-shot
episodes of the held-out corpus, speakers of support and query disjoint. Baselines without training are the nearest
centroid on the mean log-mel frame, and the nearest centroid and ridge on fixed statistics.

    uv run python recipes/leave_one_corpus_out.py --corpora ../shared/corpora

Runs are kept under --runs and resumed when the command is repeated, because all four corpora take twenty minutes;
results go to recipes/results, one file a corpus.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from _recipe import Recipe, options

from ser_fewshot.episodes import EpisodeSpec
from ser_fewshot.evaluation import compare, evaluate
from ser_fewshot.frontends import FeatureSet
from ser_fewshot.models import ModelConfig, build_model
from ser_fewshot.models.meta_train import meta_train
from ser_fewshot.storage.files import write_atomically
from ser_fewshot.training import TrainSettings

SPEC = EpisodeSpec(n_way=4, k_shot=5, n_query=10)
SETTINGS = TrainSettings()
TRAINED = ("protonet", "ridge")
UNTRAINED = {
    "nearest, mean log-mel": ModelConfig(learner="nearest", settings={"encoder": {"name": "mean"}}),
    "nearest, statistics": ModelConfig(learner="nearest", settings={"encoder": {"name": "statistics"}}),
    "ridge, statistics": ModelConfig(learner="ridge", settings={"encoder": {"name": "statistics"}}),
}
SCALE_STEP = 8  # every eighth clip is enough for a scale


def main(argv: Sequence[str] | None = None) -> None:
    parser = options(__doc__, corpus=())
    parser.add_argument("--held-out", dest="corpus", nargs="+", default=argparse.SUPPRESS, help="the same as --corpus")
    parser.add_argument("--runs", type=Path, default=Path("runs/leave_one_corpus_out"))
    recipe = Recipe(__file__, __doc__, parser.parse_args(argv))
    settings = recipe.short(SETTINGS)
    for held_out, own, rest in recipe.each_corpus(recipe.logmel()):
        result = leave_out(recipe, own, rest, settings, recipe.runs / held_out)
        content = {**recipe.result, "held_out": held_out, **result}
        write_atomically(recipe.path.with_name(f"leave_out_{held_out}.json"), json.dumps(content, indent=1) + "\n")
        for name, row in result["learners"].items():
            print(f"{held_out}: {name}: {100 * row['uar']['mean']:.1f} ± {100 * row['uar']['ci95']:.1f}", flush=True)


def leave_out(recipe: Recipe, test: FeatureSet, rest: FeatureSet, settings: TrainSettings, run: Path) -> dict[str, Any]:
    """Train on every corpus but one and score on that one."""
    episodes = recipe.draw(test, SPEC)
    models, training = {}, {}
    for name, config in UNTRAINED.items():
        models[name] = build_model(config)
        models[name].learner.fit_scale(rest.batch(range(0, len(rest), SCALE_STEP)))
    for name in TRAINED:
        start = time.monotonic()
        config = ModelConfig(learner=name, settings={"encoder": {"name": "conv"}})
        model, best = meta_train(
            config, lambda _, part: rest.subset(part), rest.utterances, settings=settings, run=run / name, resume=True
        )
        models[f"{name}, trained"] = model
        training[f"{name}, trained"] = {**best, "minutes": round((time.monotonic() - start) / 60, 1)}
    scores = {name: evaluate(model.learner, test, episodes, spec=SPEC) for name, model in models.items()}
    baseline = scores["nearest, mean log-mel"]
    return {
        "trained_on": sorted({clip.corpus for clip in rest.utterances}),
        "train": asdict(settings),
        "torch": torch.__version__,
        "kept_epoch": training,
        "learners": {
            name: {**score.as_dict(), "uar_per_episode": None, "over_mean_log_mel": str(compare(score, baseline))}
            for name, score in scores.items()
        },
    }


if __name__ == "__main__":
    main()
