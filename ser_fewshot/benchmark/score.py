"""Score a method on a protocol and corpus, and return the record of the cell."""

from __future__ import annotations

import json
import shlex
import time
from dataclasses import dataclass
from typing import Any

import torch

from ser_fewshot.benchmark import measures
from ser_fewshot.benchmark.build import BuiltMethod
from ser_fewshot.benchmark.methods import Method
from ser_fewshot.benchmark.protocols import Case, LeftOut, key_of, split_of
from ser_fewshot.benchmark.record import Origin, Record, Score
from ser_fewshot.compute.versions import versions
from ser_fewshot.episodes import EpisodeSampler
from ser_fewshot.errors import SerFewshotError
from ser_fewshot.evaluation import Evaluation, compare, interval
from ser_fewshot.evaluation.runner import Predictions, adapted, evaluation_of


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """What all records share: `episodes` of a cell, and the `command` that repeats one, without its key and device."""

    episodes: int = 600
    seed: int = 0
    device: str = "cpu"
    command: tuple[str, ...] = ()


def score_cell(case: Case, method: Method, built: BuiltMethod, *, run: RunSettings) -> Record:
    """Return the record of a cell.

    Raises:
        CheckpointError: the logits are no numbers.
    """
    start = time.monotonic()
    drawn = EpisodeSampler(case.test, case.spec, seed=run.seed).draw_many(run.episodes)
    plain = built.predictor.outcomes(drawn)
    voice = _voice(case, built)
    outcomes = built.predictor.outcomes(drawn, **voice) if voice else plain
    evaluation = evaluation_of(outcomes, drawn, case.spec)
    overlap = built.training_set.overlap(case.test if method.kind == "model" else ())
    notes = [*case.notes, *built.notes]
    notes += [overlap.sentence.removesuffix(".")] if overlap.found else []
    notes += ["has no offsets of speakers"] if case.protocol.voice and not voice else []
    notes += ["sees labels of this corpus that no other method sees"] if method.kind == "ceiling" else []
    train = () if method.kind == "model" else case.train
    return Record(
        **_identity(case, method),
        status="done",
        notes=tuple(notes),
        heard=overlap.found,
        spec=json.loads(json.dumps(case.spec.as_dict())),
        words=f"{case.spec}, {case.spec.n_query} queries" + (", as a session" if case.protocol.session else ""),
        episodes=len(drawn),
        episodes_sha256=evaluation.episodes_sha256,
        split=split_of(case.split, train, case.test),
        settings=built.settings,
        training=built.training,
        chance=evaluation.chance,
        uar=Score.of(interval(evaluation.uar)),
        accuracy=Score.of(interval(evaluation.accuracy)),
        **(_gain(evaluation, evaluation_of(plain, drawn, case.spec)) if voice else {}),
        uar_per_episode=tuple(round(value, 6) for value in evaluation.uar.tolist()),
        labels=evaluation.labels,
        confusion=tuple(map(tuple, evaluation.confusion.tolist())),
        recall=evaluation.recall,
        diverged={str(index): reason for index, reason in evaluation.diverged.items()},
        audit=measures.audit(
            case, drawn, trained=method.kind != "model", independent=not (overlap.found or method.kind == "ceiling")
        ),
        licences=measures.licences({case.corpus, *built.training_set.labelled, *(clip.corpus for clip in train)}),
        **_measures(case, built, adapted(outcomes), drawn),
        origin=_origin(key_of(case, method), run, minutes=(built.minutes, (time.monotonic() - start) / 60)),
    )


def _voice(case: Case, built: BuiltMethod) -> dict[str, Any]:
    """Return by what offsets are estimated, for `Predictor.outcomes`; nothing where none are subtracted."""
    speakers = built.speakers() if case.protocol.voice else None
    return {} if speakers is None else {"speakers": speakers, "session": case.protocol.session}


def _gain(evaluation: Evaluation, plain: Evaluation) -> dict[str, Any]:
    """Return UAR without offsets, and what they add to it, paired over the same episodes."""
    return {"plain": Score.of(interval(plain.uar)), "gain": Score.of(compare(evaluation, plain))}


def _measures(case: Case, built: BuiltMethod, predicted: list[Predictions], drawn: Any) -> dict[str, Any]:
    """Return the measures of predictions, and those with one class of each episode left out of the support."""
    novel = built.predictor.leave_out(drawn[: measures.OPEN_SET_EPISODES]) if case.spec.n_way > 2 else []
    return {
        "tallies": measures.tallies(predicted, {clip.id: clip for clip in case.test}),
        "reliability": measures.reliability(predicted, built.calibration),
        "open_set": measures.open_set(novel, built.calibration),
    }


def failed_cell(case: Case, method: Method, error: Exception, *, run: RunSettings) -> Record:
    """Return the record of a cell that an error stopped."""
    reason = str(error) if isinstance(error, SerFewshotError) else f"{type(error).__name__}: {error}"
    identity = _identity(case, method)
    return Record(**identity, status="failed", reason=reason, origin=_origin(identity["key"], run))


def left_out(case: LeftOut, *, run: RunSettings) -> Record:
    """Return the record that stands for all methods where a corpus cannot serve a protocol."""
    return Record(
        key=key_of(case),
        protocol=case.protocol.name,
        corpus=case.corpus,
        method="",
        kind="learner",
        status="left out",
        reason=case.reason,
        spec=case.protocol.spec.as_dict(),
        words=str(case.protocol.spec),
        origin=_origin(key_of(case), run),
    )


def _identity(case: Case, method: Method) -> dict[str, Any]:
    names = {"protocol": case.protocol.name, "corpus": case.corpus, "method": method.name, "kind": method.kind}
    return {"key": key_of(case, method), **names}


def _origin(key: str, run: RunSettings, *, minutes: tuple[float, float] = (0.0, 0.0)) -> Origin:
    """Return how a record was computed; minutes are those to train and those to score."""
    return Origin(
        command=shlex.join([*run.command, "--device", run.device, "--only", key]),
        seed=run.seed,
        device=run.device,
        threads=torch.get_num_threads(),
        versions=versions(),
        minutes_to_train=round(minutes[0], 3),
        minutes_to_score=round(minutes[1], 3),
        finished=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    )
