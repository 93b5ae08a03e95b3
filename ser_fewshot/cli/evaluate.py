"""Score one or more learners on the same episodes."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from ser_fewshot import __version__
from ser_fewshot.assets import DEFAULT_MODEL
from ser_fewshot.cli._console import note, note_random, say, say_json, say_table, tracker
from ser_fewshot.cli._data import features_of, read_manifests
from ser_fewshot.cli._outputs import require_new
from ser_fewshot.cli._text import as_json, words
from ser_fewshot.compute import distributed
from ser_fewshot.compute.versions import versions
from ser_fewshot.corpora import Scan, Utterance
from ser_fewshot.encoders import View
from ser_fewshot.episodes import Episode, EpisodeSampler, EpisodeSpec
from ser_fewshot.episodes.feasible import feasible_sampler
from ser_fewshot.episodes.frozen import load_episodes, save_episodes
from ser_fewshot.errors import SettingsError
from ser_fewshot.evaluation import Evaluation, check_episodes, compare, evaluate, interval
from ser_fewshot.frontends import FeatureSet
from ser_fewshot.models import Model, load_model, swap_learner, with_view
from ser_fewshot.storage.files import write_atomically

_DEFAULTS = {"n_way": 4, "k_shot": 5, "n_query": 10, "query_text": "any", "mix_corpora": False}
_EPISODES = 600
_PRINTED_CLASSES = 12  # more columns than that are no table for people

Frozen = tuple[tuple[Episode, ...], EpisodeSpec]


def run(arguments: argparse.Namespace) -> None:
    """Print UAR and accuracy with intervals and chance, per-class recall, and paired differences.

    Several processes share the extraction; the first one scores.
    """
    require_new("--json", None if arguments.json == Path("-") else arguments.json, arguments)
    require_new("--save-episodes", arguments.save_episodes, arguments)
    if arguments.json is not None and arguments.json == arguments.save_episodes:
        raise SettingsError(
            "--json and --save-episodes",
            found=f"{arguments.json} for both",
            expected="a file for each",
            remedy="Choose another name for one of them.",
        )
    device = distributed.compute(arguments.device).device
    frozen = load_episodes(arguments.replay) if _replays(arguments) else None
    spec = frozen[1] if frozen else _spec(arguments)
    manifest = read_manifests(arguments.manifest)
    models = _models(arguments.model or DEFAULT_MODEL, arguments.learner, spec)
    # What cannot be drawn, or is not there, is known before minutes of analysis.
    if frozen:
        check_episodes(frozen[0], spec, {clip.id for clip in manifest.utterances})
    else:
        feasible_sampler(manifest.utterances, spec)
    first = next(iter(models.values()))
    normalization = arguments.normalization or first.config.normalization
    features = features_of(first, manifest.utterances, arguments.cache, normalization=normalization, device=device)
    if not distributed.is_main():
        return
    episodes = frozen[0] if frozen else _draw(arguments, features.utterances, spec)
    results = {
        name: evaluate(model.learner.to(device), features, episodes, spec=spec, track=tracker(f"evaluate {name}"))
        for name, model in models.items()
    }
    overlap = first.training_set.overlap(features.utterances)
    report = {
        **_origin(arguments, manifest, features),
        "device": str(device),
        "training_set": overlap.as_dict(),
        "normalization": normalization,
        "view": first.config.view,
        "learners": {name: result.as_dict() for name, result in results.items()},
        "difference_to_first": _differences(results),
    }
    if arguments.json == Path("-"):
        say_json(report)
        return
    if arguments.json:  # first of all: whoever reads what is printed may stop reading
        write_atomically(arguments.json, as_json(report) + "\n")
    _print_scores(results, spec, normalization, first.config.view, mark=" ‡" if overlap.found else "")
    say(f"{'‡ ' if overlap.found else ''}{overlap.sentence}")
    for name, result in results.items():
        if result.diverged:
            reason = next(iter(result.diverged.values()))
            note(f"{name}: {len(result.diverged)} of {len(result.uar)} episodes diverged and count as chance: {reason}")
    if arguments.json:
        say(f"all of it: {arguments.json}")


def _replays(arguments: argparse.Namespace) -> bool:
    """Whether frozen episodes are asked for.

    Raises:
        SettingsError: an option beside --replay would have to be ignored, because the frozen list decides it.
    """
    if arguments.replay is None:
        return False
    decided = (*_DEFAULTS, "label", "query_speaker", "episodes", "seed", "save_episodes")
    given = [f"--{name.replace('_', '-')}" for name in decided if getattr(arguments, name) is not None]
    if given:
        raise SettingsError(
            "--replay",
            found=f"{', '.join(given)} beside it",
            expected="a frozen list alone: it says what its episodes are",
            remedy="Leave the others out, or draw new episodes.",
        )
    return True


def _spec(arguments: argparse.Namespace) -> EpisodeSpec:
    label = arguments.label or "emotion"
    asked: dict[str, Any] = {**_DEFAULTS, "label": label}
    asked["query_speaker"] = "disjoint" if label == "emotion" else "same"
    asked.update({name: getattr(arguments, name) for name in asked if getattr(arguments, name) is not None})
    return EpisodeSpec(**asked)


def _models(folder: Path, learners: Sequence[str], spec: EpisodeSpec) -> dict[str, Model]:
    """Return the model under each learner, with the view of what is to be told apart."""
    model = with_view(load_model(folder), "speaker" if spec.label == "speaker" else "emotion")
    note_random(model)
    if not learners:
        return {model.config.learner: model}
    return {name: model if name == model.config.learner else swap_learner(model, name) for name in learners}


def _draw(arguments: argparse.Namespace, utterances: Sequence[Utterance], spec: EpisodeSpec) -> tuple[Episode, ...]:
    seed = arguments.seed or 0
    sampler = EpisodeSampler(utterances, spec, seed=seed)
    for label, reason in sampler.excluded.items():
        note(f"never drawn: {label}: {reason}")
    episodes = sampler.draw_many(arguments.episodes or _EPISODES)
    if arguments.save_episodes:
        save_episodes(arguments.save_episodes, episodes, spec, seed=seed)
    return episodes


def _origin(arguments: argparse.Namespace, manifest: Scan, features: FeatureSet) -> dict[str, object]:
    """Return what the scores are of, and what they leave out."""
    skipped = (*manifest.skipped, *features.skipped)
    return {
        "version": __version__,
        "versions": versions(),
        "threads": torch.get_num_threads(),
        "model": str(arguments.model) if arguments.model else "default",
        "manifests": list(map(str, arguments.manifest)),
        "corpora": sorted({clip.corpus for clip in features.utterances}),
        "replay": str(arguments.replay) if arguments.replay else None,
        "seed": None if arguments.replay else arguments.seed or 0,
        "clips": len(features),
        "skipped": [{"file": str(item.path), "reason": item.reason} for item in skipped],
    }


def _differences(results: Mapping[str, Evaluation]) -> dict[str, dict[str, float]]:
    """Return, for every learner but the first, the paired difference of its UAR to the first's."""
    first, *others = results
    differences = {name: compare(results[name], results[first]) for name in others}
    return {name: {"mean": item.mean, "ci95": item.half_width} for name, item in differences.items()}


def _print_scores(
    results: Mapping[str, Evaluation], spec: EpisodeSpec, normalization: str, view: View | None, *, mark: str
) -> None:
    """Print what was scored; the mark stands beside every learner whose training set has clips of the manifest."""
    first = next(iter(results.values()))
    say(
        f"{spec}, {spec.n_query} queries; {len(first.uar)} episodes {first.episodes_sha256[:12]}; "
        f"normalisation {normalization}; {f'view {view}; ' if view else ''}chance {100 * first.chance:.1f} %"
    )
    rows = [
        (
            name + mark,
            interval(result.uar),
            interval(result.accuracy),
            "" if result is first else compare(result, first),
        )
        for name, result in results.items()
    ]
    say_table(("learner", "UAR % (95 % CI)", "accuracy % (95 % CI)", "UAR, paired difference to the first"), rows)
    if len(first.labels) > _PRINTED_CLASSES:
        say(f"recall and confusion of {len(first.labels)} classes: see --json")
        return
    for name, result in results.items():
        say(f"recall, {name}: {words({label: f'{100 * rate:.0f} %' for label, rate in result.recall.items()})}")
    if len(results) == 1:
        rates = 100 * first.confusion / first.confusion.sum(1, keepdims=True).clip(1)
        lines = zip(first.labels, rates, strict=True)
        say_table(
            ("true \\ answer, %", *first.labels), [(label, *(f"{rate:.0f}" for rate in row)) for label, row in lines]
        )
