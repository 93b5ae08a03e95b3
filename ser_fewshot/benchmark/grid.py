"""The grid: which cells there are, who computes them, and that none of them is computed twice.

Work is shared between processes of one machine by a pool, and between machines by rank. Every process computes whole
cells, with one thread: so a cell has the same bits on two cores and on two hundred.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import zip_longest
from pathlib import Path

import torch

from ser_fewshot import __version__, plugins
from ser_fewshot.benchmark import cell, store
from ser_fewshot.benchmark.build import frontend_of, make
from ser_fewshot.benchmark.cell import Common
from ser_fewshot.benchmark.methods import Method
from ser_fewshot.benchmark.protocols import LeftOut, Protocol, Question, questions
from ser_fewshot.benchmark.records import Record
from ser_fewshot.benchmark.store import Job
from ser_fewshot.compute import distributed
from ser_fewshot.compute.threads import threads
from ser_fewshot.corpora import Utterance
from ser_fewshot.errors import SettingsError
from ser_fewshot.frontends import FeatureCache, FeatureSet, FrontEnd, extract

_TRAINED = "trained"


@dataclass(frozen=True, eq=False, kw_only=True)
class Plan:
    """Everything that a process needs to know.

    Attributes:
        utterances: of all corpora; those without a speaker are left out of it.
        keys: of the sound of each, see `FeatureSet`.
        methods, protocols: rows and tables.
        out: folder of the run.
        cache: where features are kept.
        episodes, seed: of every cell.
        smoke: whether training is cut to two steps.
        device: that learners compute on.
        command: what repeats a cell, without its key and the device.
    """

    utterances: tuple[Utterance, ...]
    methods: tuple[Method, ...]
    protocols: tuple[Protocol, ...]
    out: Path
    cache: Path
    episodes: int = 600
    seed: int = 0
    smoke: bool = False
    device: str = "cpu"
    command: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()

    def asked(self) -> list[Question | LeftOut]:
        """Return every protocol as every corpus can be asked it."""
        return list(questions(self.utterances, self.protocols, seed=self.seed))

    def told(self) -> dict[str, object]:
        """Return what decides the value of every cell."""
        content = hashlib.sha256()
        for clip, key in sorted(zip_longest(self.utterances, self.keys), key=lambda pair: pair[0].id):
            content.update(f"{clip.id} {clip.emotion} {clip.speaker_key} {clip.text_key} {key}\n".encode())
        told = {"episodes": self.episodes, "seed": self.seed, "smoke": self.smoke, "device": self.device}
        return {"version": __version__, **told, "clips": len(self.utterances), "clips_sha256": content.hexdigest()}

    @property
    def common(self) -> Common:
        """What every record says of itself."""
        command = (*self.command, "--device", self.device)  # said always: the default is another one elsewhere
        return Common(episodes=self.episodes, seed=self.seed, device=self.device, command=command)


@dataclass
class Bench:
    """What one process keeps between its jobs: features, by front-end."""

    plan: Plan
    features: dict[str, FeatureSet] = field(default_factory=dict)

    @cached_property
    def clips(self) -> dict[str, list[Utterance]]:
        """The clips of each corpus."""
        found: dict[str, list[Utterance]] = {}
        for clip in self.plan.utterances:
            found.setdefault(clip.corpus, []).append(clip)
        return found

    def run(self, job: Job) -> list[str]:
        """Compute the cells of a job that are not finished, and return their keys.

        An error is written down as the result of the cells that it stops, and nothing else stops.
        """
        plan = self.plan
        pending = [one for one in job.questions if not store.is_finished(plan.out, store.key_of(one, job.method))]
        if not pending:
            return []
        keys = []
        for record in self._records(job.method, pending, plan.out / _TRAINED / job.name):
            store.write_cell(plan.out, record)
            keys.append(record.key)
        return keys

    def _records(self, method: Method, pending: Sequence[Question], folder: Path) -> Iterator[Record]:
        plan, common = self.plan, self.plan.common
        try:
            seen = self.seen_by(method)
            made = make(
                method,
                pending[0],
                seen,
                seed=plan.seed,
                smoke=plan.smoke,
                folder=folder,
                device=plan.device,
            )
        except Exception as error:  # whatever it is, it is the result of these cells
            yield from (cell.failed(one, method, error, common=common) for one in pending)
            return
        for one in pending:
            try:
                yield cell.scored(one, method, made, common=common)
            except Exception as error:
                yield cell.failed(one, method, error, common=common)

    def seen_by(self, method: Method) -> FeatureSet:
        """Return the features of all clips through a method's front-end, from the cache where it knows them."""
        name = method.seen_through
        if name not in self.features:
            frontend = frontend_of(method)
            cache = FeatureCache(self.plan.cache, frontend.identity)
            self.features[name] = extract(frontend, self.plan.utterances, cache=cache)
        return self.features[name]

    def analyse(self, method: Method, corpus: str) -> None:
        """Fill the cache with the features of one corpus."""
        frontend = frontend_of(method)
        extract(frontend, self.clips[corpus], cache=FeatureCache(self.plan.cache, frontend.identity))


def usable(
    utterances: Sequence[Utterance],
    cache: Path,
    *,
    track: Callable[[Sequence[Utterance]], Iterable[Utterance]] = iter,
) -> FeatureSet:
    """Return the clips that can be read, and the others with the reason: episodes must be drawn of the former alone.

    All front-ends read clips through one door, so it does not matter which one looks; the features stay in the cache.

    Raises:
        SettingsError: the cache cannot be written.
    """
    frontend: FrontEnd = plugins.load("frontends", "logmel").FRONTEND()
    return extract(frontend, utterances, cache=FeatureCache(cache, frontend.identity), hold=0, track=track)


def run_grid(
    plan: Plan, *, workers: int, only: str | None = None, track: Callable[[int, str], None] = lambda total, done: None
) -> None:
    """Compute all cells that are not finished.

    Args:
        plan: what to compute.
        workers: processes on this machine; 1 is this one.
        only: the key of a single cell.
        track: called with the number of jobs and the name of each that is finished.

    Raises:
        SettingsError: the folder holds another run, there is no such cell or device, or a process was killed.
    """
    asked = plan.asked()
    jobs = store.jobs_of(plan.methods, [one for one in asked if isinstance(one, Question)])
    jobs = jobs if only is None else [_single(jobs, only)]
    place, of = distributed.rank(), distributed.world_size()
    # Processes that a launcher started share cells and nothing else: trainings must not wait for each other.
    with distributed.alone(), threads(1):
        _run_share(plan, jobs[place::of], first=place == 0, whole=only is None, workers=workers, track=track)


def _run_share(
    plan: Plan, jobs: Sequence[Job], *, first: bool, whole: bool, workers: int, track: Callable[[int, str], None]
) -> None:
    """Compute what falls to one of several processes; the first of them also notes what a whole run was asked for."""
    plan = replace(plan, device=str(distributed.compute(plan.device).device))  # "auto" is another one elsewhere
    store.check_run(plan.out, plan.told())
    if first and whole:
        asked = plan.asked()
        store.write_asked(plan.out, store.keys_of(plan.methods, asked))
        for case in asked:
            if isinstance(case, LeftOut):
                store.write_cell(plan.out, cell.left_out(case, common=plan.common))
    if workers > 1:
        _in_pool(plan, jobs, workers=workers, track=track)
        return
    bench = Bench(plan)
    for job in jobs:
        bench.run(job)
        track(len(jobs), job.name)


def _single(jobs: Sequence[Job], key: str) -> Job:
    """Return the job of one cell alone.

    Raises:
        SettingsError: there is no such cell.
    """
    keys = {store.key_of(one, job.method): (job, one) for job in jobs for one in job.questions}
    if key not in keys:
        raise SettingsError(
            "--only",
            found=repr(key),
            expected="PROTOCOL/CORPUS/METHOD of a cell of this run, such as " + ", ".join(list(keys)[:2]),
            remedy="Name it as the results do, with the same --learners and --baselines.",
        )
    job, question = keys[key]
    return Job(method=job.method, questions=(question,))


def _in_pool(plan: Plan, jobs: Sequence[Job], *, workers: int, track: Callable[[int, str], None]) -> None:
    """Let several processes take the jobs in turn, once the cache holds what they need."""
    context = multiprocessing.get_context("spawn")
    through = {job.method.seen_through: job.method for job in jobs}
    corpora = sorted({clip.corpus for clip in plan.utterances})
    try:
        with ProcessPoolExecutor(workers, mp_context=context, initializer=_begin, initargs=(plan,)) as pool:
            for done in [pool.submit(_analyse, method, corpus) for method in through.values() for corpus in corpora]:
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


_BENCH: list[Bench] = []  # of a process of the pool: one, from its beginning


def _begin(plan: Plan) -> None:
    torch.set_num_threads(1)
    _BENCH[:] = [Bench(plan)]
    threading.Thread(target=_end_with_the_parent, daemon=True).start()


def _end_with_the_parent() -> None:
    """A parent that is killed cannot say so: its processes would go on, beside those of the next start."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _run(job: Job) -> list[str]:
    return _BENCH[0].run(job)


def _analyse(method: Method, corpus: str) -> None:
    _BENCH[0].analyse(method, corpus)
