"""One training loop for every learner: episodes in, a checkpoint after each epoch, the best one on meta-validation out.

Everything random is a function of (seed, step), and the end of an epoch is written in one atomic file. So a run that
was killed anywhere and resumed ends with the same weights, bit for bit on CPU, as one that was not.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from ser_fewshot._files import TEMPORARY, write_atomically
from ser_fewshot._run import Progress, fingerprint, load_run, save_run
from ser_fewshot._settings import check_types
from ser_fewshot.augmentation import Augmentation, augment
from ser_fewshot.episodes import Episode, EpisodeSampler, EpisodeSpec, class_numbers
from ser_fewshot.errors import EpisodeError, SettingsError
from ser_fewshot.evaluation import Interval, evaluate, interval
from ser_fewshot.frontends import FeatureSet, stack
from ser_fewshot.learners import Learner, Task

_SCALE_CLIPS = 512  # enough to know a mean and a spread to a few percent
_SCALE_FRAMES = 1_000  # of each of them: one clip of a minute must not pad all the others to a minute
_SEED_STRIDE = 1_000_003  # more steps than any run takes, so that two seeds share none
_VALIDATION_SEED = 2**31  # another stream of episodes than any legal seed

_COUNTS = ("epochs", "steps", "meta_batch", "patience")

DEFAULT_TASKS = (
    EpisodeSpec(n_way=4, k_shot=5, n_query=5),
    # Speakers as classes: what tells voices apart is not lost, and there are far more speakers than emotions.
    EpisodeSpec(n_way=8, k_shot=2, n_query=2, label="speaker", query_speaker="same"),
)


@dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """How a learner is trained.

    Attributes:
        tasks: each step draws `meta_batch` episodes of each of these; the first one is what meta-validation asks.
        epochs, steps: steps are optimiser steps in an epoch.
        learning_rate: of AdamW, after a warm-up of one epoch; falls to zero along a half cosine.
        weight_decay: of AdamW.
        clip_norm: largest norm of the gradient.
        patience: epochs without a better meta-validation score before training stops.
        validation_episodes: frozen ones, scored after every epoch.
        augmentation: how training clips are varied.
        seed: of everything random.
    """

    tasks: tuple[EpisodeSpec, ...] = DEFAULT_TASKS
    epochs: int = 12
    steps: int = 40
    meta_batch: int = 1
    learning_rate: float = 5e-4
    weight_decay: float = 0.01
    clip_norm: float = 1.0
    patience: int = 6
    validation_episodes: int = 200
    augmentation: Augmentation = field(default_factory=Augmentation)
    seed: int = 0

    def __post_init__(self) -> None:
        check_types(self, where="train")
        for name, legal, expected in (
            ("tasks", bool(self.tasks), "at least one task"),
            *((count, getattr(self, count) >= 1, "at least 1") for count in _COUNTS),
            ("validation_episodes", self.validation_episodes >= 2, "at least 2, which an interval needs"),
            ("learning_rate", self.learning_rate > 0, "above 0"),
            ("clip_norm", self.clip_norm > 0, "above 0"),
            ("weight_decay", self.weight_decay >= 0, "at least 0"),
            ("seed", 0 <= self.seed < _VALIDATION_SEED, f"0 to {_VALIDATION_SEED - 1}"),
        ):
            if not legal:
                raise SettingsError(
                    f"train.{name}", found=str(getattr(self, name)), expected=expected, remedy="Correct the value."
                )


def train(
    learner: Learner,
    features: FeatureSet,
    validation: FeatureSet,
    *,
    settings: TrainSettings,
    run: Path,
    resume: bool = False,
    track: Callable[[Iterable[int], str], Iterable[int]] = lambda steps, _: steps,
) -> list[dict[str, float]]:
    """Train a learner in place and leave it with the weights that were best on meta-validation.

    Args:
        learner: new, or of any state; it is scaled to the training clips first.
        features: of the meta-train clips.
        validation: of the meta-validation clips; their speakers or classes are the caller's to keep apart.
        settings: how.
        run: folder of this run: `checkpoint.safetensors`, `log.jsonl`, and TensorBoard's files in `tensorboard`.
        resume: go on from the run's checkpoint; begin if it was stopped before it had one.
        track: wraps the steps of an epoch to show progress.

    Returns:
        One record an epoch: training loss, meta-validation UAR with its 95 % half-width, learning rate.

    Raises:
        EpisodeError: the clips cannot give the episodes that are asked for.
        CheckpointError: the run to resume is damaged, or was of other settings, clips or another learner.
        SettingsError: the run's folder holds a run already and `resume` was not asked for; it cannot be written; the
            learner has nothing to train; or the loss is no longer a number.
    """
    path = run / "checkpoint.safetensors"
    if path.exists() and not resume:
        raise SettingsError(
            str(run),
            found="a run that stands there already",
            expected="a new folder",
            remedy="Resume that run, or choose another folder.",
        )
    _check_trainable(learner)
    _fit_scale(learner, features, seed=settings.seed)
    trainer = _Trainer(learner, features, settings)
    identity = {
        "settings": json.dumps(asdict(settings)),
        "learner": repr(learner),
        "clips": fingerprint(features, validation),
    }
    episodes = _validation_episodes(validation, settings)
    if path.exists():
        trainer.best, trainer.progress = load_run(path, learner, optimizer=trainer.optimizer, identity=identity)
    for leftover in sorted(run.glob(f".*{TEMPORARY}")):
        leftover.unlink(missing_ok=True)  # the run was killed while it wrote this file
    progress = trainer.progress
    _write_log(run / "log.jsonl", progress.history)  # the kill may have come between checkpoint and log
    with SummaryWriter(str(run / "tensorboard"), purge_step=progress.epoch + 1) as board:
        while progress.epoch < settings.epochs and progress.epoch - progress.best_epoch < settings.patience:
            steps = track(range(settings.steps), f"epoch {progress.epoch + 1}")
            loss = sum(trainer.step(progress.epoch * settings.steps + step) for step in steps) / settings.steps
            trainer.finish_epoch(loss, interval(evaluate(learner, validation, episodes, spec=settings.tasks[0]).uar))
            save_run(
                path, learner, optimizer=trainer.optimizer, best=trainer.best, progress=progress, identity=identity
            )
            _write_log(run / "log.jsonl", progress.history)
            for name, value in progress.history[-1].items():
                board.add_scalar(name, value, progress.epoch)
    learner.load_state_dict(trainer.best)
    learner.eval()
    return progress.history


class _Trainer:
    """The learner, its optimiser and how far they have come."""

    def __init__(self, learner: Learner, features: FeatureSet, settings: TrainSettings) -> None:
        self.learner = learner
        self.features = features
        self.settings = settings
        self.samplers = [EpisodeSampler(features.utterances, spec, seed=settings.seed) for spec in settings.tasks]
        self.optimizer = torch.optim.AdamW(
            learner.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
        )
        self.progress = Progress()
        self.best = _copy(learner)
        self._row = {utterance.id: number for number, utterance in enumerate(features.utterances)}

    def step(self, done: int) -> float:
        """Take one optimiser step, after `done` others, over a meta-batch; return its mean loss.

        Raises:
            SettingsError: the loss or its gradient is not finite; the weights are as they were before the step.
        """
        settings = self.settings
        self.learner.train()
        self.optimizer.zero_grad()
        weight = 1 / (settings.meta_batch * len(self.samplers))
        seed = settings.seed * _SEED_STRIDE + done
        loss = 0.0
        # Dropout draws from the global generator: seeded by the step here, and given back as it was.
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            generator = torch.Generator().manual_seed(seed)
            for number in range(settings.meta_batch):
                for sampler in self.samplers:
                    task = self._task(sampler.draw(done * settings.meta_batch + number), generator)
                    loss += weight * self.learner.accumulate(task, weight)
        norm = float(torch.nn.utils.clip_grad_norm_(self.learner.parameters(), settings.clip_norm))
        rate = settings.learning_rate * _schedule(done, settings)
        _check_finite(loss, norm, step=done + 1, rate=rate)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()
        return loss

    def finish_epoch(self, loss: float, score: Interval) -> None:
        """Note what an epoch came to, and keep its weights if they are the best so far."""
        progress = self.progress
        progress.epoch += 1
        if score.mean > progress.best_score:
            progress.best_score, progress.best_epoch = score.mean, progress.epoch
            self.best = _copy(self.learner)
        progress.history.append(
            {
                "epoch": progress.epoch,
                "loss": loss,
                "validation_uar": score.mean,
                "validation_ci95": score.half_width,
                "learning_rate": self.optimizer.param_groups[0]["lr"],
            }
        )

    def _task(self, episode: Episode, generator: torch.Generator) -> Task:
        """Return an episode as augmented tensors."""
        support, query = (
            augment(
                [self.features.clips[self._row[clip]] for members in part for clip in members],
                self.settings.augmentation,
                generator,
            )
            for part in (episode.support, episode.query)
        )
        return Task(support, class_numbers(episode.support), query, class_numbers(episode.query))


def _validation_episodes(validation: FeatureSet, settings: TrainSettings) -> tuple[Episode, ...]:
    """Draw what every epoch is judged on; an error says that it is about meta-validation, not about all the clips."""
    try:
        judge = EpisodeSampler(validation.utterances, settings.tasks[0], seed=_VALIDATION_SEED)
    except EpisodeError as error:
        n_speakers = len({utterance.speaker_key for utterance in validation.utterances})
        raise EpisodeError(
            f"meta-validation, {error.subject}",
            found=f"{n_speakers} speakers held out for it, with {error.found}",
            expected=error.expected,
            remedy="Ask less of the first task, try another seed, which holds out others, or add speakers.",
        ) from error
    return judge.draw_many(settings.validation_episodes)


def _schedule(done: int, settings: TrainSettings) -> float:
    """Share of the learning rate after `done` steps: one epoch of warm-up, then a half cosine down to zero."""
    progress = done / (settings.epochs * settings.steps)
    return min((done + 1) / settings.steps, 0.5 * (1 + float(torch.cos(torch.tensor(torch.pi * progress)))))


def _check_trainable(learner: Learner) -> None:
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


def _fit_scale(learner: Learner, features: FeatureSet, *, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randperm(len(features), generator=generator)[:_SCALE_CLIPS].tolist()
    with torch.no_grad():
        learner.fit_scale(stack([features.clips[row][:_SCALE_FRAMES] for row in rows]))


def _copy(learner: Learner) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in learner.state_dict().items()}


def _write_log(path: Path, history: Sequence[Mapping[str, float]]) -> None:
    write_atomically(path, "".join(json.dumps(line) + "\n" for line in history))
