"""Fine-tuning: the head alone is a linear probe, and head and encoder are the same where the encoder's rate is 0."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from each import each
from sklearn.linear_model import LogisticRegression
from synthetic import DIM, batch
from tolerance import assert_near
from torch import Tensor, nn

from ser_fewshot.errors import AdaptationError, EpisodeError, SettingsError
from ser_fewshot.frontends import Features
from ser_fewshot.learners import Task, build_learner
from ser_fewshot.learners._linear_head import Standard, clip_weights
from ser_fewshot.learners.finetune import FineTuning, Settings

ENCODERS = each("encoder", ["dense", "conv", "statistics", "mean"])
LEARNING = each("encoder", ["dense", "conv"])
Y = torch.tensor([0, 0, 1, 2, 2, 2])
HEAD = {"rate": 0.5, "steps": 6, "penalty": 0.02}


def double(features: Features) -> Features:
    return Features(features.x.double(), features.lengths)


def finetune(encoder: str = "dense", **settings: Any) -> FineTuning:
    """Small, scaled, without dropout."""
    told = {"name": encoder, "channels": 6, "blocks": 1, "width": 5}
    learner = build_learner("finetune", DIM, {"encoder": told, "head": HEAD, **settings}, seed=3)
    assert isinstance(learner, FineTuning)
    learner.double().fit_scale(double(batch(30, seed=99)))
    return learner.eval()


def logits(learner: FineTuning, y: Tensor = Y) -> Tensor:
    with torch.no_grad():
        return learner.adapt(double(batch(len(y))), y)(double(batch(4, seed=1)))


@ENCODERS
def test_the_head_alone_is_the_linear_probe_of_scikit_learn(encoder):
    learner = finetune(encoder, head={"rate": 1.0, "steps": 5_000, "penalty": 0.05})
    with torch.no_grad():
        z, query = (learner.embed(double(part)).x for part in (batch(6), batch(4, seed=1)))
    standard = Standard.of(z, Y, 3)
    model = LogisticRegression(C=1 / 0.05, tol=1e-12, max_iter=100_000)
    weights = clip_weights(Y, 3, dtype=z.dtype).numpy()
    model.fit(standard(z).numpy(), Y.numpy(), sample_weight=weights)
    found = logits(learner).softmax(1).numpy()
    assert_near(found, model.predict_proba(standard(query).numpy()))


@ENCODERS
def test_head_and_encoder_are_the_head_alone_where_the_rate_of_the_encoder_is_0(encoder):
    whole, head = finetune(encoder, scope="whole", rate=0.0), finetune(encoder)
    assert_near(logits(whole), logits(head), relative=1e-8)


@LEARNING
def test_head_and_encoder_take_the_steps_of_plain_gradient_descent(encoder):
    learner, reference = (finetune(encoder, scope="whole", rate=0.02) for _ in range(2))
    support, query = double(batch(6)), double(batch(4, seed=1))
    body = reference.encoder
    standard = Standard.of(body(support).detach(), Y, 3)
    head = nn.Linear(body.width, 3).double()
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    rates = [{"params": body.parameters(), "lr": 0.02}, {"params": head.parameters(), "lr": HEAD["rate"]}]
    optimizer = torch.optim.SGD(rates)
    for _ in range(int(HEAD["steps"])):
        optimizer.zero_grad()
        answers = head(standard(body(support)))
        losses = [nn.functional.cross_entropy(answers[number == Y], Y[number == Y]) for number in range(3)]
        (sum(losses) + HEAD["penalty"] / 2 * head.weight.square().sum()).backward()
        optimizer.step()
    expected = head(standard(body(query))).detach()
    assert_near(logits(learner), expected, relative=1e-8)
    assert (expected - logits(finetune(encoder))).abs().max() > 1e-3


@LEARNING
def test_adapting_the_encoder_leaves_the_learner_as_it_was(encoder):
    learner = finetune(encoder, scope="whole", rate=0.02)
    before = {name: value.clone() for name, value in learner.state_dict().items()}
    answer = logits(learner)
    assert not answer.requires_grad
    assert all(torch.equal(value, before[name]) for name, value in learner.state_dict().items())
    assert all(parameter.grad is None for parameter in learner.parameters())
    assert torch.equal(logits(learner), answer)


@LEARNING
def test_permuted_classes_permute_the_logits_of_an_encoder_that_adapts(encoder):
    learner, permutation = finetune(encoder, scope="whole", rate=0.02), torch.tensor([2, 0, 1])
    plain, permuted = logits(learner), logits(learner, permutation[Y])
    assert_near(permuted[:, permutation], plain, relative=1e-8)


@LEARNING
def test_the_gradient_through_the_steps_of_the_encoder_is_right(encoder):
    learner = finetune(encoder, scope="whole", rate=0.05, head={**HEAD, "steps": 2})
    task = Task(double(batch(6)), Y, double(batch(4, seed=1)), torch.tensor([0, 1, 2, 2]))
    loss = learner.accumulate(task, 1.0)
    parameter = learner.encoder.get_parameter("project.bias")
    assert parameter.grad is not None
    for number in (0, 3):
        sides = []
        for step in (1e-5, -2e-5):
            with torch.no_grad():
                parameter[number] += step
                answers = learner.adapt(task.support, task.support_y)(task.query)
                sides.append(float(nn.functional.cross_entropy(answers, task.query_y)))
        with torch.no_grad():
            parameter[number] += 1e-5
        assert sides[0] + sides[1] == pytest.approx(2 * loss, rel=1e-6)
        assert float(parameter.grad[number]) == pytest.approx((sides[0] - sides[1]) / 2e-5, abs=1e-8)


def test_what_is_kept_of_clips_is_what_adapting_does_not_change():
    clips = double(batch(4))
    whole, head = finetune(scope="whole"), finetune()
    assert torch.equal(head.embed(clips).x, head.encoder(clips))
    assert torch.equal(whole.embed(clips).x, whole.encoder.prepare(clips).x)
    assert torch.equal(finetune("conv", scope="whole").embed(clips).x, clips.x)


def test_an_encoder_that_diverges_says_at_which_step():
    learner = finetune(scope="whole", rate=1e200)
    with pytest.raises(AdaptationError, match=r"inner step \d, at a learning rate of 0.5 to 1e\+200"):
        logits(learner)


def test_labels_that_make_no_task_are_refused_before_the_encoder_adapts():
    with pytest.raises(EpisodeError, match="support"):
        logits(finetune(scope="whole"), torch.tensor([0, 0, 2]))


def test_it_is_trained_on_classes_and_shows_what_it_adapts():
    learner = finetune(scope="whole", rate=0.125)
    assert learner.objectives == ("classes",)
    assert learner.supervision == {"task": 1.0}


@each("values", [{"scope": "body"}, {"rate": -1.0}, {"rate": math.nan}])
def test_settings_that_make_no_fine_tuning_are_refused(values):
    with pytest.raises(SettingsError, match=r"head \| whole"):
        Settings(**values)
