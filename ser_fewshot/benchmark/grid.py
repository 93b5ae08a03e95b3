"""Compute all cells of a run: methods by protocols by corpora, each once.

Work is shared between processes of one machine by a pool, and between machines by rank. Every process computes whole
cells, with one thread, so a cell has the same bits on two cores and on two hundred.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field, replace
from itertools import zip_longest
from pathlib import Path
from typing import Any

import torch

from ser_fewshot import __version__, plugins
from ser_fewshot.benchmark import score, store
from ser_fewshot.benchmark.build import build_method, frontend_of
from ser_fewshot.benchmark.methods import Method
from ser_fewshot.benchmark.protocols import Case, LeftOut, Protocol, cases, key_of, keys_of
from ser_fewshot.benchmark.record import Record
from ser_fewshot.benchmark.score import RunSettings
from ser_fewshot.compute import distributed
from ser_fewshot.compute.threads import threads
from ser_fewshot.corpora import Utterance
from ser_fewshot.errors import SettingsError
from ser_fewshot.frontends import FeatureCache, FeatureSet, FrontEnd, Track, extract
from ser_fewshot.models.training_set import by_corpus

_TRAINED = "trained"


@dataclass(frozen=True, eq=False, kw_only=True)
class Plan(RunSettings):
    """Everything that a process needs to know.

    Attributes:
        utterances: of all corpora, each with a speaker; `keys` of the audio of each, see `FeatureSet`.
        cache: folder of features.
        smoke: whether training is cut to two steps.
    """

    utterances: tuple[Utterance, ...]
    methods: tuple[Method, ...]
    protocols: tuple[Protocol, ...]
    out: Path
    cache: Path
    smoke: bool = False
    keys: tuple[str, ...] = ()

    def cases(self) -> list[Case | LeftOut]:
        """Return every protocol on every corpus."""
        return list(cases(self.utterances, self.protocols, seed=self.seed))

    def identity(self) -> dict[str, object]:
        """Return what decides the value of every cell."""
        content = hashlib.sha256()
        for clip, key in sorted(zip_longest(self.utterances, self.keys), key=lambda pair: pair[0].id):
            content.update(f"{clip.id} {clip.emotion} {clip.speaker_key} {clip.text_key} {key}\n".encode())
        options = {"episodes": self.episodes, "seed": self.seed, "smoke": self.smoke, "device": self.device}
        return {"version": __version__, **options, "clips": len(self.utterances), "clips_sha256": content.hexdigest()}


@dataclass(frozen=True, eq=False, kw_only=True)
class Job:
    """Work of one process: a method, which is built once, and all cases on one split with one kind of label."""

    method: Method
    cases: tuple[Case, ...]

    @property
    def name(self) -> str:
        """Unique in a run, and part of a path."""
        first = self.cases[0]
        return f"{store.short(first.split)}/{first.spec.label}/{store.slug(self.method.name)}"


def jobs_of(methods: Sequence[Method], cases: Sequence[Case]) -> list[Job]:
    """Return the jobs of a run, methods in turn, so that every n-th takes about as long as any other n-th."""
    groups: dict[tuple[str, str, str], list[Case]] = defaultdict(list)
    for method in methods:
        for case in cases:
            groups[method.name, case.split, case.spec.label].append(case)
    named = {method.name: method for method in methods}
    return [Job(method=named[name], cases=tuple(of)) for (name, _, _), of in groups.items()]


@dataclass
class Worker:
    """One process, which keeps features by front-end between its jobs."""

    plan: Plan
    features: dict[str, FeatureSet] = field(default_factory=dict)

    def run(self, job: Job) -> None:
        """Compute the cells of a job that are not finished.

        An error becomes the record of the cells that it stops, and stops nothing else.
        """
        out = self.plan.out
        pending = [case for case in job.cases if not store.is_finished(out, key_of(case, job.method))]
        for record in self._records(job.method, pending, out / _TRAINED / job.name) if pending else ():
            store.write_cell(out, record)

    def _records(self, method: Method, pending: Sequence[Case], folder: Path) -> Iterator[Record]:
        plan = self.plan
        options: dict[str, Any] = {"seed": plan.seed, "smoke": plan.smoke, "folder": folder, "device": plan.device}
        try:
            built = build_method(method, pending[0], self.features_of(method), **options)
        except Exception as error:  # whatever it is, it is the result of these cells
            yield from (score.failed_cell(case, method, error, run=plan) for case in pending)
            return
        for case in pending:
            try:
                yield score.score_cell(case, method, built, run=plan)
            except Exception as error:
                yield score.failed_cell(case, method, error, run=plan)

    def features_of(self, method: Method) -> FeatureSet:
        """Return the features of all clips by a method's front-end, from the cache where it has them."""
        name = method.frontend_key
        if name not in self.features:
            self.features[name] = self.extract(method, self.plan.utterances)
        return self.features[name]

    def extract(self, method: Method, clips: Sequence[Utterance]) -> FeatureSet:
        """Return the features of some clips, and store them in the cache."""
        frontend = frontend_of(method)
        return extract(frontend, clips, cache=FeatureCache(self.plan.cache, frontend.identity))


def readable(utterances: Sequence[Utterance], cache: Path, *, track: Track = iter) -> FeatureSet:
    """Return the clips that can be read, and the others with the reason: episodes must be drawn of the former alone.

    All front-ends decode clips the same way, so any of them will do; the features stay in the cache.

    Raises:
        SettingsError: the cache cannot be written.
    """
    frontend: FrontEnd = plugins.load("frontends", "logmel").FRONTEND()
    return extract(frontend, utterances, cache=FeatureCache(cache, frontend.identity), hold=0, track=track)


def run_grid(
    plan: Plan, *, workers: int, only: str | None = None, track: Callable[[int, str], None] = lambda total, done: None
) -> None:
    """Compute all cells that are not finished, or the one whose key is `only`.

    `track` is called with the number of jobs and the name of each that is finished.

    Raises:
        SettingsError: the folder holds another run, there is no such cell or device, or a process was killed.
    """
    every = plan.cases()
    jobs = jobs_of(plan.methods, [case for case in every if isinstance(case, Case)])
    jobs = jobs if only is None else [_single(jobs, only)]
    place, of = distributed.rank(), distributed.world_size()
    # Processes that a launcher started share cells and nothing else: trainings must not wait for each other.
    with distributed.alone(), threads(1):
        plan = replace(plan, device=str(distributed.compute(plan.device).device))  # "auto" depends on the machine
        store.check_run(plan.out, plan.identity())
        if place == 0 and only is None:
            _write_expected(plan, every)
        share = jobs[place::of]
        if workers > 1:
            _in_pool(plan, share, workers=workers, track=track)
            return
        worker = Worker(plan)
        for job in share:
            worker.run(job)
            track(len(share), job.name)


def _write_expected(plan: Plan, every: Sequence[Case | LeftOut]) -> None:
    """Store the keys of all cells of a whole run, and the records of the cases that are left out of it."""
    store.write_expected(plan.out, keys_of(plan.methods, every))
    for case in every:
        if isinstance(case, LeftOut):
            store.write_cell(plan.out, score.left_out(case, run=plan))


def _single(jobs: Sequence[Job], key: str) -> Job:
    """Return the job of one cell alone."""
    keys = {key_of(case, job.method): (job, case) for job in jobs for case in job.cases}
    if key not in keys:
        raise SettingsError(
            "--only",
            found=repr(key),
            expected="PROTOCOL/CORPUS/METHOD of a cell of this run, such as " + ", ".join(list(keys)[:2]),
            remedy="Name it as the results do, with the same --learners and --baselines.",
        )
    job, case = keys[key]
    return Job(method=job.method, cases=(case,))


def _in_pool(plan: Plan, jobs: Sequence[Job], *, workers: int, track: Callable[[int, str], None]) -> None:
    """Fill the cache, then run the jobs, in several processes."""
    context = multiprocessing.get_context("spawn")
    frontends = {job.method.frontend_key: job.method for job in jobs}
    corpora = by_corpus(plan.utterances)
    try:
        with ProcessPoolExecutor(workers, mp_context=context, initializer=_begin, initargs=(plan,)) as pool:
            for done in [pool.submit(_extract, one, corpora[name]) for one in frontends.values() for name in corpora]:
                done.result()
            waiting = {pool.submit(_run, job): job for job in jobs}
            for finished in as_completed(waiting):
                finished.result()
                track(len(jobs), waiting[finished].name)
    except BrokenProcessPool as error:
        raise SettingsError(
            "benchmark",
            found="a process that was killed",
            expected="every process to its end",
            remedy="Start it again: finished cells are kept. Ask for fewer --workers if memory was short.",
        ) from error


_WORKER: list[Worker] = []  # the one of this process of the pool


def _begin(plan: Plan) -> None:
    torch.set_num_threads(1)
    _WORKER[:] = [Worker(plan)]
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End this process when its parent is killed; it would otherwise go on, beside those of the next start."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _run(job: Job) -> None:
    _WORKER[0].run(job)


def _extract(method: Method, clips: Sequence[Utterance]) -> None:
    _WORKER[0].extract(method, clips)
