"""A learner adapted to a support: the one way, for episodes that are scored and for clips that a user enrols."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from ser_fewshot.evaluation.novelty import SupportStatistics
from ser_fewshot.frontends import Features
from ser_fewshot.learners import Classifier, Learner, SpeakerModel, augmented_support, centred_support, device_of


@dataclass(frozen=True, eq=False)
class AdaptedSupport:
    """A classifier and the clean support that it was adapted to.

    Attributes:
        support: (n_support, ...) the offsets of known speakers subtracted.
        means: (n_way, width) class means of that; None without a model of speakers.
        classifier: adapted to the deviations of the support too.
        statistics: of the clean support alone, so that five clips count as five.
    """

    support: Features
    means: Tensor | None
    classifier: Classifier
    statistics: SupportStatistics

    @classmethod
    def of(
        cls,
        learner: Learner,
        support: Features,
        y: Tensor,
        *,
        names: Sequence[str | None],
        deviations: Sequence[Tensor],
        speakers: SpeakerModel | None,
    ) -> AdaptedSupport:
        """Adapt a learner, which is being evaluated (`evaluating`).

        Args:
            learner: is not changed; on whatever device.
            support: (n_support, ...) on the CPU.
            y: (n_support,) class numbers.
            names: (n_support,) of the speakers; None where unknown.
            deviations: (n_support,) of (n_conditions, width) each, or none at all: see `augmented_support`.
            speakers: of offsets; None leaves every speaker as is.

        Raises:
            AdaptationError: the learner diverges.
        """
        means = None
        if speakers is not None:
            support, means = centred_support(support, y, names, speakers)
        device = device_of(learner)
        x, x_y = augmented_support(support, y, deviations, weight=learner.mixup)
        classifier = learner.adapt(x.to(device), x_y.to(device))
        statistics = SupportStatistics.of(support, y, speakers=names, n_directions=learner.n_directions)
        return cls(support, means, classifier, statistics)
