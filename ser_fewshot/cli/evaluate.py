"""Score learners on episodes of a manifest, with intervals."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ser_fewshot import __version__
from ser_fewshot.cli._console import as_json, note, say, say_json, say_table, words
from ser_fewshot.cli._options import add_shared, count, require_new, seed
from ser_fewshot.compute import distributed
from ser_fewshot.errors import SettingsError

if TYPE_CHECKING:
    from ser_fewshot.corpora import Scan, Utterance
    from ser_fewshot.episodes import Episode, EpisodeSpec
    from ser_fewshot.evaluation import Evaluation, Interval
    from ser_fewshot.frontends import FeatureSet
    from ser_fewshot.models import Model

_DEFAULTS = {"n_way": 4, "k_shot": 5, "n_query": 10}  # where they are not those of EpisodeSpec
_EPISODES = 600
_PRINTED_CLASSES = 12  # more columns than that are no table for people


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `evaluate`."""
    add = parser.add_argument
    add_shared(parser, "--manifest", "--model")
    add("--learner", nargs="+", default=[], metavar="NAME", help="others on the same encoder, compared in pairs")
    # No defaults here: beside --replay these would have to be ignored, and that must not go unnoticed.
    add("--n-way", type=count, help="classes of an episode (default: 4)")
    add("--k-shot", type=count, help="support clips of each class (default: 5)")
    add("--n-query", type=count, help="query clips of each class (default: 10)")
    add("--label", choices=("emotion", "speaker", "emotion_x_speaker"), help="default: emotion")
    add("--query-speaker", choices=("disjoint", "same", "any"), help="default: disjoint; same if a class is a speaker")
    add("--query-text", choices=("different", "any"), help="default: any")
    add("--mix-corpora", action="store_true", default=None, help="let one episode hold clips of several corpora")
    add("--context", type=count, metavar="N", help="also score with the voice of the query speaker, from N other clips")
    add("--context-of", choices=("any", "neutral", "one"), help="emotions of these clips (default: any)")
    add("--support-speakers", choices=("any", "one"), help="one: a single speaker speaks the support (default: any)")
    add("--session", action="store_true", help="also score with the voice from the queries, which one speaker speaks")
    add("--clean-only", action="store_true", help="score supports of clean clips, as 'enroll --clean-only' enrols them")
    add("--episodes", type=count, help="how many (default: 600)")
    add("--seed", type=seed, help="decides which clips are drawn (default: 0)")
    add("--save-episodes", type=Path, metavar="FILE", help="freeze the episodes that were drawn")
    add("--replay", type=Path, metavar="FILE", help="score on episodes frozen before")
    add("--json", type=Path, metavar="FILE", help="write everything as JSON; - prints it")
    add_shared(parser, "--force", "--device", "--normalization", "--cache")


def run(arguments: argparse.Namespace) -> None:
    """Print UAR and accuracy with intervals and chance, per-class recall, paired differences, and the gain of a voice.

    Supports are as `enroll` makes them: unless --clean-only is given, of clips under recording conditions too.
    Several processes share the extraction; the first one scores.
    """
    from ser_fewshot.cli._data import features_of, read_manifests, under_conditions_of
    from ser_fewshot.cli._voices import check_voices, gains, scored
    from ser_fewshot.episodes.feasible import feasible_sampler
    from ser_fewshot.episodes.frozen import load_episodes
    from ser_fewshot.evaluation import check_episodes
    from ser_fewshot.models import with_deviations

    _check(arguments)
    device = distributed.compute(arguments.device).device
    frozen, spec = load_episodes(arguments.replay) if arguments.replay else (None, _spec(arguments))
    manifest = read_manifests(arguments.manifest)
    models = _models(arguments.model, arguments.learner, spec)
    check_voices(models, spec, session=arguments.session)
    # Episodes that cannot be drawn are refused before minutes of extraction.
    if frozen is None:
        feasible_sampler(manifest.utterances, spec)
    else:
        check_episodes(frozen, spec, {clip.id for clip in manifest.utterances})
    first = next(iter(models.values()))
    normalization = arguments.normalization or first.config.normalization
    features = features_of(first, manifest.utterances, arguments.cache, normalization=normalization, device=device)
    augmented = () if arguments.clean_only else models.values()
    under = under_conditions_of(
        augmented, features.utterances, arguments.cache, normalization=normalization, device=device
    )
    if not distributed.is_main():
        return
    episodes = _draw(arguments, features.utterances, spec) if frozen is None else frozen
    results: dict[str, Evaluation] = {}
    for name, model in models.items():
        model.learner.to(device)
        supports = with_deviations(model.learner, features, under)
        results.update(scored(name, model, supports, episodes, spec, session=arguments.session))
    gained = gains(results)
    overlap = first.training_set.overlap(features.utterances)
    report = {
        **_origin(arguments, manifest, features),
        "device": str(device),
        "training_set": overlap.as_dict(),
        "normalization": normalization,
        "clean_only": not under,
        "view": first.config.view,
        "learners": {name: result.as_dict() for name, result in results.items()},
        "difference_to_first": _differences(results),
        **({"voice_gain": _as_dicts(gained)} if gained else {}),
    }
    if arguments.json == Path("-"):
        say_json(report)
        return
    _write(arguments.json, report)
    conditions = f"normalisation {normalization}; {f'view {first.config.view}; ' if first.config.view else ''}"
    conditions += "clean supports; " if arguments.clean_only else ""
    mark = " ‡" if overlap.found else ""
    _print_scores(results, spec, conditions, mark=mark)
    for name, gain in gained.items():
        say(f"UAR, paired gain of {name}: {gain}")
    say(f"{mark} {overlap.sentence}".strip())
    for name, result in results.items():
        if result.diverged:
            reason = next(iter(result.diverged.values()))
            note(f"{name}: {len(result.diverged)} of {len(result.uar)} episodes diverged and count as chance: {reason}")
    if arguments.json:
        say(f"all of it: {arguments.json}")


def _check(arguments: argparse.Namespace) -> None:
    """Refuse to write over a file, and options beside --replay that would have to be ignored."""
    from ser_fewshot.episodes import EpisodeSpec

    require_new("--json", None if arguments.json == Path("-") else arguments.json, arguments)
    require_new("--save-episodes", arguments.save_episodes, arguments)
    if arguments.json is not None and arguments.json == arguments.save_episodes:
        raise SettingsError(
            "--json and --save-episodes",
            found=f"{arguments.json} for both",
            expected="a file for each",
            remedy="Choose another name for one of them.",
        )
    if arguments.context_of is not None and arguments.context is None and arguments.replay is None:
        raise SettingsError(
            "--context-of",
            found="it without --context",
            expected="--context N",
            remedy="Say how many clips: --context 5.",
        )
    drawn = (*(one.name for one in fields(EpisodeSpec)), "episodes", "seed", "save_episodes")
    given = [f"--{name.replace('_', '-')}" for name in drawn if getattr(arguments, name) is not None]
    if arguments.replay is not None and given:
        raise SettingsError(
            "--replay",
            found=f"{', '.join(given)} beside it",
            expected="a frozen list alone: it says what its episodes are",
            remedy="Leave the others out, or draw new episodes.",
        )


def _write(path: Path | None, report: Mapping[str, object]) -> None:
    """Write the report, before anything is printed: whoever reads what is printed may stop reading."""
    from ser_fewshot.storage.files import write_atomically

    if path is not None:
        write_atomically(path, as_json(report) + "\n")


def _spec(arguments: argparse.Namespace) -> EpisodeSpec:
    from ser_fewshot.episodes import EpisodeSpec

    given = {one.name: getattr(arguments, one.name) for one in fields(EpisodeSpec)}
    speaker = "disjoint" if given["label"] in (None, "emotion") else "same"
    chosen = {name: value for name, value in given.items() if value is not None}
    settings: dict[str, Any] = {**_DEFAULTS, "query_speaker": speaker, **chosen}
    return EpisodeSpec(**settings)


def _models(folder: Path | None, learners: Sequence[str], spec: EpisodeSpec) -> dict[str, Model]:
    """Return the model under each learner, with the view of the label of the episodes."""
    from ser_fewshot.cli._data import read_model
    from ser_fewshot.models import swap_learner, with_view

    model = with_view(read_model(folder), "speaker" if spec.label == "speaker" else "emotion")
    if not learners:
        return {model.config.learner: model}
    return {name: model if name == model.config.learner else swap_learner(model, name) for name in learners}


def _draw(arguments: argparse.Namespace, utterances: Sequence[Utterance], spec: EpisodeSpec) -> tuple[Episode, ...]:
    from ser_fewshot.episodes import EpisodeSampler
    from ser_fewshot.episodes.frozen import save_episodes

    number = arguments.seed or 0
    sampler = EpisodeSampler(utterances, spec, seed=number)
    for label, reason in sampler.excluded.items():
        note(f"never drawn: {label}: {reason}")
    episodes = sampler.draw_many(arguments.episodes or _EPISODES)
    if arguments.save_episodes:
        save_episodes(arguments.save_episodes, episodes, spec, seed=number)
    return episodes


def _origin(arguments: argparse.Namespace, manifest: Scan, features: FeatureSet) -> dict[str, object]:
    """Return the part of the report that says what was scored, on what and by which versions."""
    import torch

    from ser_fewshot.compute.versions import versions

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
    from ser_fewshot.evaluation import compare

    first, *others = results
    return _as_dicts({name: compare(results[name], results[first]) for name in others})


def _as_dicts(differences: Mapping[str, Interval]) -> dict[str, dict[str, float]]:
    return {name: {"mean": item.mean, "ci95": item.half_width} for name, item in differences.items()}


def _print_scores(results: Mapping[str, Evaluation], spec: EpisodeSpec, conditions: str, *, mark: str) -> None:
    """Print the scores; the mark stands beside every learner if its training set has clips of the manifest."""
    from ser_fewshot.evaluation import compare, interval

    first = next(iter(results.values()))
    say(
        f"{spec}, {spec.n_query} queries; {len(first.uar)} episodes {first.episodes_sha256[:12]}; "
        f"{conditions}chance {100 * first.chance:.1f} %"
    )
    say_table(
        ("learner", "UAR % (95 % CI)", "accuracy % (95 % CI)", "UAR, paired difference to the first"),
        (
            (
                name + mark,
                interval(result.uar),
                interval(result.accuracy),
                "" if result is first else compare(result, first),
            )
            for name, result in results.items()
        ),
    )
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
