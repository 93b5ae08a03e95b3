"""Meta-train a learner and save the model that was best on meta-validation."""

from __future__ import annotations

import argparse
import shlex
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ser_fewshot.cli._console import note, note_random, say, say_json, tracker
from ser_fewshot.cli._data import features_of, read_manifests
from ser_fewshot.cli._text import counted
from ser_fewshot.compute import distributed
from ser_fewshot.corpora import Utterance, canonical_emotion, write_manifest
from ser_fewshot.episodes.feasible import feasible_sampler
from ser_fewshot.episodes.splits import Parts, split_by_class, split_by_corpus, split_by_speaker_name
from ser_fewshot.errors import SettingsError
from ser_fewshot.evaluation import chance_of
from ser_fewshot.learners import settings_of
from ser_fewshot.models import Model, ModelConfig, load_model
from ser_fewshot.models.meta_train import meta_train
from ser_fewshot.settings import fill
from ser_fewshot.storage.paths import what_is
from ser_fewshot.training import TrainSettings

_SECTIONS = ("settings", "train", "augmentation")


def run(arguments: argparse.Namespace) -> None:
    """Meta-train on the speakers, emotions and corpora that are not held out; a fifth of the speakers judge."""
    compute = distributed.compute(arguments.device, arguments.precision)
    sections = _read_toml(arguments.config)
    settings = _train_settings(sections, arguments)
    settings_of(arguments.learner, sections["settings"])  # a wrong name is known before the manifests are read
    config = ModelConfig(
        learner=arguments.learner, settings=sections["settings"], normalization=arguments.normalization or "none"
    )
    source = None if arguments.model is None else load_model(arguments.model)
    if source is not None:
        note_random(source)
    config, start = _on(config, source)
    (utterances, kept), held_out = _meta_train_part(arguments)
    for task in settings.tasks:
        for label, reason in feasible_sampler(utterances, task).excluded.items():
            note(f"never drawn for {task}: {label}: {reason}")
    _, best = meta_train(
        config,
        lambda model, part: features_of(model, part, arguments.cache, device=compute.device),
        utterances,
        settings=settings,
        run=arguments.out,
        frontend=None if source is None else source.frontend,
        start=start,
        resume=arguments.resume,
        held_out=held_out,
        command=shlex.join(["ser-fewshot", *arguments.argv]),
        compute=compute,
        track=_track_steps,
    )
    saved = arguments.out / "model"
    table = arguments.out / "held_out.csv" if kept else None
    if table is not None and distributed.is_main():
        write_manifest(table, kept)
    if arguments.json:
        told = {"model": str(saved), "clips": len(utterances), "kept": best, "task": str(settings.tasks[0])}
        say_json({**told, "held_out": None if table is None else str(table)})
        return
    say(
        f"kept epoch {best['epoch']}: UAR {100 * best['validation_uar']:.1f} ± {100 * best['validation_ci95']:.1f} % "
        f"on meta-validation ({settings.tasks[0]}), chance {100 * chance_of(settings.tasks[0]):.1f} %; model: {saved}"
    )
    if table is not None:
        command = shlex.join(["ser-fewshot", "evaluate", "--manifest", str(table), "--model", str(saved)])
        say(f"held out: {counted(len(kept), 'clip')}; {command}")
    if best["validation_diverged"]:
        note(
            f"adapting diverged in {best['validation_diverged']:.0f} of {settings.validation_episodes} validation "
            "episodes, which count as chance: lower the learner's rate"
        )


def _on(config: ModelConfig, source: Model | None) -> tuple[ModelConfig, Model | None]:
    """Return a config on the front-end of a model, and the model again if its encoder is to be trained further.

    Blocks of a pretrained encoder are; other encoders are made anew, as the learner and its settings say.

    Raises:
        SettingsError: blocks are asked for that the model does not have, or others than it has.
    """
    tuned = source is not None and source.config.encoder_name == "blocks"
    if config.encoder_name is not None and (config.encoder_name == "blocks" or tuned):
        raise SettingsError(
            "settings.encoder",
            found=f"{config.encoder_name!r} beside a model {'with' if tuned else 'without'} blocks to tune",
            expected="no encoder: that of the model is trained" if tuned else "another encoder",
            remedy="Leave it out to train blocks; 'ser-fewshot import SOURCE --tune N' chooses them.",
        )
    if source is None:
        return config, None
    told = source.config
    config = replace(config, frontend=told.frontend, frontend_settings=told.frontend_settings)
    if not tuned:
        return config, None
    encoder = {**told.settings["encoder"], **config.settings.get("encoder", {})}
    return replace(config, settings={**config.settings, "encoder": encoder}), source


def _meta_train_part(arguments: argparse.Namespace) -> tuple[Parts, dict[str, list[str]]]:
    """Return what may be trained and judged on, what is kept for meta-test, and the names of the latter by kind."""
    utterances = everything = read_manifests(arguments.manifest).utterances
    kept: list[Utterance] = []
    named: dict[str, list[str]] = {}
    for kind, split, names in (
        ("corpora", split_by_corpus, arguments.hold_out_corpus),
        ("emotions", split_by_class, [canonical_emotion(name) for name in arguments.hold_out_emotion]),
        ("speakers", split_by_speaker_name, arguments.hold_out_speakers),
    ):
        if names:
            utterances, apart = split(utterances, names)
            kept += apart
            named[kind] = sorted({str(clip.speaker_key) for clip in apart} if kind == "speakers" else names)
    lost = len(everything) - len(utterances) - len(kept)
    if lost:
        note(f"{counted(lost, 'clip')} without an emotion or a speaker left out: they might be of what is held out")
    return (utterances, tuple(kept)), named


def _track_steps(steps: Iterable[int], epoch: str) -> Iterable[int]:
    return tracker(epoch)(list(steps))


def _train_settings(sections: Mapping[str, dict[str, Any]], arguments: argparse.Namespace) -> TrainSettings:
    """Return the defaults, changed by the file, changed by the command line."""
    given = {"seed": arguments.seed, "epochs": arguments.epochs, "augmentation": sections["augmentation"] or None}
    changes = {name: value for name, value in given.items() if value is not None}
    return fill(TrainSettings, {**sections["train"], **changes}, where="train")


def _read_toml(path: Path | None) -> dict[str, dict[str, Any]]:
    """Return the sections of a configuration, empty ones where it has none.

    Raises:
        SettingsError: it cannot be read, is no TOML, or has something else in it.
    """
    empty: dict[str, dict[str, Any]] = {name: {} for name in _SECTIONS}
    if path is None:
        return empty
    try:
        if not path.is_file():
            raise OSError(what_is(path))
        config = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise SettingsError(
            str(path), found=str(error), expected="a TOML file in UTF-8", remedy="Correct the path or the file."
        ) from error
    wrong = sorted(name for name, value in config.items() if name not in _SECTIONS or not isinstance(value, dict))
    if wrong:
        raise SettingsError(
            str(path),
            found=", ".join(wrong),
            expected="the sections " + " | ".join(f"[{name}]" for name in _SECTIONS),
            remedy="Correct the names, and put every setting below that of its section.",
        )
    return empty | config
