"""Train every learner on the same clips, score all of them on the same frozen episodes, and write the table.

Three questions, each with classes or speakers that training never met:

- emotions: leave one corpus out, then 4-way 1-shot and 5-shot on it, speakers of support and query disjoint;
- classes: within RAVDESS, meta-train on neutral, calm, happiness, sadness and anger, then 3-way on fear, disgust and
  surprise by speakers that training never heard;
- speakers: leave one corpus out, then its speakers as classes, 5-way 1-shot and 20-way 5-shot.

All learners share one encoder and, for each objective, one way of training and one choice of epoch (meta-validation: a
fifth of the training speakers). Their own settings are their defaults; RESULTS.md says how those came about.

    uv run python recipes/compare_learners.py --corpora ../shared/corpora

A result is written after every learner and not computed again: repeat the command to go on after a kill, delete a file
of recipes/results/learners to begin that question anew.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from ser_fewshot import corpora
from ser_fewshot._files import write_atomically
from ser_fewshot.checkpoints import Model, ModelConfig, build_model
from ser_fewshot.corpora import Utterance
from ser_fewshot.episodes import EpisodeSampler, EpisodeSpec
from ser_fewshot.evaluation import Evaluation, compare, evaluate
from ser_fewshot.frontends import FeatureCache, FeatureSet, default_directory, extract
from ser_fewshot.pipeline import meta_train
from ser_fewshot.splits import split_by_class, split_by_corpus, split_by_speaker
from ser_fewshot.training import TrainSettings

Clips = Sequence[Utterance]

RESULTS = Path(__file__).parent / "results" / "learners"
BASELINE = "nearest, mean log-mel"
LEARNERS: dict[str, tuple[str, dict[str, Any]]] = {
    BASELINE: ("nearest", {"encoder": {"name": "mean"}}),
    "nearest, statistics": ("nearest", {"encoder": {"name": "statistics"}}),
    "ridge, statistics": ("ridge", {"encoder": {"name": "statistics"}}),
    "siamese": ("siamese", {}),
    "protonet": ("protonet", {}),
    "protonet, cosine": ("protonet", {"metric": "cosine"}),
    "relation": ("relation", {}),
    "mann": ("mann", {}),
    "maml": ("maml", {}),
    "maml, first order": ("maml", {"first_order": True}),
    "reptile": ("reptile", {}),
    "meta_sgd": ("meta_sgd", {}),
    "mtl": ("mtl", {}),
    "finetune, head": ("finetune", {"scope": "head"}),
    "finetune, whole": ("finetune", {"scope": "whole", "head": {"steps": 20}}),
    "multitask": ("multitask", {}),
    "ridge": ("ridge", {}),
}
UNTRAINED = tuple(LEARNERS)[:3]
EMOTIONS = TrainSettings(tasks=(EpisodeSpec(n_way=4, k_shot=5, n_query=5),), epochs=6, meta_batch=2)
SPEAKERS = replace(EMOTIONS, tasks=(EpisodeSpec(n_way=5, k_shot=2, n_query=2, label="speaker", query_speaker="same"),))


@dataclass(frozen=True)
class Question:
    """What is trained on, what is tested on, and by which episodes."""

    name: str
    train: Clips
    test: Clips
    specs: tuple[EpisodeSpec, ...]
    settings: TrainSettings
    whitening: bool = False


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpora", type=Path, required=True, help="folder with one folder a corpus, named as it")
    parser.add_argument("--questions", nargs="+", help="some of them, such as emotions_emodb (default: all)")
    parser.add_argument("--learners", nargs="+", choices=LEARNERS, default=list(LEARNERS))
    parser.add_argument("--runs", type=Path, default=Path("runs/compare_learners"))
    parser.add_argument("--episodes", type=int, default=600)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    utterances = [clip for scan in corpora.scan_all(arguments.corpora) for clip in scan.utterances]
    frontend = build_model(ModelConfig(learner="ridge")).frontend
    features = extract(frontend, utterances, cache=FeatureCache(default_directory(), frontend.identity))
    for question in questions(features.utterances):
        if arguments.questions is None or question.name in arguments.questions:
            answer(question, features, arguments)


def questions(utterances: Clips) -> Iterator[Question]:
    """Yield what is asked; a corpus with fewer than 20 speakers is asked for five."""
    emotions = EpisodeSpec(n_way=4, k_shot=1, n_query=10)
    for corpus in sorted({clip.corpus for clip in utterances}):
        rest, held_out = split_by_corpus(utterances, [corpus])
        yield Question(f"emotions_{corpus}", rest, held_out, (emotions, replace(emotions, k_shot=5)), EMOTIONS)
    yield unseen_classes([clip for clip in utterances if clip.corpus == "ravdess"])
    five = EpisodeSpec(n_way=5, k_shot=1, n_query=5, label="speaker", query_speaker="same")
    for corpus in ("ased", "ravdess"):
        rest, held_out = split_by_corpus(utterances, [corpus])
        specs = (five, replace(five, n_way=20, k_shot=5))
        yield Question(f"speakers_{corpus}", rest, held_out, specs, SPEAKERS, whitening=True)


def unseen_classes(ravdess: Clips) -> Question:
    """Return the question that holds out classes and speakers of one corpus."""
    known, unseen = split_by_class(ravdess, ["fear", "disgust", "surprise"])
    train, _ = split_by_speaker(known, test_fraction=1 / 3, seed=0)
    heard = {clip.speaker_key for clip in train}
    test = [clip for clip in unseen if clip.speaker_key not in heard]
    specs = tuple(EpisodeSpec(n_way=3, k_shot=k_shot, n_query=10) for k_shot in (1, 5))
    return Question("classes_ravdess", train, test, specs, EMOTIONS)


def answer(question: Question, features: FeatureSet, arguments: argparse.Namespace) -> None:
    """Train and score the learners that a result file does not hold yet, and write it after each of them."""
    path = RESULTS / f"{question.name}.json"
    test = features.subset(question.test)
    episodes = {
        str(spec): EpisodeSampler(test.utterances, spec, seed=arguments.seed).draw_many(arguments.episodes)
        for spec in question.specs
    }
    result = json.loads(path.read_text()) if path.exists() else header(question, arguments)
    baseline: dict[str, Evaluation] = {}
    for name in [BASELINE, *(name for name in arguments.learners if name != BASELINE)]:
        if name in result["learners"] and name != BASELINE:
            continue
        start = time.monotonic()
        model, kept = made(name, question, features, arguments)
        trained = time.monotonic()
        scores = {str(spec): evaluate(model.learner, test, episodes[str(spec)], spec=spec) for spec in question.specs}
        baseline = baseline or scores
        result["learners"][name] = {
            "minutes_to_train": round((trained - start) / 60, 2),
            "minutes_to_score": round((time.monotonic() - trained) / 60, 2),
            "kept_epoch": kept,
            "scores": {
                spec: {
                    **{key: value for key, value in score.as_dict().items() if key != "uar_per_episode"},
                    "over_baseline": compare(score, baseline[spec]).as_dict(),
                }
                for spec, score in scores.items()
            },
        }
        write_atomically(path, json.dumps(result, indent=1) + "\n")
        print(question.name, name, *(f"{spec}: {score.as_dict()['uar']}" for spec, score in scores.items()), flush=True)


def header(question: Question, arguments: argparse.Namespace) -> dict[str, Any]:
    """Return what a reader needs to repeat a question."""
    return {
        "command": f"uv run python recipes/compare_learners.py --corpora DIR --questions {question.name}"
        f" --episodes {arguments.episodes} --seed {arguments.seed}",
        "trained_on": sorted({clip.corpus for clip in question.train}),
        "clips": {"train": len(question.train), "test": len(question.test)},
        "train": asdict(question.settings),
        "encoder": encoder(question),
        "seed": arguments.seed,
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "learners": {},
    }


def encoder(question: Question) -> dict[str, Any]:
    return {"name": "dense", "dropout": 0.2, "whitening": question.whitening}


def made(
    name: str, question: Question, features: FeatureSet, arguments: argparse.Namespace
) -> tuple[Model, dict[str, float] | None]:
    """Return a learner, trained unless it has nothing to train, and the record of the epoch that was kept."""
    learner, settings = LEARNERS[name]
    if name in UNTRAINED:
        told = dict(settings["encoder"])
        if told["name"] == "statistics":
            told["whitening"] = question.whitening
        model = build_model(ModelConfig(learner=learner, settings={"encoder": told}))
        clips = features.subset(question.train[::4])
        speakers = sorted({clip.speaker_key or "" for clip in clips.utterances})
        y = torch.tensor([speakers.index(clip.speaker_key or "") for clip in clips.utterances])
        model.learner.fit_scale(clips.batch(range(len(clips))), y)
        return model, None
    return meta_train(
        ModelConfig(learner=learner, settings={"encoder": encoder(question), **settings}),
        lambda _, part: features.subset(part),
        question.train,
        settings=replace(question.settings, seed=arguments.seed),
        run=arguments.runs / question.name / name.replace(", ", "-").replace(" ", "-"),
        resume=True,
    )


if __name__ == "__main__":
    main()
