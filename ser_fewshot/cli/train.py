"""Meta-train a learner over episodes."""

from __future__ import annotations

import argparse
import shlex
import tomllib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ser_fewshot import plugins
from ser_fewshot.cli._console import counted, note, say, say_json, tracker
from ser_fewshot.cli._options import add_shared, count, seed
from ser_fewshot.compute import distributed
from ser_fewshot.errors import SettingsError
from ser_fewshot.settings import fill
from ser_fewshot.storage.paths import check_is_file

if TYPE_CHECKING:
    from ser_fewshot.corpora import Utterance
    from ser_fewshot.episodes.splits import Parts
    from ser_fewshot.models import Model, ModelConfig
    from ser_fewshot.training import TrainSettings

_SECTIONS = ("settings", "train", "augmentation")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `train`."""
    add = parser.add_argument
    add_shared(parser, "--manifest")
    add("--out", type=Path, required=True, help="folder of the run; the model goes to OUT/model")
    add("--learner", default="protonet", help=" | ".join(plugins.names("learners")))
    add("--model", type=Path, help="train on the front-end, and the blocks to tune, of this one from 'import'")
    add("--config", type=Path, help="TOML with the sections [settings], [train] and [augmentation]")
    add("--hold-out-corpus", nargs="+", default=[], metavar="NAME", help="corpora kept for meta-test")
    add("--hold-out-emotion", nargs="+", default=[], metavar="NAME", help="emotions kept for meta-test")
    add(
        "--hold-out-speakers",
        nargs="+",
        default=[],
        metavar="NAME",
        help="speakers kept for meta-test, as NAME or CORPUS/NAME; their clips go to OUT/held_out.csv",
    )
    add("--epochs", type=count, help="instead of the configuration's")
    add("--seed", type=seed, help="instead of the configuration's (default: 0)")
    add("--resume", action="store_true", help="go on from the run's last finished epoch")
    add_shared(parser, "--device")
    add(
        "--precision",
        choices=("fp32", "bf16", "fp16"),
        default="fp32",
        help="what the encoder computes in while it is trained (default: fp32)",
    )
    add_shared(parser, "--json", "--normalization", "--cache")


def run(arguments: argparse.Namespace) -> None:
    """Meta-train on the speakers, emotions and corpora that are not held out, and save the best epoch as a model.

    The best epoch is that with the highest UAR on a fifth of the speakers, which are kept for meta-validation.
    """
    from ser_fewshot.cli._data import features_of, read_model
    from ser_fewshot.corpora import write_manifest
    from ser_fewshot.episodes.feasible import feasible_sampler
    from ser_fewshot.learners import settings_of
    from ser_fewshot.models import ModelConfig
    from ser_fewshot.models.meta_train import meta_train

    compute = distributed.compute(arguments.device, arguments.precision)
    sections = _read_toml(arguments.config)
    settings = _train_settings(sections, arguments)
    settings_of(arguments.learner, sections["settings"])  # a wrong name is refused before the manifests are read
    config = ModelConfig(
        learner=arguments.learner, settings=sections["settings"], normalization=arguments.normalization or "none"
    )
    source = None if arguments.model is None else read_model(arguments.model)
    config, start = _with_frontend(config, source)
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
        track=lambda steps, epoch: tracker(epoch)(list(steps)),
    )
    if kept and distributed.is_main():
        write_manifest(arguments.out / "held_out.csv", kept)
    _print_result(arguments, settings, best, n_clips=len(utterances), n_kept=len(kept))


def _print_result(
    arguments: argparse.Namespace, settings: TrainSettings, best: dict[str, Any], *, n_clips: int, n_kept: int
) -> None:
    from ser_fewshot.evaluation import chance_of

    saved, task = arguments.out / "model", settings.tasks[0]
    table = str(arguments.out / "held_out.csv") if n_kept else None
    if arguments.json:
        say_json({"model": str(saved), "clips": n_clips, "kept": best, "task": str(task), "held_out": table})
        return
    say(
        f"kept epoch {best['epoch']}: UAR {100 * best['validation_uar']:.1f} ± {100 * best['validation_ci95']:.1f} % "
        f"on meta-validation ({task}), chance {100 * chance_of(task):.1f} %; model: {saved}"
    )
    if table is not None:
        command = shlex.join(["ser-fewshot", "evaluate", "--manifest", table, "--model", str(saved)])
        say(f"held out: {counted(n_kept, 'clip')}; {command}")
    if best["validation_diverged"]:
        note(
            f"adapting diverged in {best['validation_diverged']:.0f} of {settings.validation_episodes} validation "
            "episodes, which count as chance: lower the learner's rate"
        )


def _with_frontend(config: ModelConfig, source: Model | None) -> tuple[ModelConfig, Model | None]:
    """Return a config with the front-end of a model, and the model again if its encoder is to be trained further.

    Only blocks of a pretrained encoder are trained further; another encoder is new, as the settings say.
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
    given = source.config
    config = replace(config, frontend=given.frontend, frontend_settings=given.frontend_settings)
    if not tuned:
        return config, None
    encoder = {**given.settings["encoder"], **config.settings.get("encoder", {})}
    return replace(config, settings={**config.settings, "encoder": encoder}), source


def _meta_train_part(arguments: argparse.Namespace) -> tuple[Parts, dict[str, list[str]]]:
    """Return the clips for meta-training and meta-validation, those for meta-test, and the names held out, by kind."""
    from ser_fewshot.cli._data import read_manifests
    from ser_fewshot.corpora import canonical_emotion
    from ser_fewshot.episodes.splits import split_by_class, split_by_corpus, split_by_speaker_name

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


def _train_settings(sections: Mapping[str, dict[str, Any]], arguments: argparse.Namespace) -> TrainSettings:
    """Return the defaults, changed by the file, changed by the command line."""
    from ser_fewshot.training import TrainSettings

    given = {"seed": arguments.seed, "epochs": arguments.epochs, "augmentation": sections["augmentation"] or None}
    changes = {name: value for name, value in given.items() if value is not None}
    return fill(TrainSettings, {**sections["train"], **changes}, where="train")


def _read_toml(path: Path | None) -> dict[str, dict[str, Any]]:
    """Return the sections of a configuration, empty ones where it has none."""
    empty: dict[str, dict[str, Any]] = {name: {} for name in _SECTIONS}
    if path is None:
        return empty
    try:
        check_is_file(path)
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
