"""Make the model that comes with the package, from scan to model card.

    uv run ser-fewshot import path/to/whisper-base-encoder --layer 2 --pooling frames --out runs/whisper-2
    uv run --with av python recipes/free_speech.py --out runs/free_speech
    uv run python recipes/train_default.py --teacher runs/whisper-2 --speech runs/free_speech/manifest.csv \
        --corpora ../shared/corpora path/to/other/corpora --without ased emodb ravdess urdu emogator
    uv run python recipes/train_default.py --teacher runs/whisper-2 --speech runs/free_speech/manifest.csv \
        --corpora path/to/other/corpora --permissive --runs runs/permissive

A small transformer on log-mel frames, the student, is fitted layer by layer to the first two layers of Whisper, on free
speech in many languages without labels. On its frozen embeddings of labelled corpora, directions of emotions are
meta-trained through episodes, and all else is fitted (`default_model.fit`).

Each corpus of --without is left out of one more model, which recipes/measure_default.py measures on it. What is made
is kept: repeat the command to resume it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from default_model.card import default_card
from default_model.embeddings import Embeddings, chosen, embed
from default_model.fit import FitSettings, fit_model
from default_model.student import initialised

from ser_fewshot import corpora
from ser_fewshot.corpora import Utterance
from ser_fewshot.errors import SettingsError
from ser_fewshot.models import Model, load_model, save_model
from ser_fewshot.storage.files import write_atomically
from ser_fewshot.storage.tensors import digest

SETTINGS = FitSettings()
RESULTS = Path(__file__).parent / "results" / "default"
COMMAND = (
    "uv run python recipes/train_default.py --teacher runs/whisper-2 --speech runs/free_speech/manifest.csv"
    " --corpora DIR DIR"
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpora", type=Path, required=True, nargs="+", help="folders with one folder a corpus")
    parser.add_argument("--teacher", type=Path, required=True, help="the first two layers of Whisper, imported")
    parser.add_argument("--speech", type=Path, required=True, help="manifest of clips to learn from without labels")
    parser.add_argument("--permissive", action="store_true", help="only corpora that allow commercial use")
    parser.add_argument("--without", nargs="*", default=(), help="corpora to leave out of one more model each")
    parser.add_argument("--runs", type=Path, default=Path("runs/default"))
    parser.add_argument("--out", type=Path, help="where the model of all corpora goes too, such as into the package")
    arguments = parser.parse_args()
    speech = corpora.read_manifest(arguments.speech).utterances
    student = initialised(load_model(arguments.teacher).frontend, speech, arguments.runs / "student")
    embeddings = {
        name: embed(student, clips, arguments.runs / "embeddings")
        for name, clips in labelled(arguments.corpora, permissive=arguments.permissive).items()
    }
    for name in arguments.without:
        rest = {other: one for other, one in embeddings.items() if other != name}
        finish(student, rest, speech, arguments.runs / f"without_{name}", permissive=arguments.permissive)
    whole = finish(student, embeddings, speech, arguments.runs / "all", permissive=arguments.permissive)
    if arguments.out:
        shutil.copytree(whole, arguments.out, dirs_exist_ok=True)


def labelled(folders: Sequence[Path], *, permissive: bool = False) -> dict[str, list[Utterance]]:
    """Return the clips of each corpus to fit to, by its name.

    Raises:
        SettingsError: there is no corpus, or one in two folders.
    """
    scans = [scan for folder in folders for scan in corpora.scan_all(folder)]
    found = sorted(scan.corpus for scan in scans)
    names = corpora.permissive(set(found)) if permissive else found
    if not names or len(set(found)) < len(found):
        raise SettingsError(
            "--corpora",
            found=f"the corpora {', '.join(found) or 'none'}",
            expected="each once, and at least one that may be used",
            remedy="Name other folders.",
        )
    return {scan.corpus: chosen(scan.utterances) for scan in scans if scan.corpus in names}


def finish(
    student: Model,
    embeddings: Mapping[str, Embeddings],
    speech: Sequence[Utterance],
    run: Path,
    *,
    permissive: bool = False,
) -> Path:
    """Fit a model, save it with its card and return its folder."""
    name = "permissive" if permissive else "default"
    model = fitted(student, embeddings, run)
    card = default_card(
        model,
        {name: one.utterances for name, one in embeddings.items()},
        speech=speech,
        settings=SETTINGS,
        measured=[json.loads(path.read_text()) for path in sorted(RESULTS.glob(f"{name}_*.json"))],
        command=COMMAND + " --permissive" * permissive,
    )
    save_model(model, run / "model", card=card)
    print(f"{run / 'model'}: {', '.join(embeddings)}", flush=True)
    return run / "model"


def fitted(student: Model, embeddings: Mapping[str, Embeddings], run: Path) -> Model:
    """Return the fitted model, from the run if it is there."""
    identity, path = identity_of(student, embeddings), run / "fit.json"
    if path.exists() and json.loads(path.read_text())["identity"] == identity:
        return load_model(run / "model")
    model = fit_model(student, embeddings, SETTINGS)
    save_model(model, run / "model", card="")
    write_atomically(path, json.dumps({"identity": identity}) + "\n")
    return model


def identity_of(student: Model, embeddings: Mapping[str, Embeddings]) -> str:
    """Return a digest of the inputs of a fit."""
    clips = [(clip.id, clip.emotion, clip.speaker) for one in embeddings.values() for clip in one.utterances]
    sums = [float(one.clean.double().sum() + one.degraded.double().sum()) for one in embeddings.values()]
    made_of = [digest(student.learner), student.frontend.identity, asdict(SETTINGS), clips, sums]
    return hashlib.sha256(json.dumps(made_of).encode()).hexdigest()


if __name__ == "__main__":
    main()
