"""Supports as they are enrolled: what `evaluate` scores is what `FewShotClassifier.enroll` and `predict` answer."""

from __future__ import annotations

from dataclasses import replace

import pytest
import soundfile
import torch
from conftest import tone
from synthetic import small_model
from tolerance import assert_near

from ser_fewshot import FewShotClassifier
from ser_fewshot.corpora import Utterance
from ser_fewshot.episodes import Episode
from ser_fewshot.evaluation.runner import adapted, outcomes
from ser_fewshot.frontends import FeatureCache, extract, size
from ser_fewshot.models import as_enrolled

PITCHES = {"low": 120, "middle": 300, "high": 900}


@pytest.fixture(scope="module")
def spoken(tmp_path_factory) -> list[Utterance]:
    """Four clips of each of three classes."""
    found = []
    for label, pitch in PITCHES.items():
        for take in range(4):
            path = tmp_path_factory.getbasetemp() / f"{label}-{take}.wav"
            soundfile.write(path, tone(0.4 + 0.05 * take, hertz=pitch * (1 + 0.02 * take)), 16_000)
            found.append(Utterance(path.stem, path, "c", label, speaker=f"s{take}"))
    return found


def episode() -> Episode:
    """Two clips of each class as the support, and the two others as queries."""
    sides = [tuple((f"{label}-{one}", f"{label}-{other}") for label in PITCHES) for one, other in ((0, 1), (2, 3))]
    return Episode(0, tuple(PITCHES), *sides)


@pytest.mark.parametrize("clean_only", [False, True])
@pytest.mark.parametrize("learner", ["ridge", "maml", "relation"])  # the first alone is augmented
def test_an_episode_is_answered_as_the_classifier_answers_what_is_enrolled(learner, clean_only, spoken):
    model, one = small_model(learner), episode()
    features = extract(model.frontend, spoken)
    scored = features if clean_only else as_enrolled(model, features)
    assert bool(scored.deviations) == (learner == "ridge" and not clean_only)
    (found,) = adapted(outcomes(model.learner, scored, [one]))
    paths = {clip.id: clip.path for clip in spoken}
    made = FewShotClassifier(model, clean_only=clean_only)
    made.enroll({label: [paths[name] for name in those] for label, those in zip(PITCHES, one.support, strict=True)})
    answers = made.predict([paths[name] for those in one.query for name in those])
    expected = torch.tensor([list(answer.probabilities.values()) for answer in answers])
    assert_near(found.logits.softmax(1), expected, relative=0.01)


def test_the_conditions_go_through_the_cache_and_embedded_clips_are_taken_too(spoken, tmp_path):
    model = small_model()
    cache = FeatureCache(tmp_path, model.frontend.identity)
    features = extract(model.frontend, spoken, cache=cache)
    first = as_enrolled(model, features, cache=cache)
    assert size(tmp_path)[0] == 4 * len(spoken)
    again = as_enrolled(model, replace(features, clips=first.clips), cache=cache)
    assert all(map(torch.equal, first.deviations, again.deviations))
    assert {tuple(one.shape) for one in first.deviations} == {(3, *first.clips[0].shape)}


def test_no_clips_have_no_deviations():
    model = small_model()
    assert as_enrolled(model, extract(model.frontend, [])).deviations == ()
