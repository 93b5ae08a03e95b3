"""Score an encoder that was trained on some corpora on another one, in a language that it never heard.

For each corpus: meta-train on the others (a fifth of their speakers select the epoch), then score 4-way 5-shot
episodes of the corpus that was left out, speakers of support and query disjoint. Beside the trained learners stand
those that learn nothing: nearest centroid on the average log-mel frame, nearest centroid and ridge on fixed statistics.

    uv run python recipes/leave_one_corpus_out.py --corpora ../shared/corpora

Runs are kept under --runs and resumed when the command is repeated; results go to recipes/results, one file a corpus.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict, replace
from pathlib import Path

import torch

from ser_fewshot import corpora
from ser_fewshot._files import write_atomically
from ser_fewshot.checkpoints import ModelConfig, build_model
from ser_fewshot.episodes import EpisodeSampler, EpisodeSpec
from ser_fewshot.evaluation import compare, evaluate
from ser_fewshot.frontends import FeatureCache, FeatureSet, default_directory, extract
from ser_fewshot.pipeline import meta_train
from ser_fewshot.splits import split_by_corpus
from ser_fewshot.training import TrainSettings

SPEC = EpisodeSpec(n_way=4, k_shot=5, n_query=10)
SETTINGS = TrainSettings()
TRAINED = ("protonet", "ridge")
UNTRAINED = {
    "nearest, mean log-mel": ModelConfig(learner="nearest", settings={"encoder": {"name": "mean"}}),
    "nearest, statistics": ModelConfig(learner="nearest", settings={"encoder": {"name": "statistics"}}),
    "ridge, statistics": ModelConfig(learner="ridge", settings={"encoder": {"name": "statistics"}}),
}
RESULTS = Path(__file__).parent / "results"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpora", type=Path, required=True, help="folder with one folder a corpus, named as it")
    parser.add_argument("--held-out", nargs="+", help="corpora to leave out in turn (default: all)")
    parser.add_argument("--runs", type=Path, default=Path("runs/leave_one_corpus_out"))
    parser.add_argument("--episodes", type=int, default=600)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    utterances = [clip for scan in corpora.scan_all(arguments.corpora) for clip in scan.utterances]
    model = build_model(ModelConfig(learner="ridge"))
    features = extract(model.frontend, utterances, cache=FeatureCache(default_directory(), model.frontend.identity))
    for held_out in arguments.held_out or sorted({clip.corpus for clip in utterances}):
        result = leave_out(held_out, features, arguments.runs / held_out, arguments.episodes, arguments.seed)
        write_atomically(RESULTS / f"leave_out_{held_out}.json", json.dumps(result, indent=1) + "\n")
        for name, row in result["learners"].items():  # type: ignore[attr-defined]
            print(f"{held_out}: {name}: {100 * row['uar']['mean']:.1f} ± {100 * row['uar']['ci95']:.1f}", flush=True)


def leave_out(held_out: str, features: FeatureSet, run: Path, n_episodes: int, seed: int) -> dict[str, object]:
    """Train on every corpus but one and score on that one."""
    rest, meta_test = split_by_corpus(features.utterances, [held_out])
    test = features.subset(meta_test)
    episodes = EpisodeSampler(test.utterances, SPEC, seed=seed).draw_many(n_episodes)
    models, training = {}, {}
    for name, config in UNTRAINED.items():
        models[name] = build_model(config)
        models[name].learner.fit_scale(features.subset(rest[::8]).batch(range(len(rest[::8]))))
    for name in TRAINED:
        start = time.monotonic()
        config = ModelConfig(learner=name, settings={"encoder": {"name": "conv"}})
        settings = replace(SETTINGS, seed=seed)
        model, best = meta_train(
            config, lambda _, part: features.subset(part), rest, settings=settings, run=run / name, resume=True
        )
        models[f"{name}, trained"] = model
        training[f"{name}, trained"] = {**best, "minutes": round((time.monotonic() - start) / 60, 1)}
    scores = {name: evaluate(model.learner, test, episodes, spec=SPEC) for name, model in models.items()}
    baseline = scores["nearest, mean log-mel"]
    return {
        "command": f"uv run python recipes/leave_one_corpus_out.py --corpora DIR --held-out {held_out} --seed {seed}",
        "held_out": held_out,
        "trained_on": sorted({clip.corpus for clip in rest}),
        "seed": seed,
        "train": asdict(SETTINGS),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "kept_epoch": training,
        "learners": {
            name: {**score.as_dict(), "uar_per_episode": None, "over_mean_log_mel": str(compare(score, baseline))}
            for name, score in scores.items()
        },
    }


if __name__ == "__main__":
    main()
