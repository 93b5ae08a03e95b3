"""One cell of the grid: a method is scored on one protocol and corpus, and its record made."""

from __future__ import annotations

import shlex
import time
from dataclasses import asdict, dataclass

import torch

from ser_fewshot.benchmark import measures
from ser_fewshot.benchmark.build import Made
from ser_fewshot.benchmark.methods import Method
from ser_fewshot.benchmark.protocols import LeftOut, Question, split_of
from ser_fewshot.benchmark.records import Origin, Record, Score
from ser_fewshot.benchmark.store import as_values, key_of, now
from ser_fewshot.compute.versions import versions
from ser_fewshot.episodes import EpisodeSampler
from ser_fewshot.errors import SerFewshotError
from ser_fewshot.evaluation import interval
from ser_fewshot.evaluation.runner import Predictions, evaluation_of


@dataclass(frozen=True, kw_only=True)
class Common:
    """What all cells of a run have in common.

    Attributes:
        episodes: of each cell.
        seed: of episodes, splits and training.
        device: that learners compute on.
        command: what repeats a cell, without its key.
    """

    episodes: int
    seed: int
    device: str
    command: tuple[str, ...]


def scored(question: Question, method: Method, made: Made, *, common: Common) -> Record:
    """Return the record of a cell.

    Args:
        question: what is asked.
        method: who is asked.
        made: the same, ready for the split.
        common: what it shares with all others.

    Raises:
        CheckpointError: the logits are no numbers.
    """
    start = time.monotonic()
    drawn = EpisodeSampler(question.test, question.spec, seed=common.seed).draw_many(common.episodes)
    clips = {clip.id: clip for clip in question.test}
    every = made.predictor.outcomes(drawn)
    predicted = [one for one in every if isinstance(one, Predictions)]
    found = evaluation_of(every, drawn, question.spec)
    learns = method.kind != "model"
    train = question.train if learns else ()
    key, spec = key_of(question, method), question.spec
    overlap = made.training_set.overlap(question.test if method.kind == "model" else ())
    notes = [*question.notes, *made.notes]
    notes += [overlap.sentence.removesuffix(".")] if overlap.found else []
    notes += ["sees labels of this corpus that no other method sees"] if method.kind == "ceiling" else []
    apart = made.predictor.leave_out(drawn[: measures.OPEN_SET_EPISODES]) if spec.n_way > 2 else []
    return Record(
        key=key,
        protocol=question.protocol.name,
        corpus=question.corpus,
        method=method.name,
        kind=method.kind,
        status="done",
        notes=tuple(notes),
        heard=overlap.found,
        spec=as_values(spec),
        words=f"{spec}, {spec.n_query} queries",
        episodes=len(drawn),
        episodes_sha256=found.episodes_sha256,
        split=split_of(question.split, train, question.test),
        settings=made.settings,
        training=made.training,
        chance=found.chance,
        uar=Score.of(interval(found.uar)),
        accuracy=Score.of(interval(found.accuracy)),
        uar_per_episode=tuple(round(value, 6) for value in found.uar.tolist()),
        labels=found.labels,
        confusion=tuple(map(tuple, found.confusion.tolist())),
        recall=found.recall,
        tallies=measures.tallies(predicted, clips),
        diverged={str(index): reason for index, reason in found.diverged.items()},
        reliability=measures.reliability(predicted, made.calibration),
        open_set=measures.open_set(apart, made.calibration),
        audit=measures.audit(
            question, drawn, clips, learns=learns, apart=not (overlap.found or method.kind == "ceiling")
        ),
        licences=measures.licences({question.corpus, *made.training_set.labelled, *(clip.corpus for clip in train)}),
        origin=origin_of(key, common, minutes=(made.minutes, (time.monotonic() - start) / 60)),
    )


def failed(question: Question, method: Method, error: Exception, *, common: Common) -> Record:
    """Return the record of a cell that an error stopped."""
    key = key_of(question, method)
    reason = str(error) if isinstance(error, SerFewshotError) else f"{type(error).__name__}: {error}"
    return Record(
        key=key,
        protocol=question.protocol.name,
        corpus=question.corpus,
        method=method.name,
        kind=method.kind,
        status="failed",
        reason=reason,
        origin=origin_of(key, common),
    )


def left_out(case: LeftOut, *, common: Common) -> Record:
    """Return the record that stands for all methods where a corpus cannot be asked."""
    key = key_of(case)
    return Record(
        key=key,
        protocol=case.protocol.name,
        corpus=case.corpus,
        method="",
        kind="learner",
        status="left out",
        reason=case.reason,
        spec=asdict(case.protocol.spec),
        words=str(case.protocol.spec),
        origin=origin_of(key, common),
    )


def origin_of(key: str, common: Common, *, minutes: tuple[float, float] = (0.0, 0.0)) -> Origin:
    """Return where a record comes from; minutes are those to train and those to score."""
    return Origin(
        command=shlex.join([*common.command, "--only", key]),
        seed=common.seed,
        device=common.device,
        threads=torch.get_num_threads(),
        versions=versions(),
        minutes_to_train=round(minutes[0], 3),
        minutes_to_score=round(minutes[1], 3),
        finished=now(),
    )
