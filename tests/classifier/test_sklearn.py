"""Estimators of scikit-learn: its own checks, its cross-validation over speakers, and the classifier underneath."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import sklearn
import soundfile as sf
from conftest import tone
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    LeaveOneGroupOut,
    cross_val_predict,
    cross_val_score,
    cross_validate,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator
from synthetic import small_model, with_voices
from tolerance import assert_near

from ser_fewshot import EmbeddingEstimator, FewShotClassifier, FewShotEstimator
from ser_fewshot.audio import Clip, load
from ser_fewshot.errors import AudioError, EnrollmentError, SerFewshotError, SettingsError
from ser_fewshot.learners import names
from ser_fewshot.models import save_model

HEADS = {"finetune", "mtl", "multitask", "nearest", "protonet", "ridge", "siamese"}
RATE = 16_000
PITCHES = {"anger": 120.0, "fear": 400.0, "joy": 1200.0}
SPEAKERS = 4

FITS_A_MATRIX = """
    check_classifier_data_not_an_array check_classifiers_classes check_classifiers_one_label
    check_classifiers_regression_target check_classifiers_train check_dict_unchanged check_dont_overwrite_parameters
    check_estimators_fit_returns_self check_estimators_overwrite_params check_estimators_pickle
    check_f_contiguous_array_estimator check_fit1d check_fit2d_predict1d check_fit_check_is_fitted check_fit_idempotent
    check_fit_score_takes_y check_methods_sample_order_invariance check_methods_subset_invariance
    check_pipeline_consistency check_positive_only_tag_during_fit check_readonly_memmap_input check_supervised_y_2d
""".split()  # noqa: SIM905
ABOUT_COLUMNS = """
    check_complex_data check_dtype_object check_estimator_sparse_array check_estimator_sparse_matrix
    check_estimator_sparse_tag check_estimators_dtypes check_estimators_empty_data_messages check_estimators_nan_inf
    check_fit2d_1feature check_fit2d_1sample check_n_features_in check_n_features_in_after_fitting
""".split()  # noqa: SIM905
EXPECTED = dict.fromkeys(
    FITS_A_MATRIX, "it fits rows of numbers, and clips are none; tested on clips below"
) | dict.fromkeys(ABOUT_COLUMNS, "it is about the columns and types of a matrix, which clips do not have")
"""The checks that a classifier of clips cannot pass, and why."""


class _AsMatrix(FewShotEstimator):
    """The estimator, declared to take matrices: for one that does not, scikit-learn skips every check there is."""

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = True
        return tags


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("estimator") / "model"
    save_model(small_model(), folder, card="a model for tests\n")
    return folder


@pytest.fixture(scope="module")
def spoken() -> tuple[list[tuple[int, np.ndarray]], np.ndarray, np.ndarray]:
    """Clips, emotions and speakers: every speaker says every emotion twice, each a little differently."""
    clips, labels, speakers = [], [], []
    for speaker in range(SPEAKERS):
        for label, pitch in PITCHES.items():
            for take in range(2):
                clips.append((RATE, tone(0.5, hertz=pitch * (1 + 0.02 * speaker + 0.01 * take))))
                labels.append(label)
                speakers.append(f"s{speaker}")
    return clips, np.array(labels), np.array(speakers)


def test_the_estimator_of_vectors_passes_every_check_of_scikit_learn():
    results = check_estimator(EmbeddingEstimator("ridge"), on_skip=None)
    assert {result["check_name"] for result in results if result["status"] != "passed"} <= {"check_array_api_input"}
    assert len(results) > 50


def test_the_estimator_of_clips_passes_every_check_that_needs_no_matrix():
    results = check_estimator(_AsMatrix(), expected_failed_checks=EXPECTED, on_skip=None, on_fail=None)
    of = {
        status: {found["check_name"] for found in results if found["status"] == status}
        for status in ("xfail", "failed")
    }
    assert of["failed"] == set()
    assert of["xfail"] == set(EXPECTED) & {found["check_name"] for found in results}
    assert {"check_get_params_invariance", "check_no_attributes_set_in_init", "check_estimators_unfitted"} <= {
        found["check_name"] for found in results if found["status"] == "passed"
    }


def test_fitting_changes_neither_settings_nor_clips_and_the_order_of_clips_is_no_matter(model, spoken):
    clips, labels, _ = spoken
    before, estimator = copy.deepcopy(clips), FewShotEstimator(model)
    assert estimator.fit(clips, labels) is estimator
    assert estimator.get_params() == FewShotEstimator(model).get_params()
    assert all(np.array_equal(clip[1], old[1]) for clip, old in zip(clips, before, strict=True))
    first = estimator.predict_proba(clips)
    assert_near(estimator.fit(clips[::-1], labels[::-1]).predict_proba(clips), first)
    assert_near(np.vstack([estimator.predict_proba([clip]) for clip in clips]), first)


def test_clips_are_recognised_whatever_they_come_as(model, spoken, tmp_path):
    clips, labels, _ = spoken
    for number, (rate, wave) in enumerate(clips):
        sf.write(tmp_path / f"{number}.wav", wave, rate)
    paths = [tmp_path / f"{number}.wav" for number in range(len(clips))]
    forms = {
        "paths": paths,
        "texts": np.array([str(path) for path in paths]),
        "column": pd.Series([str(path) for path in paths]),
        "bytes": [path.read_bytes() for path in paths],
        "loaded": [load(path) for path in paths],
        "pairs": clips,
    }
    for name, X in forms.items():
        estimator = FewShotEstimator(model).fit(X, labels)
        assert estimator.score(X, labels) == 1.0, name
        assert list(estimator.predict(X[:2])) == list(labels[:2])


def test_it_says_what_the_classifier_says(model, spoken):
    clips, labels, _ = spoken
    estimator = FewShotEstimator(model, learner="protonet").fit(clips, labels)
    classifier = FewShotClassifier.from_pretrained(model, learner="protonet")
    classifier.enroll(
        {label: [clip for clip, own in zip(clips, labels, strict=True) if own == label] for label in PITCHES}
    )
    found = estimator.predict_proba(clips[:3])
    expected = [list(answer.probabilities.values()) for answer in classifier.predict(clips[:3])]
    assert list(estimator.classes_) == sorted(PITCHES) == list(PITCHES)
    assert_near(found, expected)
    assert estimator.classifier_.labels == tuple(PITCHES)
    assert estimator.predict_proba([]).shape == (0, 3)
    assert estimator.predict([]).shape == (0,)


def test_labels_come_back_as_they_were_given(model):
    clips = [(RATE, tone(0.5, hertz=hertz)) for hertz in (150, 900)]
    for labels in (np.array([7, 3]), np.array([True, False]), pd.Series(["b", "a"])):
        estimator = FewShotEstimator(model).fit(clips, labels)
        assert list(estimator.predict(clips)) == list(labels)
        assert estimator.classes_.dtype == np.asarray(labels).dtype


def test_cross_validation_over_speakers_keeps_them_apart(model, spoken):
    clips, labels, speakers = spoken
    scores = cross_val_score(
        FewShotEstimator(model), clips, labels, groups=speakers, cv=GroupKFold(2), scoring="balanced_accuracy"
    )
    assert scores.shape == (2,)
    assert scores.min() > 0.9
    answers = cross_val_predict(FewShotEstimator(model), clips, labels, groups=speakers, cv=LeaveOneGroupOut())
    assert (answers == labels).mean() > 0.9


def test_groups_are_speakers_whose_voices_are_subtracted(spoken, tmp_path):
    save_model(with_voices(small_model("nearest")), tmp_path / "model", card="")
    clips, labels, speakers = spoken
    with sklearn.config_context(enable_metadata_routing=True):
        routed = FewShotEstimator(tmp_path / "model").set_fit_request(groups=True).set_score_request(groups=True)
        folds = {"cv": LeaveOneGroupOut(), "params": {"groups": speakers}, "return_estimator": True}
        result = cross_validate(routed, clips, labels, **folds)
    estimator = result["estimator"][0]
    support, query = speakers != "s0", speakers == "s0"
    kept = {name for members in estimator.classifier_.members.values() for name in members.speakers}
    assert kept == {"s1", "s2", "s3"}
    own = [clip for clip, here in zip(clips, query, strict=True) if here]
    assert result["test_score"][0] == estimator.score(own, labels[query], groups=speakers[query])
    found = estimator.predict_proba(own, groups=speakers[query])
    session = estimator.classifier_.predict(own, same_speaker=True)
    assert_near(found, [list(one.probabilities.values()) for one in session])
    assert np.abs(found - estimator.predict_proba(own)).max() > 0.001
    mixed = estimator.predict_proba([*own, *clips[-2:]], groups=[*speakers[query], None, np.nan])
    assert_near(mixed, np.vstack([found, estimator.predict_proba(clips[-2:])]))
    with pytest.raises(ValueError, match="inconsistent numbers"):
        FewShotEstimator(tmp_path / "model").fit(clips, labels, groups=speakers[support])


def test_embeddings_made_once_give_the_scores_of_clips(model, spoken):
    clips, labels, speakers = spoken
    X = FewShotClassifier.from_pretrained(model).embed(clips)
    folds = {"groups": speakers, "cv": LeaveOneGroupOut()}
    of_vectors = cross_val_predict(EmbeddingEstimator("ridge"), X, labels, **folds)
    assert list(of_vectors) == list(cross_val_predict(FewShotEstimator(model), clips, labels, **folds))


def test_a_search_over_learners_and_their_settings_is_one_line(model, spoken):
    X, y = load_iris(return_X_y=True)
    grid = {"embeddingestimator__settings": [{"penalty": 0.01}, {"penalty": 100.0}]}
    search = GridSearchCV(make_pipeline(StandardScaler(), EmbeddingEstimator("ridge")), grid, cv=3).fit(X, y)
    assert search.best_score_ > 0.8
    clips, labels, speakers = spoken
    search = GridSearchCV(FewShotEstimator(model), {"learner": ["ridge", "nearest"]}, cv=GroupKFold(2))
    assert search.fit(clips, labels, groups=speakers).best_params_["learner"] in ("ridge", "nearest")


@pytest.mark.parametrize("again", [copy.deepcopy, lambda fitted: pickle.loads(pickle.dumps(fitted))])
def test_a_fitted_estimator_can_be_copied_and_sent_to_other_processes(model, spoken, again):
    clips, labels, _ = spoken
    X, y = load_iris(return_X_y=True)
    of_clips, of_vectors = FewShotEstimator(model).fit(clips, labels), EmbeddingEstimator("protonet").fit(X, y)
    np.testing.assert_array_equal(again(of_clips).predict_proba(clips[:3]), of_clips.predict_proba(clips[:3]))
    np.testing.assert_array_equal(again(of_vectors).predict_proba(X), of_vectors.predict_proba(X))
    assert not hasattr(clone(of_clips), "classifier_")
    assert clone(of_clips).get_params() == {"model": model, "learner": None, "classes": None, "clean_only": False}
    assert clone(of_vectors).get_params() == {"learner": "protonet", "settings": None}


@pytest.mark.parametrize("again", [copy.deepcopy, lambda fitted: pickle.loads(pickle.dumps(fitted))])
def test_a_copy_is_of_what_was_fitted_and_not_of_what_shall_be_fitted_next(again):
    X, y = load_iris(return_X_y=True)
    settings = {"penalty": 0.1}
    fitted = EmbeddingEstimator("ridge", settings=settings).fit(X, y)
    expected = fitted.predict_proba(X)
    settings["penalty"] = 100.0
    np.testing.assert_array_equal(again(fitted).predict_proba(X), expected)
    copied = again(fitted.set_params(learner="maml", settings={"penalty": "none"}))
    np.testing.assert_array_equal(copied.predict_proba(X), expected)
    assert (copied.learner, copied.learner_, copied.settings_) == ("maml", "ridge", {"penalty": 0.1})


def test_a_learner_has_a_head_for_vectors_or_says_that_it_has_none(subtests):
    X, y = load_iris(return_X_y=True)
    for learner in names():
        with subtests.test(learner):
            if learner in HEADS:
                assert EmbeddingEstimator(learner).fit(X[::5], y[::5]).score(X, y) > 0.8
            else:
                with pytest.raises(SettingsError, match="needs the frames of clips, or to be trained first"):
                    EmbeddingEstimator(learner).fit(X, y)


CLIP = (RATE, tone(0.5))


def test_what_is_no_training_set_is_refused(model, subtests):
    cases = [
        (np.zeros((4, 3)), [0, 1, 0, 1], ValueError, r"X of shape \(4, 3\)"),
        ([CLIP, CLIP], ["a", "a"], ValueError, "only one class"),
        ([CLIP, CLIP], None, ValueError, "y to be passed"),
        ([CLIP, CLIP], [0.5, 1.5], ValueError, "Unknown label type"),
        ([CLIP], ["a", "b"], ValueError, "inconsistent numbers of samples"),
        ("one.wav", ["a"], EnrollmentError, "a single str"),
        (CLIP, ["a", "b"], EnrollmentError, "a single tuple"),
        (3, ["a", "b"], EnrollmentError, "a single int"),
        (Clip(tone(0.5), "x"), ["a", "b"], EnrollmentError, "a single Clip"),
        (["gone.wav", "gone_too.wav"], ["a", "b"], AudioError, "gone.wav"),
        ([CLIP, CLIP], ["a", " a"], EnrollmentError, "'a' twice"),
    ]
    for X, y, error, complaint in cases:
        with subtests.test(complaint):
            with pytest.raises(error, match=complaint) as caught:
                FewShotEstimator(model).fit(X, y)
            assert "\n" not in str(caught.value) or not isinstance(caught.value, SerFewshotError)


def test_predicting_before_fitting_is_refused(model):
    with pytest.raises(NotFittedError):
        FewShotEstimator(model).predict([CLIP])
    with pytest.raises(NotFittedError):
        EmbeddingEstimator().predict(np.zeros((1, 2)))
