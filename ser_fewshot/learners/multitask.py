"""Multi-task training: one encoder, and in training one head on it for each of several tasks.

Caruana, "Multitask learning", 1997, https://doi.org/10.1023/A:1007379606734.

The idea: tasks that share an encoder teach it what each of them alone has too few clips for. What tells speakers apart,
or what tells emotions apart in five languages with a head a language, shapes one embedding; the heads are thrown away,
and a new one is fitted to the support of a task that nobody trained on, exactly as `finetune` does in its scope "head".

Differs from the paper: the networks there share one hidden layer and are judged on their own training tasks; here the
tasks serve an embedding that is judged on new ones.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from ser_fewshot.encoders import EncoderSettings
from ser_fewshot.errors import SettingsError
from ser_fewshot.learners._base import Objective
from ser_fewshot.learners._linear_head import HeadSettings, LinearProbe

Tasks = Literal["emotion+speaker", "corpora"]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What the encoder is trained on at once.

    Attributes:
        encoder: what the tasks share.
        head: how a new head is fitted to a support set.
        tasks: "emotion+speaker": which emotion, and who speaks; "corpora": which emotion, with a head a corpus.
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
        if self.tasks not in ("emotion+speaker", "corpora") or not legal:
            raise SettingsError(
                "multitask",
                found=f"tasks {self.tasks!r}, weights {weights}",
                expected="tasks emotion+speaker | corpora, and finite weights of at least 0, one of them above",
                remedy="Change the one that is not.",
            )


class MultiTask(LinearProbe):
    """Logits are those of a linear head on an encoder that several tasks trained."""

    objectives: ClassVar[tuple[Objective, ...]] = ("classes",)

    def __init__(self, dim: int, settings: Settings) -> None:
        super().__init__(dim, settings.encoder, settings.head)
        self.tasks: Tasks = settings.tasks
        self.weights = {"emotion": settings.emotion_weight, "speaker": settings.speaker_weight}

    @property
    def supervision(self) -> Mapping[str, float]:
        """The tasks that share the encoder, and what their losses weigh."""
        if self.tasks == "corpora":
            return {"corpus": 1.0}
        return {name: weight for name, weight in self.weights.items() if weight > 0}

    def extra_repr(self) -> str:
        """Show what no sub-module and no parameter shows."""
        return f"{super().extra_repr()}, supervision={dict(self.supervision)}"


LEARNER = MultiTask
