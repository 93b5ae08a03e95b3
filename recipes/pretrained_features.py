"""Ask what the layers of a pretrained encoder are worth for emotions in a language that nobody trained on.

Each corpus is left out in turn. Episodes are 4-way 5-shot on it, speakers of support and query disjoint. On frozen
features, mean and standard deviation over time:

- every layer by itself, with the standard deviations and without, under ridge regression that learned nothing but the
  scale of the features, on other corpora;
- the layers weighted, by shares that ridge regression learned over episodes of the other corpora;
- other learners on layers so weighted, trained on the other corpora.

No choice is made on the corpus that is left out: it has no part in the shares of the layers nor in the epoch kept.

    uv run ser-fewshot import path/to/encoder --layer weighted --out runs/encoder
    uv run python recipes/pretrained_features.py --model runs/encoder --corpora ../shared/corpora

Repeat the command to go on after a kill.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from ser_fewshot import corpora
from ser_fewshot._files import write_atomically
from ser_fewshot.checkpoints import Model, ModelConfig, load_model
from ser_fewshot.corpora import Utterance
from ser_fewshot.encoders import shares_of
from ser_fewshot.episodes import Episode, EpisodeSampler, EpisodeSpec
from ser_fewshot.evaluation import evaluate
from ser_fewshot.frontends import FeatureCache, FeatureSet, default_directory, extract
from ser_fewshot.learners import Learner, build_learner
from ser_fewshot.pipeline import meta_train
from ser_fewshot.splits import split_by_corpus
from ser_fewshot.training import TrainSettings

RESULTS = Path(__file__).parent / "results"
SPEC = EpisodeSpec(n_way=4, k_shot=5, n_query=10)
TRAIN = TrainSettings(tasks=(EpisodeSpec(n_way=4, k_shot=5, n_query=5),), epochs=6, meta_batch=2)
# The defaults, 1 and 10, are for a thousand functionals of little noise; a penalty of 0.03 to 0.3 scores alike here.
RIDGE = {"penalty": 0.1, "sharpness": 4.0}
SCALE_STEP = 4  # every fourth clip of the other corpora is enough for a scale


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="what 'ser-fewshot import --layer weighted' wrote")
    parser.add_argument("--corpora", type=Path, required=True, help="folder with one folder a corpus, named as it")
    parser.add_argument("--learners", nargs="*", default=["ridge", "protonet", "mtl", "finetune"])
    parser.add_argument("--name", help="of the results file (default: the model's folder)")
    parser.add_argument("--runs", type=Path, default=Path("runs/pretrained_features"))
    parser.add_argument("--episodes", type=int, default=600)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    model = load_model(arguments.model)
    utterances = [clip for scan in corpora.scan_all(arguments.corpora) for clip in scan.utterances]
    features = extract(model.frontend, utterances, cache=FeatureCache(default_directory(), model.frontend.identity))
    name = arguments.name or arguments.model.name
    path = RESULTS / f"pretrained_{name}.json"
    result: dict[str, Any] = {
        "command": f"uv run python recipes/pretrained_features.py --model {name} --corpora DIR"
        f" --episodes {arguments.episodes} --seed {arguments.seed}",
        "layers": model.frontend.layers,
        "train": asdict(TRAIN),
        "corpora": {},
    }
    for held_out in sorted({clip.corpus for clip in features.utterances}):
        result["corpora"][held_out] = leave_out(held_out, model, features, arguments)
        write_atomically(path, json.dumps(result, indent=1) + "\n")


def leave_out(held_out: str, model: Model, features: FeatureSet, arguments: argparse.Namespace) -> dict[str, Any]:
    """Score every layer and every learner on the corpus that is left out."""
    rest, own = split_by_corpus(features.utterances, [held_out])
    test = features.subset(own)
    episodes = EpisodeSampler(test.utterances, SPEC, seed=arguments.seed).draw_many(arguments.episodes)
    rows: dict[str, Any] = {}
    for layer in range(model.frontend.layers):
        both = layer_of(features, layer, model.frontend.layers)
        for pooling, of_layer in (("mean and std", both), ("mean", first_half(both))):
            name = f"layer {layer}, {pooling}"
            rows[name] = score(untrained(of_layer.subset(rest)), of_layer.subset(own), episodes)
            print(held_out, name, rows[name]["uar"], flush=True)
    for name in arguments.learners:
        trained, shares = train(name, model, features, rest, arguments.runs / arguments.model.name / held_out / name)
        rows[f"weighted, {name}"] = {**score(trained, test, episodes), "shares": shares}
        print(held_out, f"weighted, {name}", rows[f"weighted, {name}"]["uar"], shares, flush=True)
    return rows


def layer_of(features: FeatureSet, layer: int, layers: int) -> FeatureSet:
    """Return one layer of features that hold several side by side."""
    clips = tuple(clip.view(len(clip), layers, -1)[:, layer] for clip in features.clips)
    return FeatureSet(features.utterances, clips)


def first_half(features: FeatureSet) -> FeatureSet:
    """Return the means of features that hold means and, beside them, as many standard deviations."""
    clips = tuple(clip[:, : clip.shape[1] // 2] for clip in features.clips)
    return FeatureSet(features.utterances, clips)


def untrained(clips: FeatureSet) -> Learner:
    """Return ridge regression that learned the scale of some clips and nothing else."""
    told = {"encoder": {"name": "statistics", "pooled": True}, **RIDGE}
    learner = build_learner("ridge", clips.clips[0].shape[1], told)
    learner.fit_scale(clips.batch(range(0, len(clips), SCALE_STEP)))
    return learner


def train(
    name: str, model: Model, features: FeatureSet, rest: Sequence[Utterance], run: Path
) -> tuple[Learner, list[float]]:
    """Return a learner that was trained on the weighted layers, and the shares that they ended with."""
    config = ModelConfig(
        learner=name,
        settings={"encoder": {"name": "statistics"}, **RIDGE} if name == "ridge" else {"encoder": {"name": "dense"}},
        frontend=model.config.frontend,
        frontend_settings=model.config.frontend_settings,
    )
    trained, _ = meta_train(
        config,
        lambda _, part: features.subset(part),
        rest,
        settings=TRAIN,
        run=run,
        frontend=model.frontend,
        resume=True,
    )
    shares = [shares_of(tensor) for key, tensor in trained.learner.state_dict().items() if key.endswith(".layers")]
    return trained.learner, [round(share, 3) for share in torch.cat(shares).tolist()]


def score(learner: Learner, clips: FeatureSet, episodes: Sequence[Episode]) -> dict[str, Any]:
    found = evaluate(learner, clips, episodes, spec=SPEC).as_dict()
    return {key: found[key] for key in ("protocol", "episodes", "episodes_sha256", "chance", "uar", "recall")}


if __name__ == "__main__":
    main()
