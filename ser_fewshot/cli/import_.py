"""Make a model of a speech encoder that was trained elsewhere."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ser_fewshot import plugins
from ser_fewshot.cli._console import note, note_random, say, say_json, words
from ser_fewshot.cli._options import add_shared, require_new, seed
from ser_fewshot.errors import CheckpointError, SettingsError

if TYPE_CHECKING:
    from ser_fewshot.importers import Imported, KeyReport
    from ser_fewshot.models import Model

_LISTED = 8


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `import`."""
    add = parser.add_argument
    add("source", metavar="SOURCE", help="its folder or file, or a hub id such as facebook/wav2vec2-base (downloaded)")
    add("--out", type=Path, required=True, help="folder of the model")
    add_shared(parser, "--force")
    add("--layer", type=_layer, help="a number, or 'weighted' for a learned mixture (default)")
    add("--pooling", choices=("mean", "mean_std", "frames"), help="of a clip (default: mean_std)")
    add("--keep-silence", action="store_true", help="do not trim the ends of clips")
    add("--learner", help=f"{' | '.join(plugins.names('learners'))} (default: ridge)")
    add("--tune", type=seed, default=0, metavar="N", help="let 'train' train the last N blocks")
    add("--lora", type=seed, default=0, metavar="RANK", help="low-rank adapters in them, from peft")
    add("--allow-partial", action="store_true", help="take the weights that match and leave the others random")
    add("--manifest", type=Path, nargs="+", metavar="TABLE", help="labelled clips, for the statistics of speakers")
    add_shared(parser, "--json")


def _layer(text: str) -> int | str:
    return text if text == "weighted" else seed(text)


def run(arguments: argparse.Namespace) -> None:
    """Write the model, and its emotion head as an enrolment; on any error, nothing is written."""
    from ser_fewshot.importers import Choice, import_model
    from ser_fewshot.models import save_model
    from ser_fewshot.models.card import import_card
    from ser_fewshot.storage.hub import PRIOR

    _check_apart(Path(arguments.source), arguments.out)
    require_new("--out", arguments.out, arguments, folder=True)
    choice = Choice(
        layer=arguments.layer,
        pooling=arguments.pooling,
        trim=not arguments.keep_silence,
        learner=arguments.learner or ("finetune" if arguments.tune else "ridge"),
        allow_partial=arguments.allow_partial,
        tune=arguments.tune,
        lora=arguments.lora,
    )
    imported = import_model(arguments.source, choice, say=note)
    card = import_card(
        imported.model,
        source=arguments.source,
        layout=imported.checkpoint.layout,
        labels=tuple(imported.prior[1]) if imported.prior else (),
    )
    save_model(_with_speakers(imported.model, arguments.manifest), arguments.out, card=card)
    prior = _write_prior(imported, arguments.out / PRIOR)
    note_random(imported.model)
    (_print_json if arguments.json else _print)(imported, arguments.out, prior)


def _with_speakers(model: Model, manifest: Sequence[Path] | None) -> Model:
    """Return the model with statistics of the speakers of some tables, if there are any."""
    from ser_fewshot.cli._data import features_of, read_manifests
    from ser_fewshot.models.meta_train import with_speakers

    if manifest is None:
        return model
    fitted = with_speakers(model, features_of(model, read_manifests(manifest).utterances, None))
    if fitted.speakers is None:
        raise SettingsError(
            "--manifest",
            found="no corpus with three speakers of several emotions each",
            expected="labelled clips of at least three speakers, each in two emotions or more",
            remedy="Add clips, or leave --manifest out: the model then predicts without voices.",
        )
    return fitted


def _write_prior(imported: Imported, path: Path) -> Path | None:
    """Write the emotion head as an enrolment file and return its path; without a head, remove an earlier one."""
    from ser_fewshot.classifier.enrollment_file import save_enrollment
    from ser_fewshot.storage.files import remove

    if imported.prior is None:
        remove(path)
        return None
    save_enrollment(path, *imported.prior, clean_only=True)  # it has no clips whose deviations could be known
    return path


def _check_apart(source: Path, out: Path) -> None:
    source = source.expanduser()
    folder = source if source.is_dir() else source.parent
    if source.exists() and folder.resolve() == out.resolve():
        raise SettingsError(
            "--out",
            found="the folder that is imported" if folder == source else "the folder of the file that is imported",
            expected="another one",
            remedy="Choose another place for the model; its source stays as it is.",
        )
    if (out / "config.json").exists() and not _is_ours(out / "config.json"):
        raise SettingsError(
            "--out",
            found=f"{out}, which holds the config.json of another program",
            expected="a new folder, or with --force a model of this program",
            remedy="Choose another place for the model.",
        )


def _is_ours(config: Path) -> bool:
    from ser_fewshot.storage.tensors import read_config

    try:
        return read_config(config).get("model_type") == "ser_fewshot"
    except CheckpointError:
        return False


def _print(imported: Imported, out: Path, prior: Path | None) -> None:
    settings = imported.model.config.frontend_settings
    say(
        f"layout {imported.checkpoint.layout}, {settings['architecture']['model_type']}, layer {settings['layer']}, "
        f"pooling {settings['pooling']}: {imported.model.frontend.dim} values a frame"
    )
    if imported.tuned:
        say(f"the learner goes on to layer {settings['layer'] + imported.tuned}; train it with 'ser-fewshot train'")
    _print_keys(imported.report)
    for sentence in imported.notes:
        say(f"note: {sentence}")
    say(f"model: {out}; enrol with 'ser-fewshot enroll --model {out}'")
    if prior is not None and imported.prior is not None:
        labels = ", ".join(imported.prior[1])
        say(f"its emotion head: {prior}, which knows {labels}; refine it with 'ser-fewshot enroll --to {prior}'")


def _print_keys(report: KeyReport) -> None:
    say(f"matched: {len(report.matched)}")
    counts = {reason: len(names) for reason, names in report.reasons.items()}
    say(f"dropped on purpose: {len(report.dropped)}{f' ({words(counts)})' if counts else ''}")
    for kind, names in (("missing", report.missing), ("unexpected", report.unexpected)):
        say(f"{kind}: {len(names)}{f' ({_some(names)})' if names else ''}")


def _some(names: Sequence[str]) -> str:
    rest = len(names) - _LISTED
    return ", ".join(names[:_LISTED]) + (f" and {rest} more; --json lists them all" if rest > 0 else "")


def _print_json(imported: Imported, out: Path, prior: Path | None) -> None:
    report, settings = imported.report, imported.model.config.frontend_settings
    say_json(
        {
            "model": str(out),
            "prior": None if prior is None else str(prior),
            "labels": list(imported.prior[1]) if imported.prior else [],
            "layout": imported.checkpoint.layout,
            "architecture": settings["architecture"],
            "layer": settings["layer"],
            "pooling": settings["pooling"],
            "dim": imported.model.frontend.dim,
            "tuned": imported.tuned,
            "matched": report.matched,
            "dropped": report.reasons,
            "missing": report.missing,
            "unexpected": report.unexpected,
            "notes": imported.notes,
        }
    )
