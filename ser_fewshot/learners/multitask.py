"""Multi-task training: a shared encoder with one head for each of several training tasks.

Caruana, "Multitask learning", 1997, https://doi.org/10.1023/A:1007379606734.

The idea: related tasks, emotions and speakers or the emotions of each corpus, train one encoder together; their heads
are discarded, and a new head is fitted to the support of a new task, as in `finetune` with the scope "head".

Differs from the paper: its networks share one hidden layer and are evaluated on their own training tasks; here the
embedding is evaluated on new ones.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from ser_fewshot.encoders import EncoderSettings
from ser_fewshot.learners._base import Objective
from ser_fewshot.learners._linear_head import HeadSettings, LinearProbe
from ser_fewshot.settings import require

Tasks = Literal["emotion+speaker", "corpora"]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The training tasks.

    Attributes:
        encoder: is shared.
        head: how a new head is fitted to a support set.
        tasks: "emotion+speaker": emotions and speakers; "corpora": emotions, with a head a corpus.
        emotion_weight, speaker_weight: of the two losses of "emotion+speaker"; a task of weight 0 is left out.
    """

    encoder: EncoderSettings = field(default_factory=lambda: EncoderSettings(name="dense"))
    head: HeadSettings = field(default_factory=HeadSettings)
    tasks: Tasks = "emotion+speaker"
    emotion_weight: float = 1.0
    speaker_weight: float = 0.3

    def __post_init__(self) -> None:
        weights = self.emotion_weight, self.speaker_weight
        legal = all(0 <= weight < math.inf for weight in weights) and any(weights)
        require(
            self.tasks in ("emotion+speaker", "corpora") and legal,
            "multitask",
            found=f"tasks {self.tasks!r}, weights {weights}",
            expected="tasks emotion+speaker | corpora, and finite weights of at least 0, one of them above",
            remedy="Change the one that is not.",
        )


class MultiTask(LinearProbe):
    """A linear head on an encoder that several tasks trained."""

    objectives: ClassVar[tuple[Objective, ...]] = ("classes",)

    def __init__(self, dim: int, settings: Settings) -> None:
        super().__init__(dim, settings.encoder, settings.head)
        self.tasks: Tasks = settings.tasks
        self.weights = {"emotion": settings.emotion_weight, "speaker": settings.speaker_weight}

    @property
    def supervision(self) -> Mapping[str, float]:
        """The training tasks and the weights of their losses."""
        if self.tasks == "corpora":
            return {"corpus": 1.0}
        return {name: weight for name, weight in self.weights.items() if weight > 0}


LEARNER = MultiTask
