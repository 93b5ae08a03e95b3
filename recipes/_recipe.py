"""Options, clips, training and result files, as all recipes have them.

The docstring of a recipe begins with its question. Its result file holds, by corpus and by row, UAR with its interval,
chance and the hash of the episodes; `recipes/write_tables.py` makes tables of it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import platform
import shlex
import tempfile
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _models import features_of

from ser_fewshot import corpora
from ser_fewshot.assets import DEFAULT_MODEL
from ser_fewshot.benchmark.methods import ENCODER
from ser_fewshot.corpora import Utterance
from ser_fewshot.episodes import Episode, EpisodeSampler, EpisodeSpec
from ser_fewshot.episodes.splits import Parts, split_by_speaker
from ser_fewshot.errors import CheckpointError
from ser_fewshot.evaluation import Evaluation, compare, evaluate, interval
from ser_fewshot.frontends import FeatureSet
from ser_fewshot.learners import Objective
from ser_fewshot.models import Model, ModelConfig, build_model, load_model
from ser_fewshot.storage.files import write_atomically
from ser_fewshot.storage.tensors import digest
from ser_fewshot.training import TrainSettings, fit_scale, train

Rows = dict[str, dict[str, Any]]

RESULTS = Path(__file__).parent / "results"
SMOKE = Path("runs/smoke")
SMOKE_SPEAKERS, SMOKE_EPISODES = 10, 4
SMOKE_VALIDATION = 0.5  # of so few speakers, so that five of them are a 5-way task
LOGMEL = ModelConfig(learner="ridge")  # whose front-end is that of all learners on log-mel frames
MEAN = ModelConfig(learner="nearest", settings={"encoder": {"name": "mean"}})
STATISTICS = ModelConfig(learner="ridge", settings={"encoder": {"name": "statistics"}})
TRAINED = {"encoder": ENCODER}
VERSIONS = ("ser-fewshot", "torch", "numpy", "scikit-learn")
HIDDEN = ("corpora", "out", "runs")  # folders, which no result depends on
KEPT = ("protocol", "episodes", "episodes_sha256", "chance", "uar", "accuracy", "recall")


def options(text: str | None, *, corpus: Sequence[str] = ("emodb",), episodes: int = 600) -> argparse.ArgumentParser:
    """Return the options that every recipe has; `corpus` are those it tests on by default, none means all."""
    parser = argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpora", type=Path, required=True, help="folder with one folder a corpus, named as it")
    parser.add_argument("--corpus", nargs="+", default=list(corpus), help=f"default: {' '.join(corpus) or 'all'}")
    parser.add_argument("--episodes", type=int, default=episodes)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help=f"folder (default: recipes/results, with --smoke {SMOKE})")
    parser.add_argument("--smoke", action="store_true", help="few clips, steps and episodes: does it run?")
    return parser


def with_models(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """Add the option of recipes that score a finished model."""
    parser.add_argument(
        "--models",
        default=str(DEFAULT_MODEL),
        help="folder; {corpus} in it stands for the tested corpus (default: the package's, trained on all)",
    )
    return parser


@dataclass(frozen=True, eq=False)
class Recipe:
    """One run of a recipe, from its file, its docstring and its parsed options to the result that is written."""

    file: str
    text: str | None
    arguments: argparse.Namespace
    result: dict[str, Any] = field(init=False)
    started: float = field(init=False, default_factory=time.monotonic)

    def __post_init__(self) -> None:
        object.__setattr__(self, "result", self._header())

    @property
    def name(self) -> str:
        return Path(self.file).stem

    @property
    def seed(self) -> int:
        return int(self.arguments.seed)

    @property
    def episodes(self) -> int:
        return SMOKE_EPISODES if self.arguments.smoke else int(self.arguments.episodes)

    @property
    def path(self) -> Path:
        folder: Path = self.arguments.out or (SMOKE if self.arguments.smoke else RESULTS)
        return folder / f"{self.name}.json"

    @property
    def runs(self) -> Path:
        """The folder of trained learners, for a recipe with the option --runs."""
        folder: Path = self.arguments.runs
        return folder / "smoke" if self.arguments.smoke else folder

    def utterances(self, *, others: bool = True) -> list[Utterance]:
        """Return the clips of all corpora, or of the tested ones alone; in a smoke test those of a few speakers."""
        root, names = self.arguments.corpora, self.arguments.corpus
        scans = corpora.scan_all(root) if others or not names else [corpora.scan(name, root / name) for name in names]
        clips = [clip for scan in scans for clip in scan.utterances]
        return few_speakers(clips) if self.arguments.smoke else clips

    def logmel(self, *, others: bool = True) -> FeatureSet:
        """Return the log-mel frames of these clips."""
        return features_of(build_model(LOGMEL), self.utterances(others=others))

    def each_corpus(self, clips: FeatureSet) -> Iterator[tuple[str, FeatureSet, FeatureSet]]:
        """Yield each tested corpus, with its own clips and those of all other corpora."""
        for corpus in self.arguments.corpus or sorted({clip.corpus for clip in clips.utterances}):
            own, rest = (
                [clip for clip in clips.utterances if (clip.corpus == corpus) == mine] for mine in (True, False)
            )
            yield corpus, clips.subset(own), clips.subset(rest)

    def draw(self, clips: FeatureSet, spec: EpisodeSpec, *, seed: int | None = None) -> tuple[Episode, ...]:
        """Return the episodes of a protocol."""
        sampler = EpisodeSampler(clips.utterances, spec, seed=self.seed if seed is None else seed)
        return sampler.draw_many(self.episodes)

    def pretrained(self, corpus: str, clips: Sequence[Utterance]) -> tuple[Model, str]:
        """Return the finished model for a corpus and its name, which says whether it was trained on clips of it."""
        folder = Path(self.arguments.models.replace("{corpus}", corpus))
        try:
            model = load_model(folder)
        except CheckpointError as error:
            raise SystemExit(f"--models: {error}\nrecipes/train_default.py makes such models.") from error
        overlap = model.training_set.overlap(clip for clip in clips if clip.corpus == corpus)
        self.result.setdefault("models", {})[corpus] = {
            "weights_sha256": digest(model.learner),
            "had_heard_it": overlap.found,
            "note": overlap.sentence,
        }
        if overlap.found:
            print(f"{corpus}: {overlap.sentence}", flush=True)
        return model, "default model" + (" (trained on the corpus)" if overlap.found else "")

    def training(self, task: EpisodeSpec) -> TrainSettings:
        """Return the settings that every learner of the recipes is trained by: 240 steps of each of its objectives."""
        return self.short(TrainSettings(tasks=(task,), epochs=6, meta_batch=2, seed=self.seed))

    def short(self, settings: TrainSettings) -> TrainSettings:
        """Return settings with the seed of the run; in a smoke test, of the shortest training."""
        if not self.arguments.smoke:
            return replace(settings, seed=self.seed)
        return replace(settings, epochs=1, steps=2, meta_batch=1, validation_episodes=2, batch_clips=16, seed=self.seed)

    def scaled(self, config: ModelConfig, clips: FeatureSet, *, task: EpisodeSpec) -> Model:
        """Return a model whose feature scale is fitted to some clips, and which is not trained."""
        model = build_model(config, seed=self.seed)
        fit_scale(model.learner, clips, self.training(task))
        return model

    def trained(
        self, config: ModelConfig, clips: FeatureSet, *, task: EpisodeSpec, validation: float = 0.2
    ) -> tuple[Model, float]:
        """Return a trained model and its UAR on meta-validation, on a share of the speakers."""
        model = build_model(config, seed=self.seed)
        share = SMOKE_VALIDATION if self.arguments.smoke else validation
        parts = split_by_speaker(clips.utterances, test_fraction=share, seed=self.seed)
        for objective in model.learner.objectives:
            uar = self.train(model, clips, parts, objective=objective, task=task)
        return model, uar

    def train(self, model: Model, clips: FeatureSet, parts: Parts, *, objective: Objective, task: EpisodeSpec) -> float:
        """Train a model in place by one objective; return the UAR on meta-validation of the epoch that was kept."""
        own, validation = map(clips.subset, parts)
        with tempfile.TemporaryDirectory() as run:
            settings = self.training(task)
            history = train(model.learner, own, validation, settings=settings, run=Path(run), objective=objective)
        return max(record["validation_uar"] for record in history)

    def write(self, corpus: str, rows: Rows, *, headline: Collection[str], path: Path | None = None) -> None:
        """Add the rows of a corpus to the result file; the README shows those of the headline."""
        self.result["corpora"][corpus] = rows
        self.result["headline"] = list(dict.fromkeys([*self.result["headline"], *headline]))
        self.result["minutes"] = round((time.monotonic() - self.started) / 60, 1)
        self.result["processor_minutes"] = round(time.process_time() / 60, 1)
        write_atomically(path or self.path, json.dumps(self.result, indent=1) + "\n")
        for name, row in rows.items():
            print(f"{corpus}: {name}: {100 * row['uar']['mean']:.1f} ± {100 * row['uar']['ci95']:.1f}", flush=True)

    def _header(self) -> dict[str, Any]:
        return {
            "recipe": self.name,
            "question": question_of(self.text or ""),
            "command": f"uv run python recipes/{self.name}.py {shlex.join(self._options())}",
            "seed": self.seed,
            "smoke": self.arguments.smoke,
            "versions": {"python": platform.python_version(), **{name: version(name) for name in VERSIONS}},
            "threads": torch.get_num_threads(),
            "minutes": 0.0,
            "headline": [],
            "corpora": {},
        }

    def _options(self) -> list[str]:
        """Return the options of this run, without the folders of this machine."""
        words = ["--corpora", "DIR"]
        for option, value in vars(self.arguments).items():
            if option in HIDDEN or value in (None, False, []) or value == str(DEFAULT_MODEL):
                continue
            values = value if isinstance(value, list) else [] if value is True else [value]
            words += [f"--{option.replace('_', '-')}", *map(str, values)]
        return words


def question_of(text: str) -> str:
    """Return the question that a docstring begins with."""
    return " ".join(text.partition("?")[0].split()) + "?"


def few_speakers(clips: Sequence[Utterance], *, n: int = SMOKE_SPEAKERS) -> list[Utterance]:
    """Return the clips of the n speakers of each corpus who have most of them."""
    kept: list[Utterance] = []
    for _, of_corpus in groupby(sorted(clips, key=lambda clip: clip.corpus), key=lambda clip: clip.corpus):
        own = list(of_corpus)
        names = [clip.speaker or "" for clip in own]
        most = sorted(set(names), key=lambda name: (-names.count(name), name))[:n]
        kept += [clip for clip in own if clip.speaker in most]
    return kept


def score(model: Model, clips: FeatureSet, episodes: Sequence[Episode], spec: EpisodeSpec) -> Evaluation:
    return evaluate(model.learner, clips, episodes, spec=spec)


def rows_of(scores: Mapping[str, Evaluation], *, same_queries: bool = False) -> Rows:
    """Return the row of each score, with its difference to the first, paired over episodes.

    All scores are on the same episodes or, with `same_queries`, on episodes that differ in their support.
    """
    first = next(iter(scores.values()))
    rows: Rows = {}
    for name, found in scores.items():
        values = found.as_dict()
        above = interval(found.uar - first.uar) if same_queries else compare(found, first)
        rows[name] = {**{key: values[key] for key in KEPT}, "over_first": above.as_dict()}
    return rows


def pooled(parts: Sequence[Evaluation]) -> Evaluation:
    """Pool the scores of several splits of one corpus over all their episodes."""
    labels = tuple(sorted({label for part in parts for label in part.labels}))
    confusion = np.zeros((len(labels), len(labels)), dtype=np.int64)
    for part in parts:
        places = [labels.index(label) for label in part.labels]
        confusion[np.ix_(places, places)] += part.confusion
    hashes = hashlib.sha256("".join(part.episodes_sha256 for part in parts).encode()).hexdigest()
    uar, accuracy = (np.concatenate([getattr(part, name) for part in parts]) for name in ("uar", "accuracy"))
    return Evaluation(parts[0].spec, hashes, labels, uar, accuracy, confusion)
