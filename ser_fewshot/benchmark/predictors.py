"""What predicts the queries of episodes in the benchmark: a learner, or a linear probe.

A method adapts once to each episode, and all measures are computed from those predictions. The open set alone needs
others: episodes of which one class is left out of the support.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ser_fewshot.corpora import LabelKind, Utterance
from ser_fewshot.episodes import Episode, class_numbers
from ser_fewshot.errors import EpisodeError
from ser_fewshot.evaluation.runner import Outcome, Predictions, outcomes, predictions
from ser_fewshot.frontends import FeatureSet
from ser_fewshot.learners import Learner, embed_clips

FOLDS = 5
_STRENGTH = 0.01  # C of the probe: a thousand functionals, a few hundred clips
_MOST_STEPS = 2_000


class Predictor(Protocol):
    """What can be asked about episodes of some clips."""

    def outcomes(self, episodes: Sequence[Episode]) -> list[Outcome]:
        """Return its predictions for each episode, or why it diverged."""

    def leave_out(self, episodes: Sequence[Episode]) -> list[Predictions]:
        """Return its predictions where one class of each episode is not enrolled; none if it has no novelty."""


class Adapted:
    """A learner on clips that it has embedded."""

    def __init__(self, learner: Learner, features: FeatureSet) -> None:
        self.learner = learner
        self.embedded = FeatureSet(features.utterances, tuple(embed_clips(learner, features.clips)))

    def outcomes(self, episodes: Sequence[Episode]) -> list[Outcome]:
        """Adapt to each support and predict its queries."""
        return list(outcomes(self.learner, self.embedded, episodes))

    def leave_out(self, episodes: Sequence[Episode]) -> list[Predictions]:
        """Adapt to all classes but one."""
        return predictions(self.learner, self.embedded, episodes, leave_out=True)


class LinearProbe:
    """A linear classifier that has seen the labels of all other clips: the ceiling of what the features can give.

    With emotions as classes, each clip is answered by one that was fitted to the corpus's other speakers (Alain and
    Bengio, "Understanding intermediate layers using linear classifier probes", 2016, https://arxiv.org/abs/1610.01644);
    with speakers as classes, by one that was fitted to the speaker's other clips. It ignores the support.

    Raises:
        EpisodeError: there are too few speakers or clips to part.
    """

    def __init__(self, learner: Learner, features: FeatureSet, kind: LabelKind) -> None:
        z = torch.stack(embed_clips(learner, features.clips)).double().numpy()  # (n_clips, width)
        clips = [clip for clip in features.utterances if clip.label(kind) is not None]
        kept = np.array([clip.label(kind) is not None for clip in features.utterances])
        self._row = {clip.id: number for number, clip in enumerate(clips)}
        self.labels = sorted({clip.label(kind) or "" for clip in clips})
        self._column = {label: number for number, label in enumerate(self.labels)}
        self._table = _cross_fitted(z[kept], clips, kind, self._column)

    def outcomes(self, episodes: Sequence[Episode]) -> list[Outcome]:
        """Look every query up, among the classes of its episode."""
        found: list[Outcome] = []
        for episode in episodes:
            rows = [self._row[clip] for members in episode.query for clip in members]
            columns = [self._column[label] for label in episode.classes]
            logits = torch.from_numpy(self._table[rows][:, columns])
            k_shot = len(sum(episode.support, ())) / len(episode.classes)
            found.append(Predictions(episode, k_shot, logits, class_numbers(episode.query), torch.empty(0, 2)))
        return found

    def leave_out(self, episodes: Sequence[Episode]) -> list[Predictions]:
        """Return none: it knows all classes."""
        return []


def _cross_fitted(
    z: NDArray[np.float64], clips: Sequence[Utterance], kind: LabelKind, column: Mapping[str, int]
) -> NDArray[np.float64]:
    """Return (n_clips, n_labels) logarithms of probabilities, each clip's by a classifier that never saw it."""
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
    for known, asked in parts:
        scaler, probe = StandardScaler(), LogisticRegression(C=_STRENGTH, max_iter=_MOST_STEPS, class_weight="balanced")
        make_pipeline(scaler, probe).fit(z[known], y[known])
        columns = [column[label] for label in probe.classes_]
        table[np.ix_(asked, columns)] = probe.predict_log_proba(scaler.transform(z[asked]))
    return table
