"""One training loop for every learner: clips in, a checkpoint after each epoch, the best one on meta-validation out.

Everything random is a function of (seed, step), and the end of an epoch is written in one atomic file. So a run that
was killed anywhere and resumed ends with the same weights, bit for bit on one CPU, as one that was not.

Several processes share the tasks of each step and the episodes of meta-validation; sums over all processes leave
the same gradients, weights and scores in each of them, and the first one writes.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.amp.grad_scaler import GradScaler

from ser_fewshot.compute import distributed
from ser_fewshot.compute.distributed import Compute
from ser_fewshot.encoders import Encoder
from ser_fewshot.errors import SettingsError
from ser_fewshot.evaluation import evaluate, interval
from ser_fewshot.frontends import FeatureSet, stack
from ser_fewshot.learners import GradientLearner, Learner, Objective
from ser_fewshot.training.checkpoint import Progress, described, fingerprint, load_run, trained
from ser_fewshot.training.journal import Journal
from ser_fewshot.training.objectives import Classes, Episodes, Goal, validation_sampler
from ser_fewshot.training.settings import SEED_STRIDE, TrainSettings

_SCALE_CLIPS = 2_048  # for a spread 500 would do; a covariance of 1,000 functionals needs more
_SCALE_FRAMES = 600  # of each of them: one clip of a minute must not pad all the others to a minute
_PROCESS_STRIDE = 2**52  # more than any seed of a step, so that no two processes drop the same

GoalMaker = Callable[[Learner, FeatureSet, TrainSettings], Goal]
"""Builds an objective that the library does not have, from what every objective is built of."""

_Judged = tuple[NDArray[np.float64], int]
"""(n_episodes,) UAR, and how many episodes diverged."""


def train(
    learner: Learner,
    features: FeatureSet,
    validation: FeatureSet | None,
    *,
    settings: TrainSettings,
    run: Path,
    objective: Objective | GoalMaker = "episodes",
    config: str = "",
    resume: bool = False,
    compute: Compute | None = None,
    track: Callable[[Iterable[int], str], Iterable[int]] = lambda steps, _: steps,
) -> list[dict[str, float]]:
    """Train a learner in place and leave it with the weights that were best on meta-validation.

    Args:
        learner: new, or of any state; it is scaled to the training clips first.
        features: of the meta-train clips.
        validation: of the meta-validation clips; their speakers or classes are the caller's to keep apart. Without, as
            where clips have no labels, the epoch of the lowest training loss is kept.
        settings: how.
        run: folder of this run: `checkpoint.safetensors`, `log.jsonl`, and TensorBoard's files in `tensorboard`.
        objective: what to lower: one of the library's by its name, or what builds a goal of your own.
        config: what else made learner and features; a run goes on under the same only.
        resume: go on from the run's checkpoint; begin if it was stopped before it had one.
        compute: where, and how exactly; by default `ser_fewshot.compute.distributed.compute()`.
        track: wraps the steps of an epoch to show progress.

    Returns:
        One record an epoch: training loss, learning rate and, with meta-validation, its UAR, the 95 % half-width of it,
        and how many of its episodes diverged and so count as chance.

    Raises:
        EpisodeError: the clips cannot give the episodes that are asked for.
        CheckpointError: the run to resume is damaged, or was of other settings, clips or another learner.
        SettingsError: the run's folder holds a run already and `resume` was not asked for; it cannot be written; the
            learner has nothing to train, or cannot be trained in this precision; or the loss is no longer a number.
        DistributedError: another process is gone, or sees other clips or settings.
    """
    compute = compute or distributed.compute()
    path = run_file(run, resume=resume)
    if isinstance(objective, str):
        learner.begin(objective)
    _check_trainable(learner, compute)
    fit_scale(learner, features, settings)
    trainer = _Trainer(_goal(objective, learner, features, settings), compute)
    identity = {
        "settings": json.dumps({"objective": objective if isinstance(objective, str) else "own", **asdict(settings)}),
        "learner": described(learner),
        "config": config,
        "clips": fingerprint(*(part for part in (features, validation) if part is not None)),
    }
    distributed.check_alike("clips or settings", hashlib.sha256(json.dumps(identity).encode()).digest())
    judge = _judge(learner, validation, settings)
    if path.exists():
        trainer.best, trainer.progress = load_run(
            path, trainer.goal, learner, optimizer=trainer.optimizer, identity=identity
        )
    progress = trainer.progress
    with Journal(run, progress) as journal:
        while progress.epoch < settings.epochs and progress.epoch - progress.best_epoch < settings.patience:
            steps = track(range(settings.steps), f"epoch {progress.epoch + 1}")
            loss = sum(trainer.step(progress.epoch * settings.steps + step) for step in steps) / settings.steps
            trainer.finish_epoch(loss, judge())
            journal.note(trainer.goal, optimizer=trainer.optimizer, best=trainer.best, identity=identity)
    learner.load_state_dict(trainer.best)
    learner.cpu().eval()
    return progress.history


def run_file(run: Path, *, resume: bool) -> Path:
    """Return the checkpoint of a run.

    Raises:
        SettingsError: the run has one already, which is not to be resumed; or its place is no folder.
    """
    path = run / "checkpoint.safetensors"
    if run.is_file() or (path.exists() and not resume):
        raise SettingsError(
            str(run),
            found="a file" if run.is_file() else "a run that stands there already",
            expected="a new folder",
            remedy="Choose another folder." if run.is_file() else "Resume that run, or choose another folder.",
        )
    return path


def _goal(objective: Objective | GoalMaker, learner: Learner, features: FeatureSet, settings: TrainSettings) -> Goal:
    if not isinstance(objective, str):
        return objective(learner, features, settings)
    return {"episodes": Episodes, "classes": Classes}[objective](learner, features, settings)


class _Trainer:
    """What is lowered, the optimiser, and how far they have come."""

    def __init__(self, goal: Goal, compute: Compute) -> None:
        self.goal = goal.to(compute.device)
        self.compute = compute
        self.learner = goal.learner
        self.settings = settings = goal.settings
        self.parameters = trained(goal)
        self.optimizer = torch.optim.AdamW(
            self.parameters, lr=settings.learning_rate, weight_decay=settings.weight_decay
        )
        self.scaler = compute.scaler or GradScaler("cpu", enabled=False)  # of which every method then does nothing
        self.progress = Progress()
        self.best = _copy(self.learner)

    def step(self, done: int) -> float:
        """Take one optimiser step, after `done` others; return its mean loss.

        Raises:
            SettingsError: the loss or its gradient is not finite; the weights are as they were before the step.
        """
        settings = self.settings
        self.learner.train()
        self.optimizer.zero_grad()
        seed = settings.seed * SEED_STRIDE + done
        rate = settings.learning_rate * _schedule(done, settings)
        self.goal.scale = self.scaler.scale(torch.ones((), device=self.compute.device)).item()
        with _dropping(seed, self.compute.device), _computing(self.learner, self.compute):
            loss = self.goal.accumulate(done, torch.Generator().manual_seed(seed))
        loss = distributed.total_gradients(self.parameters, loss)
        self.scaler.unscale_(self.optimizer)
        norm = float(torch.nn.utils.clip_grad_norm_(self.parameters, settings.clip_norm))
        if math.isfinite(norm) or self.goal.scale <= 1:  # else the scale is too large: the scaler skips the step
            _check_finite(loss, norm, step=done + 1, rate=rate)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return loss

    def finish_epoch(self, loss: float, judged: _Judged | None) -> None:
        """Note what an epoch came to, and keep its weights if they are the best so far."""
        progress = self.progress
        progress.epoch += 1
        record = {"epoch": progress.epoch, "loss": loss, "learning_rate": self.optimizer.param_groups[0]["lr"]}
        score = -loss
        if judged is not None:
            scores, n_diverged = judged
            uar = interval(scores)
            score = uar.mean
            record |= {"validation_uar": uar.mean, "validation_ci95": uar.half_width}
            record |= {"validation_diverged": n_diverged}
        if score > progress.best_score:
            progress.best_score, progress.best_epoch = score, progress.epoch
            self.best = _copy(self.learner)
        progress.history.append(record)


@contextmanager
def _dropping(seed: int, device: torch.device) -> Iterator[None]:
    """Seed, by the step and the process, the global generators that dropout draws from; they come back as they were."""
    gpus = [] if device.type == "cpu" else [device]
    with torch.random.fork_rng(devices=gpus):
        for generator in (torch.default_generator, *(torch.cuda.default_generators[gpu.index or 0] for gpu in gpus)):
            generator.manual_seed(seed + _PROCESS_STRIDE * distributed.rank())
        yield


@contextmanager
def _computing(learner: Learner, compute: Compute) -> Iterator[None]:
    """Let a learner's encoders compute in the chosen precision, for a training step."""
    encoders = [module for module in learner.modules() if isinstance(module, Encoder)]
    for encoder in encoders:
        encoder.autocast = compute.autocast
    try:
        yield
    finally:
        for encoder in encoders:
            del encoder.autocast


def _judge(learner: Learner, validation: FeatureSet | None, settings: TrainSettings) -> Callable[[], _Judged | None]:
    """Return what scores an epoch, on the same episodes every time; processes share them."""
    if validation is None:
        return lambda: None
    episodes = validation_sampler(validation.utterances, settings).draw_many(settings.validation_episodes)
    share = distributed.share(range(len(episodes)))
    mine = [episodes[number] for number in share]

    def judge() -> _Judged:
        scores = np.zeros((2, len(episodes)))  # UAR, and whether adapting diverged
        if mine:
            found = evaluate(learner, validation, mine, spec=settings.tasks[0])
            scores[:, share] = found.uar, [episode.index in found.diverged for episode in mine]
        uar, diverged = distributed.total(torch.from_numpy(scores))
        return uar.numpy(), int(diverged.sum())

    return judge


def _schedule(done: int, settings: TrainSettings) -> float:
    """Share of the learning rate after `done` steps: one epoch of warm-up, then a half cosine down to zero."""
    progress = done / (settings.epochs * settings.steps)
    return min((done + 1) / settings.steps, 0.5 * (1 + float(torch.cos(torch.tensor(torch.pi * progress)))))


def _check_trainable(learner: Learner, compute: Compute) -> None:
    if compute.scaler is not None and isinstance(learner, GradientLearner):
        raise SettingsError(
            "precision",
            found=f"{compute.precision!r} for {type(learner).__name__}, whose inner steps it would make zero",
            expected="fp32 | bf16",
            remedy="Choose one of these.",
        )
    if not any(parameter.requires_grad for parameter in learner.parameters()):
        raise SettingsError(
            type(learner).__name__,
            found="nothing to train",
            expected="a learner or an encoder that learns",
            remedy="Set encoder.name to 'conv', or use it without training.",
        )


def _check_finite(loss: float, norm: float, *, step: int, rate: float) -> None:
    if not (math.isfinite(loss) and math.isfinite(norm)):
        raise SettingsError(
            f"training, step {step}",
            found=f"a loss of {loss:g} with a gradient of norm {norm:g}, at a learning rate of {rate:g}",
            expected="finite numbers",
            remedy="Start again in another folder with a lower learning_rate.",
        )


def fit_scale(learner: Learner, features: FeatureSet, settings: TrainSettings) -> None:
    """Scale a learner, in place, to some of the clips, as training begins with.

    Their classes are those of the first task; a clip without such a class is one by itself.
    """
    generator = torch.Generator().manual_seed(settings.seed)
    rows = torch.randperm(len(features), generator=generator)[:_SCALE_CLIPS].tolist()
    kind = settings.tasks[0].label
    labels = [f"{features.utterances[row].corpus}/{features.utterances[row].label(kind) or row}" for row in rows]
    number = {label: place for place, label in enumerate(sorted(set(labels)))}
    with torch.no_grad():
        clips = stack([features.clips[row][:_SCALE_FRAMES] for row in rows])
        learner.fit_scale(clips, torch.tensor([number[label] for label in labels]))


def _copy(learner: Learner) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in learner.state_dict().items()}
