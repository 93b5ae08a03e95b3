"""Training objectives: the loss of episodes, or of classifying all meta-train classes.

Either draws its clips from (seed, step) alone; its state is part of a checkpoint. With several processes, each draws
all of a step, and augments and computes its share: their gradients add up to those of one process.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from ser_fewshot.compute import distributed
from ser_fewshot.corpora import LabelKind, Utterance
from ser_fewshot.encoders import Encoder
from ser_fewshot.episodes import Episode, EpisodeSampler, class_numbers
from ser_fewshot.episodes.feasible import feasible_sampler
from ser_fewshot.episodes.partition import codes_of
from ser_fewshot.errors import EpisodeError
from ser_fewshot.frontends import FeatureSet
from ser_fewshot.learners import Learner, Task, device_of, evaluating
from ser_fewshot.training.augmentation import augment, skip
from ser_fewshot.training.settings import SEED_STRIDE, VALIDATION_SEED, TrainSettings

_NO_CLASS = -1  # of `codes_of`; ignored by the cross-entropy


class TrainingObjective(nn.Module):
    """A learner, the parameters that only training needs, and the clips.

    Attributes:
        scale: of the gradients, above 1 in half precision.
    """

    scale: float = 1.0

    def __init__(self, learner: Learner, features: FeatureSet, settings: TrainSettings) -> None:
        super().__init__()
        self.learner = learner
        self.features = features
        self.settings = settings

    @property
    def device(self) -> torch.device:
        """The learner's device; clips stay on the CPU."""
        return device_of(self.learner)

    def accumulate(self, done: int, generator: torch.Generator) -> float:
        """Add this process's share of the gradient of step `done` (0, 1, ...); return its share of the mean loss."""
        raise NotImplementedError


class Episodes(TrainingObjective):
    """The mean query loss of episodes; some may be redrawn from the classes that failed.

    Hard tasks: Sun et al., "Meta-transfer learning for few-shot learning", 2019, https://arxiv.org/abs/1812.02403.
    """

    def __init__(self, learner: Learner, features: FeatureSet, settings: TrainSettings) -> None:
        super().__init__(learner, features, settings)
        self.samplers = training_samplers(features.utterances, settings)
        self._row = {utterance.id: number for number, utterance in enumerate(features.utterances)}

    def accumulate(self, done: int, generator: torch.Generator) -> float:
        """Add the gradient of a meta-batch, then that of harder episodes of the classes that failed."""
        n_tasks = (self.settings.meta_batch + self.learner.hard_tasks) * len(self.samplers)
        weight = self.scale / n_tasks
        losses: list[float] = []
        for number, sampler in enumerate(self.samplers):
            first = done * self.settings.meta_batch
            episodes = [sampler.draw(first + n) for n in range(self.settings.meta_batch)]
            tasks = self._tasks(episodes, generator, before=number * self.settings.meta_batch)
            losses += self.learner.accumulate_many(list(tasks.values()), weight)
            if self.learner.hard_tasks:
                failed = self.failures(sampler, episodes, tasks)
                first = done * self.learner.hard_tasks
                harder = [sampler.draw_harder(first + n, failed) for n in range(self.learner.hard_tasks)]
                tasks = self._tasks(harder, generator, before=number * self.learner.hard_tasks)
                losses += self.learner.accumulate_many(list(tasks.values()), weight)
        return sum(losses) / n_tasks

    def failures(
        self, sampler: EpisodeSampler, episodes: Sequence[Episode], tasks: Mapping[int, Task]
    ) -> dict[str, set[str]]:
        """Return the worst class of each episode, of all processes, by its corpus ("" where they mix).

        `tasks` are this process's share, by number of the episode.
        """
        worst = torch.zeros(len(episodes), dtype=torch.int64)
        with evaluating(self.learner):
            for place, task in tasks.items():
                logits = self.learner.adapt(task.support, task.support_y)(task.query)
                loss = nn.functional.cross_entropy(logits, task.query_y, reduction="none")
                per_class = loss.new_zeros(len(episodes[place].classes)).index_add_(0, task.query_y, loss)
                worst[place] = per_class.argmax()
        failed: dict[str, set[str]] = {}
        for episode, number in zip(episodes, distributed.total(worst).tolist(), strict=True):
            mixed = sampler.spec.mix_corpora
            corpus = "" if mixed else self.features.utterances[self._row[episode.query[0][0]]].corpus
            failed.setdefault(corpus, set()).add(episode.classes[number])
        return failed

    def _tasks(self, episodes: Sequence[Episode], generator: torch.Generator, *, before: int) -> dict[int, Task]:
        """Return this process's share of some episodes, by number; `before` others of the step precede them.

        The rest is skipped, so that the generator advances as in a single process.
        """
        size, rank = distributed.world_size(), distributed.rank()
        tasks: dict[int, Task] = {}
        for place, episode in enumerate(episodes):
            if (before + place) % size == rank:
                tasks[place] = self._task(episode, generator).to(self.device)
            else:
                for part in (episode.support, episode.query):
                    skip(self._clips(part), self.settings.augmentation, generator)
        return tasks

    def _task(self, episode: Episode, generator: torch.Generator) -> Task:
        """Return an episode as augmented tensors."""
        support, query = (
            augment(self._clips(part), self.settings.augmentation, generator)
            for part in (episode.support, episode.query)
        )
        return Task(support, class_numbers(episode.support), query, class_numbers(episode.query))

    def _clips(self, part: Sequence[Sequence[str]]) -> list[Tensor]:
        return [self.features.clips[self._row[clip]] for members in part for clip in members]


class Classes(TrainingObjective):
    """Cross-entropy of one linear head a task over all its meta-train classes: conventional training.

    Several heads on one encoder are multi-task learning: Caruana, "Multitask learning", 1997,
    https://doi.org/10.1023/A:1007379606734.
    """

    def __init__(self, learner: Learner, features: FeatureSet, settings: TrainSettings) -> None:
        super().__init__(learner, features, settings)
        self.labels = class_heads(learner, features.utterances, settings)
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(settings.seed)
            self.heads = nn.ModuleDict(
                {
                    str(number): nn.Linear(self._encoder().width, n)
                    for number, (_, _, n) in enumerate(self.labels.values())
                }
            )

    def accumulate(self, done: int, generator: torch.Generator) -> float:
        """Add the gradient of one batch of clips; every pass over them is in a new random order."""
        rows = self._rows(done)
        clips, own = [self.features.clips[row] for row in rows], distributed.share(range(len(rows)))
        if not own:
            return 0.0  # the next step has a generator of its own
        batch = augment(clips, self.settings.augmentation, generator, own=own)
        z = self._encoder()(batch.to(self.device))  # (own, width)
        total = z.new_zeros(())
        for head, (weight, y, _) in zip(self.heads.values(), self.labels.values(), strict=True):
            wanted = y[rows]
            n_wanted, mine = int((wanted != _NO_CLASS).sum()), wanted[own].to(self.device)
            if part := int((mine != _NO_CLASS).sum()):
                loss = nn.functional.cross_entropy(head(z), mine, ignore_index=_NO_CLASS)
                total = total + weight * (part / n_wanted) * loss
        if total.requires_grad:
            (self.scale * total).backward()  # type: ignore[no-untyped-call]
        return total.item()

    def _encoder(self) -> Encoder:
        """Return the learner's encoder; no attribute, so that a checkpoint stores it once."""
        encoder = getattr(self.learner, "encoder", None)
        if not isinstance(encoder, Encoder):
            raise TypeError(f"{type(self.learner).__name__} learns classes and has no encoder")
        return encoder

    def _rows(self, done: int) -> list[int]:
        """Return the clips of batch `done`."""
        n, size = len(self.features), self.settings.batch_clips
        rows: list[int] = []
        for place in range(done * size, (done + 1) * size):
            passed, position = divmod(place, n)
            if not rows or position == 0:
                generator = torch.Generator().manual_seed(self.settings.seed * SEED_STRIDE + passed)
                order = torch.randperm(n, generator=generator).tolist()
            rows.append(order[position])
        return rows


def check_parts(
    learner: Learner, train: Sequence[Utterance], validation: Sequence[Utterance], settings: TrainSettings
) -> None:
    """Check, before features are computed, that clips suffice for training and meta-validation.

    Raises:
        EpisodeError: they do not; with the part, and what is possible.
    """
    if "episodes" in learner.objectives:
        training_samplers(train, settings)
    if "classes" in learner.objectives:
        class_heads(learner, train, settings)
    validation_sampler(validation, settings)


def training_samplers(utterances: Sequence[Utterance], settings: TrainSettings) -> list[EpisodeSampler]:
    """Return the sampler of each task."""
    return [feasible_sampler(utterances, spec, seed=settings.seed, part="meta-training") for spec in settings.tasks]


def validation_sampler(utterances: Sequence[Utterance], settings: TrainSettings) -> EpisodeSampler:
    """Return the sampler of meta-validation."""
    return feasible_sampler(utterances, settings.tasks[0], seed=VALIDATION_SEED, part="meta-validation")


def class_heads(
    learner: Learner, utterances: Sequence[Utterance], settings: TrainSettings
) -> dict[str, tuple[float, Tensor, int]]:
    """Return weight, (n_clips,) class numbers and number of classes of each head of conventional training, by name.

    Raises:
        EpisodeError: no kind of label has two classes.
    """
    heads = {
        name: (weight, y, n_classes)
        for kind, weight in learner.supervision.items()
        for name, y, n_classes in _class_numbers(utterances, settings.tasks[0].label if kind == "task" else kind)
    }
    if not heads:
        raise EpisodeError(
            "conventional training",
            found=f"fewer than two classes of {' and '.join(learner.supervision)} in {len(utterances)} clips",
            expected="at least two",
            remedy="Add clips with labels, or choose a learner that trains on episodes.",
        )
    return heads


def _class_numbers(utterances: Sequence[Utterance], kind: str) -> list[tuple[str, Tensor, int]]:
    """Return name, (n_clips,) class numbers and number of classes of each head that a kind of label asks for."""
    if kind == "corpus":
        names = sorted({item.corpus for item in utterances})
        labels = {name: [item.emotion if item.corpus == name else None for item in utterances] for name in names}
    else:
        labels = {kind: [item.label(cast(LabelKind, kind)) for item in utterances]}
    heads = []
    for name, column in labels.items():
        codes = codes_of(column)
        if (n_classes := int(codes.max(initial=_NO_CLASS)) + 1) > 1:
            heads.append((name, torch.from_numpy(codes), n_classes))
    return heads
