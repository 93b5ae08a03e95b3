"""Predict the queries of episodes: by any learner, by a linear support-vector machine, or by a linear probe.

A method adapts once to each episode, and all measures are computed from those predictions. The open set alone needs
others: episodes of which one class is left out of the support.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from torch import Tensor

from ser_fewshot.corpora import LabelKind, Utterance
from ser_fewshot.episodes import Episode, class_numbers
from ser_fewshot.errors import EpisodeError
from ser_fewshot.evaluation.novelty import N_EVIDENCE, Conditions
from ser_fewshot.evaluation.runner import Outcome, Predictions, adapted, outcomes
from ser_fewshot.frontends import FeatureSet
from ser_fewshot.learners import EmbeddingLearner, Learner, SpeakerModel, embed_clips

FOLDS = 5
PENALTY = 0.01
"""C of SVM and probe: small, for at most some hundred clips in hundreds to thousands of dimensions of unit scale."""
_SVM_STEPS, _PROBE_STEPS = 5_000, 2_000  # at most


class Predictor(Protocol):
    """Predicts the queries of episodes of some clips."""

    def outcomes(
        self, episodes: Sequence[Episode], *, speakers: SpeakerModel | None = None, session: bool = False
    ) -> list[Outcome]:
        """Return the predictions for each episode, or why it diverged; for offsets see `evaluation.runner.outcomes`."""

    def leave_out(self, episodes: Sequence[Episode]) -> list[Predictions]:
        """Return predictions with each class in turn left out of the support; none without a novelty score."""


class LearnerPredictor:
    """A learner with the embeddings of all test clips; supports are clean unless the features have deviations."""

    def __init__(self, learner: Learner, features: FeatureSet) -> None:
        self.learner = learner
        self.embedded = replace(features, clips=tuple(embed_clips(learner, features.clips)))

    def outcomes(
        self, episodes: Sequence[Episode], *, speakers: SpeakerModel | None = None, session: bool = False
    ) -> list[Outcome]:
        """Adapt to each support and predict the queries."""
        return list(outcomes(self.learner, self.embedded, episodes, speakers=speakers, session=session))

    def leave_out(self, episodes: Sequence[Episode]) -> list[Predictions]:
        """Adapt to all classes but one and predict the queries of all."""
        return adapted(outcomes(self.learner, self.embedded, episodes, leave_out=True))


class SupportVectors(EmbeddingLearner):
    """Linear support-vector machine on embeddings, the usual classifier behind openSMILE features.

    Cortes and Vapnik, "Support-vector networks", 1995, https://doi.org/10.1007/BF00994018, one class against the rest,
    by scikit-learn; clips are weighted by one over the size of their class. Logits are margins. It is no plug-in: it
    has no gradient, so it cannot be meta-trained.
    """

    def fit_head(self, z: Tensor, y: Tensor, n_way: int) -> Callable[[Tensor], Tensor]:
        """z (n_support, width), y (n_support,) -> head from (n_query, width) to margins (n_query, n_way)."""
        # The weights are sums of support clips, so they are sought among those: n_support values instead of thousands.
        basis, coordinates = torch.linalg.qr(z.double().T)  # (width, n), (n, n_support)
        machine = LinearSVC(C=PENALTY, class_weight="balanced", max_iter=_SVM_STEPS, random_state=0)
        machine.fit(coordinates.T.numpy(), y.numpy())
        weight = (torch.from_numpy(machine.coef_) @ basis.T).to(z.dtype)
        bias = torch.from_numpy(machine.intercept_).to(z.dtype)
        if n_way == 2:  # scikit-learn keeps one machine: that of the second class
            weight, bias = torch.cat([-weight, weight]), torch.cat([-bias, bias])
        return lambda query: query @ weight.T + bias


class LinearProbe:
    """Logistic regression on the labels of all other clips: an upper bound of what the features allow.

    With emotions as classes, each clip is predicted by a probe fitted to the corpus's other speakers (Alain and Bengio,
    "Understanding intermediate layers using linear classifier probes", 2016, https://arxiv.org/abs/1610.01644); with
    speakers as classes, by one fitted to the speakers' other clips. It ignores the support.

    Raises:
        EpisodeError: there are too few speakers or clips for two folds.
    """

    def __init__(self, learner: Learner, features: FeatureSet, kind: LabelKind) -> None:
        z = torch.stack(embed_clips(learner, features.clips)).double().numpy()  # (n_clips, width)
        clips = [clip for clip in features.utterances if clip.label(kind) is not None]
        kept = np.array([clip.label(kind) is not None for clip in features.utterances])
        self._row = {clip.id: number for number, clip in enumerate(clips)}
        self.labels = sorted({clip.label(kind) or "" for clip in clips})
        self._column = {label: number for number, label in enumerate(self.labels)}
        self._table = _cross_fitted(z[kept], clips, kind, self._column)

    def outcomes(
        self, episodes: Sequence[Episode], *, speakers: SpeakerModel | None = None, session: bool = False
    ) -> list[Outcome]:
        """Look up the log-probabilities of each query, of the classes of its episode; offsets change none of them."""
        found: list[Outcome] = []
        for episode in episodes:
            rows = [self._row[clip] for members in episode.query for clip in members]
            columns = [self._column[label] for label in episode.classes]
            logits = torch.from_numpy(self._table[rows][:, columns])
            n_way = len(episode.classes)
            conditions = Conditions(n_way=n_way, k_shot=len(sum(episode.support, ())) / n_way)
            evidence = torch.empty(0, N_EVIDENCE)
            found.append(Predictions(episode, conditions, logits, class_numbers(episode.query), evidence))
        return found

    def leave_out(self, episodes: Sequence[Episode]) -> list[Predictions]:
        """Return none: no class is unknown to it."""
        return []


def _cross_fitted(
    z: NDArray[np.float64], clips: Sequence[Utterance], kind: LabelKind, column: Mapping[str, int]
) -> NDArray[np.float64]:
    """Return (n_clips, n_labels) logarithms of probabilities, each clip's by a classifier fitted without it."""
    y = np.array([clip.label(kind) for clip in clips])
    groups = np.array([clip.speaker_key for clip in clips])
    n_folds = min(FOLDS, len(set(groups) if kind == "emotion" else clips))
    if n_folds < 2:
        raise EpisodeError(
            "linear probe", found="1 speaker", expected="2", remedy="Leave this baseline out of such a corpus."
        )
    if kind == "emotion":
        parts = GroupKFold(n_folds).split(z, y, groups)
    else:
        parts = KFold(n_folds, shuffle=True, random_state=0).split(z)
    table = np.full((len(clips), len(column)), np.log(1e-12))
    for train, test in parts:
        scaler, probe = StandardScaler(), LogisticRegression(C=PENALTY, max_iter=_PROBE_STEPS, class_weight="balanced")
        make_pipeline(scaler, probe).fit(z[train], y[train])
        columns = [column[label] for label in probe.classes_]
        table[np.ix_(test, columns)] = probe.predict_log_proba(scaler.transform(z[test]))
    return table
