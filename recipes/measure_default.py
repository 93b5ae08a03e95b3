r"""Measure a model on a corpus that it was not trained on, by the frozen episodes of recipes/episodes.

- UAR on emotions with speakers of support and query disjoint, and within one speaker; on speakers as classes;
- the same with the queries, not the support, through noise, a room, the telephone and other gains;
- the same on the queries of women and of men;
- where the model is calibrated, ECE and the open-set measures of its novelty.

A model with views of emotions and of speakers uses the view of the labels of each protocol.

`{corpus}` in the model's path stands for the corpus measured, so that each is measured by the model that left it out:

    uv run python recipes/measure_default.py --model 'runs/default/without_{corpus}/model' --name default \
        --corpora ../shared/corpora

Several models are those of the corpora, in their order. Any model is measured alike, such as one that was imported:

    uv run ser-fewshot import ../shared/models/whisper-base-encoder --layer 2 --out runs/whisper-2
    uv run python recipes/measure_default.py --model runs/whisper-2 --fit-scale --penalty 0.1 \
        --name 'Whisper base, layer 2' --corpora ../shared/corpora

Results go to recipes/results/default, one file a corpus.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch
from _microphones import CONDITIONS, Wave, record
from _models import features_of
from _protocols import frozen
from _trials import Trial, measured
from torch import Tensor

from ser_fewshot import audio, corpora
from ser_fewshot.audio.conditions import CONDITIONS as CONDITIONS_OF_ENROLMENT
from ser_fewshot.compute.versions import processor
from ser_fewshot.corpora import Utterance
from ser_fewshot.encoders import Discriminant, View
from ser_fewshot.episodes import Episode, EpisodeSpec
from ser_fewshot.errors import EpisodeError, SettingsError
from ser_fewshot.evaluation import evaluate
from ser_fewshot.frontends import FeatureSet, analyse, normalize
from ser_fewshot.learners import build_learner, embed_clips
from ser_fewshot.learners.ridge import Ridge
from ser_fewshot.models import Model, load_model, with_view
from ser_fewshot.storage.files import write_atomically
from ser_fewshot.storage.tensors import digest

RESULTS = Path(__file__).parent / "results" / "default"
VOICES = 200  # clips to mix babble from
SCALE_STEP = 4  # every fourth clip of the other corpora is enough for a scale
CLIPS_AT_ONCE = 256


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", nargs="+", required=True, help="folder; with {corpus} in it, or one a corpus")
    parser.add_argument("--corpora", type=Path, required=True, help="folder with one folder a corpus, named as it")
    parser.add_argument("--corpus", nargs="+", help="what to measure on (default: all)")
    parser.add_argument("--name", required=True, help="of the model, in results and tables")
    parser.add_argument("--fit-scale", action="store_true", help="learn the scale of features from the other corpora")
    parser.add_argument("--penalty", type=float, help="of ridge regression (default: the model's own)")
    parser.add_argument("--as-enrolled", action="store_true", help="augment every support, as 'enroll' does")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--seed", type=int, default=0, help="of the conditions; the episodes are frozen")
    arguments = parser.parse_args()
    scans = {scan.corpus: scan.utterances for scan in corpora.scan_all(arguments.corpora)}
    names = arguments.corpus or list(scans)
    for corpus, folder in zip(names, folders(arguments.model, names), strict=True):
        model = load_model(folder)
        others = [clip for name, clips in scans.items() if name != corpus for clip in clips]
        if arguments.penalty is not None:
            penalise(model, arguments.penalty)
        if arguments.fit_scale:
            clips = features_of(model, others[::SCALE_STEP])
            model.learner.fit_scale(clips.batch(range(len(clips))))
        result = {
            **header(corpus, model, scans[corpus], arguments),
            "protocols": protocols(
                corpus,
                model,
                scans[corpus],
                babble_of(others),
                seed=arguments.seed,
                augmented=arguments.as_enrolled,
            ),
        }
        write_atomically(
            arguments.out / f"{file_name(arguments.name)}_{corpus}.json", json.dumps(result, indent=1) + "\n"
        )
        for protocol, row in result["protocols"].items():
            print(f"{arguments.name}, {corpus}, {protocol}: {100 * row['uar']['mean']:.1f}", flush=True)


def folders(models: Sequence[str], names: Sequence[str]) -> list[Path]:
    """Return the model of each corpus: one path with {corpus} in it, or one a corpus.

    Raises:
        SettingsError: there are several models, but not one a corpus.
    """
    if len(models) == 1:
        return [Path(models[0].replace("{corpus}", corpus)) for corpus in names]
    if len(models) != len(names):
        raise SettingsError(
            "--model",
            found=f"{len(models)} models for {len(names)} corpora",
            expected="one for all, or one a corpus in the order of --corpus",
            remedy="Name as many models as corpora.",
        )
    return [Path(model) for model in models]


def penalise(model: Model, penalty: float) -> None:
    """Give a model's ridge regression another penalty: that of an imported one was chosen for other features.

    Raises:
        SettingsError: its learner is another one.
    """
    if not isinstance(model.learner, Ridge):
        raise SettingsError(
            "--penalty",
            found=f"a model of the learner {model.config.learner}",
            expected="one of the learner ridge",
            remedy="Leave it out.",
        )
    model.learner.penalty = penalty


def header(corpus: str, model: Model, clips: Sequence[Utterance], arguments: argparse.Namespace) -> dict[str, Any]:
    """Return how to repeat a measurement, and whether the model was trained on clips of the corpus."""
    overlap = model.training_set.overlap(clips)
    return {
        "command": f"uv run python recipes/measure_default.py --model {' '.join(map(repr, arguments.model))}"
        f" --corpora DIR --corpus {corpus} --name {arguments.name!r} --seed {arguments.seed}"
        + (" --fit-scale" if arguments.fit_scale else "")
        + (" --as-enrolled" if arguments.as_enrolled else "")
        + (f" --penalty {arguments.penalty:g}" if arguments.penalty is not None else ""),
        "name": arguments.name,
        "corpus": corpus,
        "had_heard_it": overlap.found,
        "note": overlap.sentence,
        "learner": model.config.learner,
        "frontend": model.config.frontend,
        "weights_sha256": digest(model.learner),
        "seed": arguments.seed,
        "torch": torch.__version__,
        "processor": processor(),
        "threads": torch.get_num_threads(),
    }


def file_name(name: str) -> str:
    """Return a name as part of a file's name: "Whisper base, layer 2" -> "whisper-base-layer-2"."""
    return re.sub(r"\W+", "-", name.lower()).strip("-")


def babble_of(others: Sequence[Utterance]) -> list[Wave]:
    """Return waveforms spread over the corpora that are not measured, to mix babble from."""
    if len(others) < VOICES:
        raise SettingsError(
            "--corpora",
            found=f"{len(others)} clips of other corpora than the one measured",
            expected=f"at least {VOICES}, whose voices are the babble",
            remedy="Put another corpus beside it.",
        )
    return [
        audio.load(clip.path, start=clip.start, end=clip.end).waveform
        for clip in others[:: len(others) // VOICES][:VOICES]
    ]


def protocols(
    corpus: str, model: Model, clips: Sequence[Utterance], voices: Sequence[Wave], *, seed: int, augmented: bool = False
) -> dict[str, Any]:
    """Return the row of each protocol that the corpus has frozen episodes of; the support is augmented if asked to be.

    Raises:
        EpisodeError: it has none.
    """
    lists = frozen(corpus)
    if not lists:
        raise EpisodeError(
            corpus,
            found="no frozen episodes",
            expected="a list in recipes/episodes",
            remedy="Write them: uv run python recipes/freeze_episodes.py --corpora DIR",
        )
    views = {view_of(spec): with_view(model, view_of(spec)) for _, spec in lists.values()}
    features = features_of(model, clips)
    clean = {view: FeatureSet(features.utterances, tuple(z)) for view, z in embedded(views, features.clips).items()}
    if augmented:
        clean = with_conditions(views, clean)
    ids = {clip for episodes, _ in lists.values() for episode in episodes for part in episode.query for clip in part}
    queries = [clip for clip in features.utterances if clip.id in ids]
    degraded = {}
    for condition in CONDITIONS:
        degraded[condition] = through(condition, views, queries, voices, seed=seed)
        print(f"{corpus}: {len(queries)} clips: {condition}", flush=True)
    results = {}
    for name, (episodes, spec) in lists.items():
        view = view_of(spec)
        by_condition = {condition: found[view] for condition, found in degraded.items()}
        results[name] = row(views[view], clean[view], by_condition, episodes, spec)
    return results


def embedded(views: Mapping[View, Model], clips: Sequence[Tensor]) -> dict[View, Tensor]:
    """Return the embeddings (n_clips, ...) of clips in each view of one model, whose network runs once."""
    encoders = {view: one.learner.get_submodule("encoder") for view, one in views.items()}
    if len(views) == 1:
        return {view: torch.stack(embed_clips(one.learner, clips)) for view, one in views.items()}
    inner = build_learner("nearest", 1, {"encoder": {"name": "mean"}})
    inner.encoder = cast("Discriminant", next(iter(encoders.values()))).inner
    z = torch.stack(embed_clips(inner, clips))
    return {view: cast("Discriminant", encoder).project(z) for view, encoder in encoders.items()}


def with_conditions(views: Mapping[View, Model], clean: Mapping[View, FeatureSet]) -> dict[View, FeatureSet]:
    """Return embedded clips with their deviations, by which a support is augmented as when it is enrolled."""
    model, utterances = next(iter(views.values())), next(iter(clean.values())).utterances
    deviations: dict[View, list[Tensor]] = {view: [] for view in views}
    for condition in CONDITIONS_OF_ENROLMENT:
        for view, z in embedded(views, features_of(model, utterances, condition=condition).clips).items():
            deviations[view].append(z - torch.stack(list(clean[view].clips)))
    return {view: replace(one, deviations=torch.stack(deviations[view], 1).unbind()) for view, one in clean.items()}


def row(
    model: Model, clean: FeatureSet, degraded: Mapping[str, FeatureSet], episodes: Sequence[Episode], spec: EpisodeSpec
) -> dict[str, Any]:
    """Return score and measures by one protocol, with the view of the model."""
    score = evaluate(model.learner, clean, episodes, spec=spec)
    trial = Trial(model.learner, clean, degraded, episodes, spec, score, model.config.calibration)
    return {"view": model.config.view, **measured(trial)}


def view_of(spec: EpisodeSpec) -> View:
    """Return the view of a model for the labels of a protocol."""
    return "speaker" if spec.label == "speaker" else "emotion"


def through(
    condition: str, views: Mapping[View, Model], clips: Sequence[Utterance], voices: Sequence[Wave], *, seed: int
) -> dict[View, FeatureSet]:
    """Return embeddings of clips under a condition, by view of one model; waveforms are processed in portions."""
    model = next(iter(views.values()))
    kept: dict[View, list[torch.Tensor]] = {view: [] for view in views}
    for start in range(0, len(clips), CLIPS_AT_ONCE):
        part = clips[start : start + CLIPS_AT_ONCE]
        waves = (record(clip, condition, voices=voices, seed=seed, trim=model.frontend.trim).waveform for clip in part)
        frames = normalize(
            analyse(model.frontend, [torch.from_numpy(wave) for wave in waves]), model.config.normalization
        )
        for view, z in embedded(views, frames).items():
            kept[view] += list(z)
    return {view: FeatureSet(tuple(clips), tuple(embedded)) for view, embedded in kept.items()}


if __name__ == "__main__":
    main()
