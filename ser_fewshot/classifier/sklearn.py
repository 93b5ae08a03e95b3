"""Estimators with the conventions of scikit-learn: a few-shot classifier of clips, and one of feature vectors.

Both go through `Learner.adapt`. They work in pipelines, grid searches and `cross_val_score`; with `groups` of speakers
and `GroupKFold` or `LeaveOneGroupOut`, training and test speakers are disjoint. `score` is accuracy, as
everywhere in scikit-learn; `scoring="balanced_accuracy"` is UAR. `FewShotEstimator` takes `groups` itself too, by a
call or by metadata routing (`set_fit_request(groups=True)`), and subtracts what the voice of each adds.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.metrics import accuracy_score
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_consistent_length, check_is_fitted, column_or_1d, validate_data

from ser_fewshot.audio import Clip, Source
from ser_fewshot.classifier import FewShotClassifier
from ser_fewshot.classifier.inputs import checked_sources
from ser_fewshot.encoders import View
from ser_fewshot.errors import SettingsError
from ser_fewshot.frontends import Features
from ser_fewshot.learners import Classifier, EmbeddingLearner, build_learner, evaluating


class EstimatorError(SettingsError, ValueError):
    """What an estimator was given is not legal; the ValueError that scikit-learn's tools look for."""


class _FewShot(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn ships no types
    """Shared by both: class labels in, class labels out."""

    classes_: NDArray[Any]

    def predict(self, X: Any) -> NDArray[Any]:
        """Return the most probable class of each row, (n,).

        Raises:
            NotFittedError: `fit` comes first.
        """
        probabilities = self.predict_proba(X)
        labels: NDArray[Any] = self.classes_[probabilities.argmax(1)]
        return labels

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Return (n, n_classes) probabilities, in the order of `classes_`."""
        raise NotImplementedError

    def _take_classes(self, y: ArrayLike) -> NDArray[np.int64]:
        """Set `classes_` and return the class number of each row, (n,)."""
        labels = column_or_1d(y, warn=True)
        check_classification_targets(labels)
        self.classes_, numbers = np.unique(labels, return_inverse=True)
        if len(self.classes_) < 2:
            raise EstimatorError(
                type(self).__name__,
                found=f"only one class: {self.classes_[0]!r}",
                expected="clips of at least two classes",
                remedy="Classifying needs something to tell apart: add clips of another class.",
            )
        return numbers.astype(np.int64)


class FewShotEstimator(_FewShot):
    """Recognise clips: X is paths, bytes, (rate in Hz, samples) or `Clip`, in a list, an array or a column of pandas.

    `fit` enrols the clips in a model, and never changes it. The fitted `FewShotClassifier` is there as `classifier_`,
    to add a class, to predict whether a clip is unknown, to save.

    Clips are analysed anew by every `fit` and `predict`. Many folds are quicker over the embeddings of all clips, made
    once by `FewShotClassifier.embed`, and `EmbeddingEstimator`.

    Attributes:
        model: a saved model's folder, or the id of one on the Hugging Face hub; the one in the package by default.
        learner: another way to adapt on the same encoder, such as "protonet"; the model's own by default.
        classes: "emotion" or "speaker", if the model has a view of either.
        clean_only: whether clips are fitted as they are and not through noise, a room and a telephone too.
        classes_: (n_classes,) the labels, sorted; set by `fit`, as is `classifier_`.
    """

    def __init__(
        self,
        model: str | Path | None = None,
        *,
        learner: str | None = None,
        classes: View | None = None,
        clean_only: bool = False,
    ) -> None:
        self.model = model
        self.learner = learner
        self.classes = classes
        self.clean_only = clean_only

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.input_tags.string = True
        return tags

    def fit(self, X: Iterable[Source | Clip], y: ArrayLike, groups: ArrayLike | None = None) -> Self:
        """Enrol clips under their labels.

        Args:
            X: (n,) clips.
            y: (n,) labels, text or numbers.
            groups: (n,) the speaker of each clip; None or NaN where that is not known. The offset of a speaker of
                several classes is subtracted from his clips.

        Raises:
            EstimatorError: X is a matrix, or there is only one class.
            AudioError: a clip cannot be used.
            EnrollmentError: X is a single clip, or a label is not fit to be one.
            CheckpointError: the model cannot be read.
            SettingsError: the learner does not exist or does not fit the model.
        """
        if y is None:
            raise EstimatorError(
                type(self).__name__,
                found="no labels: it requires y to be passed, but the target y is None",
                expected="a label for each clip",
                remedy="Pass them as y.",
            )
        clips = self._clips(X)
        check_consistent_length(clips, y)
        numbers = self._take_classes(y)
        classifier = FewShotClassifier.from_pretrained(
            self.model, learner=self.learner, classes=self.classes, clean_only=self.clean_only
        )
        members: dict[str, list[Source | Clip]] = {str(label): [] for label in self.classes_.tolist()}
        speakers: dict[str, list[str | None]] = {label: [] for label in members}
        named = _speakers(clips, groups)
        for clip, label, speaker in zip(clips, self.classes_[numbers].tolist(), named, strict=True):
            members[str(label)].append(clip)
            speakers[str(label)].append(speaker)
        classifier.enroll(members, speakers=speakers)
        self.classifier_ = classifier
        return self

    def predict(self, X: Iterable[Source | Clip], groups: ArrayLike | None = None) -> NDArray[Any]:
        """Return the most probable class of each clip, (n_clips,); see `predict_proba`."""
        probabilities = self.predict_proba(X, groups=groups)
        labels: NDArray[Any] = self.classes_[probabilities.argmax(1)]
        return labels

    def predict_proba(self, X: Iterable[Source | Clip], groups: ArrayLike | None = None) -> NDArray[np.float64]:
        """Return (n_clips, n_classes) calibrated probabilities, in the order of `classes_`.

        Args:
            X: (n_clips,) clips.
            groups: (n_clips,) the speaker of each clip. The clips of one are a session: they are of the fitted classes,
                and the offset of the voice is estimated from them together. A clip of None or NaN is by itself.

        Raises:
            NotFittedError: `fit` comes first.
            AudioError: a clip cannot be used.
        """
        check_is_fitted(self)
        clips = self._clips(X)
        named, rows = _speakers(clips, groups), np.empty((len(clips), len(self.classes_)))
        for speaker in dict.fromkeys(named):
            session = [row for row, name in enumerate(named) if name == speaker]
            found = self.classifier_.predict([clips[row] for row in session], same_speaker=speaker is not None)
            rows[session] = [list(prediction.probabilities.values()) for prediction in found]
        return rows

    def score(
        self,
        X: Iterable[Source | Clip],
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        groups: ArrayLike | None = None,
    ) -> float:
        """Return the accuracy; `groups` as in `predict_proba`."""
        return float(accuracy_score(y, self.predict(X, groups=groups), sample_weight=sample_weight))

    def _clips(self, X: Any) -> list[Source | Clip]:
        # An array of one dimension is several clips here, though it is one to `checked_sources`.
        if getattr(X, "ndim", 1) != 1:
            raise EstimatorError(
                type(self).__name__,
                found=f"X of shape {X.shape}",
                expected="a list of clips",
                remedy="Pass paths or (rate, samples); for a matrix of features there is EmbeddingEstimator.",
            )
        return checked_sources("X", X if isinstance(X, str | bytes) else _listed(X), least=0)


class EmbeddingEstimator(_FewShot):
    """Recognise feature vectors: X is (n, width), such as `FewShotClassifier.embed` or openSMILE returns.

    The head of a learner is fitted on them as they are. Learners that adapt an encoder, or that compare by a network
    which must be trained first, have no such head.

    Attributes:
        learner: "nearest", "protonet", "ridge", or another with a head of that kind.
        settings: of the learner, such as {"penalty": 0.1}; the rest keeps its defaults.
        classes_: (n_classes,) the labels, sorted; set by `fit`, as is `n_features_in_`.
        learner_, settings_: those of the fit, whatever `set_params` says later.
    """

    learner_: str
    settings_: dict[str, Any]
    support_: NDArray[np.float64]
    support_y_: NDArray[np.int64]

    def __init__(self, learner: str = "ridge", *, settings: Mapping[str, Any] | None = None) -> None:
        self.learner = learner
        self.settings = settings

    def __getstate__(self) -> dict[str, Any]:
        # A classifier is a closure, which cannot be pickled; it is a matter of milliseconds to make again.
        return {name: value for name, value in super().__getstate__().items() if name != "_classifier"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if hasattr(self, "support_"):
            self._classifier = _head(self.learner_, self.settings_, self.support_, self.support_y_)

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Fit the head.

        Args:
            X: (n, width) finite numbers.
            y: (n,) labels, text or numbers.

        Raises:
            EstimatorError: there is only one class, or the learner has no head that is fitted on vectors.
            SettingsError: there is no such learner, or it has no such setting.
            ValueError: X is no such matrix, or y does not fit it.
        """
        rows, labels = validate_data(self, X, y, dtype=np.float64)
        numbers, settings = self._take_classes(labels), copy.deepcopy(dict(self.settings or {}))
        self._classifier = _head(self.learner, settings, rows, numbers)
        self.learner_, self.settings_ = self.learner, settings
        self.support_, self.support_y_ = rows, numbers
        return self

    def predict_proba(self, X: ArrayLike) -> NDArray[np.float64]:
        """Return (n, n_classes) probabilities, in the order of `classes_`.

        Raises:
            NotFittedError: `fit` comes first.
            ValueError: X is not as wide as what was fitted, or not finite.
        """
        check_is_fitted(self)
        rows = validate_data(self, X, dtype=np.float64, reset=False)
        with torch.no_grad():
            probabilities: NDArray[np.float64] = self._classifier(_pooled(rows)).softmax(1).numpy()
        return probabilities


def _head(name: str, settings: Mapping[str, Any], X: NDArray[np.float64], y: NDArray[np.int64]) -> Classifier:
    """(n, width) vectors and (n,) class numbers -> the classifier that a learner fits."""
    full = {"encoder": {"name": "mean"}, **settings}  # the encoder that leaves vectors as they are
    learner = build_learner(name, X.shape[1], full).double()
    if not isinstance(learner, EmbeddingLearner) or learner.must_learn:
        raise EstimatorError(
            EmbeddingEstimator.__name__,
            found=f"the learner {name!r}, which needs the frames of clips, or to be trained first",
            expected="one with a head that is fitted on vectors: nearest, protonet, ridge or another such",
            remedy="Choose such a learner, or use FewShotEstimator on clips.",
        )
    with evaluating(learner):
        return learner.adapt(_pooled(X), torch.from_numpy(y))


def _pooled(X: NDArray[np.float64]) -> Features:
    """(n, width) vectors as embeddings."""
    return Features(torch.from_numpy(np.array(X)), torch.ones(len(X), dtype=torch.int64))


def _speakers(clips: Sequence[object], groups: ArrayLike | None) -> list[str | None]:
    """Return the speaker of each clip as text, None where a group is None or NaN."""
    if groups is None:
        return [None] * len(clips)
    check_consistent_length(clips, groups)
    names = column_or_1d(np.asarray(groups, dtype=object)).tolist()
    return [None if name is None or name != name else str(name) for name in names]  # noqa: PLR0124 - NaN


def _listed(X: Any) -> Any:
    """Return an iterable of clips as a list; anything else as it is, to be refused."""
    several = isinstance(X, Iterable) and not isinstance(X, str | bytes | Path | Clip | Mapping)
    return list(X) if several and not isinstance(X, tuple) else X
