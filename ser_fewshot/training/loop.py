"""The training loop: a checkpoint after each epoch, and the best weights on meta-validation in the end.

Everything random is a function of (seed, step), and an epoch ends with one atomic write, so a run that was killed and
resumed ends with the same weights, bit for bit on one CPU, as one that was not. Several processes share the tasks of
each step and the episodes of meta-validation; gradients, weights and scores are the same in each.
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
from ser_fewshot.episodes.partition import codes_of
from ser_fewshot.evaluation import evaluate, interval
from ser_fewshot.frontends import FeatureSet, stack
from ser_fewshot.learners import GradientLearner, Learner, Objective
from ser_fewshot.settings import require
from ser_fewshot.training import checkpoint
from ser_fewshot.training.checkpoint import Progress, trainable
from ser_fewshot.training.objectives import Classes, Episodes, TrainingObjective, validation_sampler
from ser_fewshot.training.settings import SEED_STRIDE, TrainSettings

_SCALE_CLIPS = 2_048  # for the covariance of 1,000 functionals
_SCALE_FRAMES = 600  # of each: one long clip must not pad all others
_PROCESS_STRIDE = 2**52  # more than any seed of a step: dropout differs between processes

MakeObjective = Callable[[Learner, FeatureSet, TrainSettings], TrainingObjective]
"""Builds an objective of the caller's own."""

_Scores = tuple[NDArray[np.float64], int]
"""(n_episodes,) UAR, and the number of episodes that diverged."""


def train(
    learner: Learner,
    features: FeatureSet,
    validation: FeatureSet | None,
    *,
    settings: TrainSettings,
    run: Path,
    objective: Objective | MakeObjective = "episodes",
    config: str = "",
    resume: bool = False,
    compute: Compute | None = None,
    track: Callable[[Iterable[int], str], Iterable[int]] = lambda steps, _: steps,
) -> list[dict[str, float]]:
    """Train a learner in place; it ends with the weights of the best epoch on meta-validation.

    Args:
        learner: its normalisation is fitted to the training clips first.
        features: of the meta-train clips.
        validation: of the meta-validation clips, whose speakers or classes the caller keeps disjoint. Without, as for
            clips without labels, the epoch of the lowest training loss is kept.
        settings: of training.
        run: folder of this run, with `checkpoint.safetensors` and `log.jsonl`.
        objective: the name of one, or a function that builds your own.
        config: anything else that learner and features depend on; a run is resumed under the same only.
        resume: continue from the run's checkpoint, if there is one.
        compute: device and precision; by default `ser_fewshot.compute.distributed.compute()`.
        track: wraps the steps of an epoch to show progress.

    Returns:
        One record an epoch: training loss, learning rate and, with meta-validation, its UAR, the half-width of its 95 %
        confidence interval, and the number of episodes that diverged, which count as chance.

    Raises:
        EpisodeError: the clips cannot give such episodes.
        CheckpointError: the run to resume is damaged, or has other settings, clips or another learner.
        SettingsError: the folder holds a run already and `resume` is false; it cannot be written; the learner has
            nothing to train, or cannot be trained in this precision; or the loss is not finite.
        DistributedError: another process is gone, or has other clips or settings.
    """
    compute = compute or distributed.compute()
    path = run_file(run, resume=resume)
    if isinstance(objective, str):
        learner.begin(objective)
    _check_trainable(learner, compute)
    fit_scale(learner, features, settings)
    if isinstance(objective, str):
        make: MakeObjective = {"episodes": Episodes, "classes": Classes}[objective]
        name: str = objective
    else:
        make, name = objective, "own"
    trainer = _Trainer(make(learner, features, settings), compute)
    identity = {
        "settings": json.dumps({"objective": name, **asdict(settings)}),
        "learner": checkpoint.learner_identity(learner),
        "config": config,
        "clips": checkpoint.fingerprint(*(part for part in (features, validation) if part is not None)),
    }
    distributed.check_alike("clips or settings", hashlib.sha256(json.dumps(identity).encode()).digest())
    validate = _validation(learner, validation, settings)
    if path.exists():
        trainer.best, trainer.progress = checkpoint.load_run(
            path, trainer.objective, learner, optimizer=trainer.optimizer, identity=identity
        )
    progress = trainer.progress
    if distributed.is_main():
        checkpoint.tidy_run(run, progress)
    while progress.epoch < settings.epochs and progress.epoch - progress.best_epoch < settings.patience:
        steps = track(range(settings.steps), f"epoch {progress.epoch + 1}")
        loss = sum(trainer.step(progress.epoch * settings.steps + step) for step in steps) / settings.steps
        trainer.finish_epoch(loss, validate())
        if distributed.is_main():
            checkpoint.save_run(
                path,
                trainer.objective,
                optimizer=trainer.optimizer,
                best=trainer.best,
                progress=progress,
                identity=identity,
            )
    learner.load_state_dict(trainer.best)
    learner.cpu().eval()
    return progress.history


def run_file(run: Path, *, resume: bool) -> Path:
    """Return the path of a run's checkpoint.

    Raises:
        SettingsError: there is one and `resume` is false; or `run` is no folder.
    """
    path = run / "checkpoint.safetensors"
    require(
        not run.is_file() and (resume or not path.exists()),
        str(run),
        found="a file" if run.is_file() else "a run that stands there already",
        expected="a new folder",
        remedy="Choose another folder." if run.is_file() else "Resume that run, or choose another folder.",
    )
    return path


class _Trainer:
    """The objective, the optimiser and their progress."""

    def __init__(self, objective: TrainingObjective, compute: Compute) -> None:
        self.objective = objective.to(compute.device)
        self.compute = compute
        self.learner = objective.learner
        self.settings = settings = objective.settings
        self.parameters = trainable(objective)
        self.optimizer = torch.optim.AdamW(
            self.parameters, lr=settings.learning_rate, weight_decay=settings.weight_decay
        )
        self.scaler = compute.scaler or GradScaler("cpu", enabled=False)
        self.progress = Progress()
        self.best = _copy(self.learner)

    def step(self, done: int) -> float:
        """Take optimiser step `done` (0, 1, ...) and return its mean loss.

        Raises:
            SettingsError: the loss or its gradient is not finite; the weights are as before the step.
        """
        settings = self.settings
        self.learner.train()
        self.optimizer.zero_grad()
        seed = settings.seed * SEED_STRIDE + done
        rate = settings.learning_rate * _schedule(done, settings)
        self.objective.scale = self.scaler.scale(torch.ones((), device=self.compute.device)).item()
        with _dropping(seed, self.compute.device), _computing(self.learner, self.compute):
            loss = self.objective.accumulate(done, torch.Generator().manual_seed(seed))
        loss = distributed.total_gradients(self.parameters, loss)
        self.scaler.unscale_(self.optimizer)
        norm = float(torch.nn.utils.clip_grad_norm_(self.parameters, settings.clip_norm))
        if math.isfinite(norm) or self.objective.scale <= 1:  # else the scaler skips the step
            require(
                math.isfinite(loss) and math.isfinite(norm),
                f"training, step {done + 1}",
                found=f"a loss of {loss:g} with a gradient of norm {norm:g}, at a learning rate of {rate:g}",
                expected="finite numbers",
                remedy="Start again in another folder with a lower learning_rate.",
            )
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return loss

    def finish_epoch(self, loss: float, scores: _Scores | None) -> None:
        """Record an epoch, and keep its weights if they are the best so far."""
        progress = self.progress
        progress.epoch += 1
        record = {"epoch": progress.epoch, "loss": loss, "learning_rate": self.optimizer.param_groups[0]["lr"]}
        score = -loss
        if scores is not None:
            uar = interval(scores[0])
            score = uar.mean
            record |= {"validation_uar": uar.mean, "validation_ci95": uar.half_width}
            record |= {"validation_diverged": scores[1]}
        if score > progress.best_score:
            progress.best_score, progress.best_epoch = score, progress.epoch
            self.best = _copy(self.learner)
        progress.history.append(record)


@contextmanager
def _dropping(seed: int, device: torch.device) -> Iterator[None]:
    """Seed the global generators, which dropout draws from, by step and process; restore them afterwards."""
    gpus = [] if device.type == "cpu" else [device]
    with torch.random.fork_rng(devices=gpus):
        for generator in (torch.default_generator, *(torch.cuda.default_generators[gpu.index or 0] for gpu in gpus)):
            generator.manual_seed(seed + _PROCESS_STRIDE * distributed.rank())
        yield


@contextmanager
def _computing(learner: Learner, compute: Compute) -> Iterator[None]:
    """Run a learner's encoders in the chosen precision."""
    encoders = [module for module in learner.modules() if isinstance(module, Encoder)]
    for encoder in encoders:
        encoder.autocast = compute.autocast
    try:
        yield
    finally:
        for encoder in encoders:
            del encoder.autocast


def _validation(
    learner: Learner, validation: FeatureSet | None, settings: TrainSettings
) -> Callable[[], _Scores | None]:
    """Return a function that scores the learner on the same episodes every time; processes share them."""
    if validation is None:
        return lambda: None
    episodes = validation_sampler(validation.utterances, settings).draw_many(settings.validation_episodes)
    share = distributed.share(range(len(episodes)))
    mine = [episodes[number] for number in share]

    def validate() -> _Scores:
        scores = np.zeros((2, len(episodes)))  # UAR, and whether adapting diverged
        if mine:
            found = evaluate(learner, validation, mine, spec=settings.tasks[0])
            scores[:, share] = found.uar, [episode.index in found.diverged for episode in mine]
        uar, diverged = distributed.total(torch.from_numpy(scores))
        return uar.numpy(), int(diverged.sum())

    return validate


def _schedule(done: int, settings: TrainSettings) -> float:
    """Factor of the learning rate after `done` steps: one epoch of warm-up, then a half cosine down to zero."""
    progress = done / (settings.epochs * settings.steps)
    return min((done + 1) / settings.steps, 0.5 * (1 + float(torch.cos(torch.tensor(torch.pi * progress)))))


def _check_trainable(learner: Learner, compute: Compute) -> None:
    require(
        compute.scaler is None or not isinstance(learner, GradientLearner),
        "precision",
        found=f"{compute.precision!r} for {type(learner).__name__}, whose inner steps it would make zero",
        expected="fp32 | bf16",
        remedy="Choose one of these.",
    )
    require(
        any(parameter.requires_grad for parameter in learner.parameters()),
        type(learner).__name__,
        found="nothing to train",
        expected="a learner or an encoder that learns",
        remedy="Set encoder.name to 'conv', or use it without training.",
    )


def fit_scale(learner: Learner, features: FeatureSet, settings: TrainSettings) -> None:
    """Fit a learner's normalisation, in place, to some of the clips.

    Their classes are those of the first task; a clip without one is a class by itself.
    """
    generator = torch.Generator().manual_seed(settings.seed)
    rows = torch.randperm(len(features), generator=generator)[:_SCALE_CLIPS].tolist()
    kind = settings.tasks[0].label
    labels = [f"{features.utterances[row].corpus}/{features.utterances[row].label(kind) or row}" for row in rows]
    with torch.no_grad():
        clips = stack([features.clips[row][:_SCALE_FRAMES] for row in rows])
        learner.fit_scale(clips, torch.from_numpy(codes_of(labels)))


def _copy(learner: Learner) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in learner.state_dict().items()}
