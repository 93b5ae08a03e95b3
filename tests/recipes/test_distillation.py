"""A student learns what its teacher made of the same moment of a clip, and no kill changes where it ends."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from default_model.distillation import Distillation
from each import each
from synthetic import DIM, corpus, frames
from torch import Tensor

from ser_fewshot.encoders import STRIDE, Discriminant, Transformer
from ser_fewshot.episodes import EpisodeSpec
from ser_fewshot.errors import CheckpointError, SettingsError
from ser_fewshot.frontends import FeatureSet
from ser_fewshot.learners import Learner, build_learner
from ser_fewshot.storage.tensors import read_tensors
from ser_fewshot.training import TrainSettings, loop, train
from ser_fewshot.training.augmentation import NO_AUGMENTATION, Augmentation

TEACHER = 3  # values in a frame of the teacher
ENCODER = {"name": "transformer", "channels": 8, "blocks": 1, "width": 2 * TEACHER}
SETTINGS = TrainSettings(
    tasks=(EpisodeSpec(n_way=3, k_shot=2, n_query=2),),
    epochs=2,
    steps=3,
    batch_clips=8,
    learning_rate=3e-3,
    validation_episodes=3,
    seed=5,
)


def clips(*, takes: int = 2) -> FeatureSet:
    """Clips of 12 to 39 frames, a third of a second."""
    return corpus(takes=takes)


def taught(features: FeatureSet) -> list[Tensor]:
    """What a teacher made of clips, in half precision: for every two frames, three sums over bands."""
    weight = torch.randn(DIM, TEACHER, generator=torch.Generator().manual_seed(0)) / 3
    pairs = [clip[: len(clip) // 2 * 2].unflatten(0, (-1, 2)).mean(1) for clip in features.clips]
    return [(pair @ weight + 2.0).half() for pair in pairs]


def learner(**told: Any) -> Learner:
    return build_learner("ridge", DIM, {"encoder": {**ENCODER, **told}}, seed=1)


def objective(features: FeatureSet, targets: Sequence[Tensor], **told: Any) -> Distillation:
    return Distillation(learner(), features, replace(SETTINGS, **told), targets)


def go(
    run: Path, *, resume: bool = False, settings: TrainSettings = SETTINGS, validation: FeatureSet | None = None
) -> tuple[Learner, list[dict[str, float]]]:
    trained = learner()
    history = train(
        trained,
        clips(),
        validation,
        settings=settings,
        run=run,
        objective=partial(Distillation, targets=taught(clips())),
        resume=resume,
    )
    return trained, history


# Learning


def test_the_loss_falls_on_an_easy_lesson_and_the_embedding_becomes_what_the_teacher_says(tmp_path):
    features, settings = (
        clips(),
        replace(SETTINGS, epochs=3, steps=25, learning_rate=1e-2, augmentation=NO_AUGMENTATION),
    )
    trained, history = go(tmp_path, settings=settings)
    assert history[-1]["loss"] < 0.6 * history[0]["loss"]
    wanted = torch.stack([torch.cat([x.mean(0), x.std(0, correction=0)]) for x in map(Tensor.float, taught(features))])
    with torch.no_grad():
        found = trained.encoder(features.batch(range(len(features))))
    new = learner()
    new.fit_scale(features.batch(range(len(features))))
    with torch.no_grad():
        before = new.encoder(features.batch(range(len(features))))
    off, off_before = (((z - wanted) / wanted.std(0)).square().mean() for z in (found, before))
    assert off < 1
    assert off_before > 5


@pytest.mark.parametrize("judged", [False, True])
def test_no_label_takes_part_but_in_judging(judged, tmp_path):
    features = clips()
    validation = corpus(seed=1) if judged else None
    unlabelled = tuple(replace(item, emotion=None, speaker=None) for item in features.utterances)
    _, history = go(tmp_path / "labelled", validation=validation)
    assert ("validation_uar" in history[0]) == judged
    trained = learner()
    again = train(
        trained,
        FeatureSet(unlabelled, features.clips),
        validation,
        settings=SETTINGS,
        run=tmp_path / "unlabelled",
        objective=partial(Distillation, targets=taught(features)),
    )
    assert again == history


def test_nothing_is_trained_that_would_be_thrown_away(tmp_path):
    made = objective(clips(), taught(clips()))
    assert [id(parameter) for parameter in made.parameters()] == [id(own) for own in made.learner.parameters()]
    trained, _ = go(tmp_path)
    assert set(trained.state_dict()) == set(learner().state_dict())


def moments_of(x: Tensor) -> Tensor:
    return torch.cat([x.mean(0), (x.var(0, correction=0) + 1e-6).sqrt()])


def bounded(value: float) -> float:
    """The square of what is off by up to three standard deviations, and from there on its tangent."""
    return value**2 if abs(value) <= 3 else 9 + 6 * (abs(value) - 3)


def test_the_loss_is_that_of_every_frame_and_of_the_clip_by_a_plain_loop():
    features = clips()
    made = objective(features, taught(features), augmentation=NO_AUGMENTATION, batch_clips=3)
    made.learner.fit_scale(features.batch(range(len(features))))
    with torch.no_grad():
        made.learner.encoder.layer_heads[0].bias.add_(
            1.0
        )  # so that some is further off than three deviations, and some not
    loss = made.accumulate(0, torch.Generator().manual_seed(0))
    made.requires_grad_(False)
    targets = [x.float() for x in taught(features)]
    frame_scale = torch.cat(targets).std(0)
    clip_scale = torch.stack([moments_of(x) for x in targets]).std(0)
    per_frame, per_clip = [], []
    for row in made._rows(0):
        n = min(len(features.clips[row]) // 2, len(targets[row]))
        batch = FeatureSet((features.utterances[row],), (features.clips[row][: 2 * n],)).batch([0])
        said, _ = made.learner.encoder.frames(batch)
        x = targets[row][:n]
        per_frame += ((said[0] - x) / frame_scale).flatten().tolist()
        per_clip += ((moments_of(said[0]) - moments_of(x)) / clip_scale).tolist()
    off = [abs(value) > 3 for value in per_frame]
    assert any(off)
    assert not all(off)
    expected = sum(map(bounded, per_frame)) / len(per_frame) + sum(map(bounded, per_clip)) / len(per_clip)
    assert loss == pytest.approx(expected, rel=1e-4)


def test_an_outburst_of_the_teacher_counts_by_its_size_and_not_by_its_square():
    features, wanted = numbered(*[40] * 8)
    targets = [torch.zeros_like(target) for target in wanted]
    targets[2][7] = 60_000.0
    made = objective(features, targets, augmentation=NO_AUGMENTATION)
    with torch.no_grad():
        for parameter in made.learner.encoder.layer_heads.parameters():
            parameter.zero_()
    # One of 160 frames is off, by sqrt(160) = 12.65 standard deviations, which count 6 * 12.65 - 9; of eight clips one,
    # in mean and in deviation, by sqrt(8) = 2.83, which counts 8.
    expected = (6 * 160**0.5 - 9) / 160 + 8 / 8
    assert made.accumulate(0, torch.Generator().manual_seed(0)) == pytest.approx(expected, rel=1e-4)


def test_what_the_embedding_is_scaled_by_takes_no_part_in_what_is_learned():
    features = clips()
    losses = []
    for scale in (1.0, 100.0):
        made = objective(features, taught(features), augmentation=NO_AUGMENTATION)
        made.learner.encoder.scale.fill_(scale)
        losses.append(made.accumulate(0, torch.Generator().manual_seed(0)))
    assert losses[0] == losses[1]


# Which parts, in which order


def numbered(*lengths: int) -> tuple[FeatureSet, list[Tensor]]:
    """Clips whose frames hold their number, and a teacher's of the same moments: one for two."""
    utterances = corpus().utterances[: len(lengths)]
    x = [torch.arange(length).float()[:, None].expand(-1, DIM) for length in lengths]
    wanted = [clip[::2, :TEACHER].half() for clip in x]
    return FeatureSet(utterances, tuple(x)), wanted


def test_the_parts_of_clip_and_target_are_the_same_beginning():
    made = objective(*numbered(400, 203, 61))
    for row in (0, 1):
        part, wanted = made._part(row, 20)
        assert torch.equal(part[:, 0], torch.arange(40.0))
        assert torch.equal(part[::2, :TEACHER], wanted)
    part, wanted = made._part(2, 200)  # a shorter clip is used whole, but for what makes no whole frame
    assert torch.equal(part[:, 0], torch.arange(60.0))
    assert torch.equal(part[::2, :TEACHER], wanted)
    assert wanted.dtype == torch.float32


@each(("clip", "target", "n"), [(40, 20, 20), (43, 21, 21), (43, 22, 21), (43, 19, 19), (37, 30, 18)])
def test_a_teacher_that_heard_a_little_more_or_less_is_cut_to_what_both_heard(clip, target, n):
    features = FeatureSet(corpus().utterances[:2], (frames(0, n_frames=clip), frames(1, n_frames=50)))
    made = objective(features, [torch.randn(target, TEACHER).half(), torch.randn(25, TEACHER).half()])
    part, wanted = made._part(0, 100)
    assert (len(part), len(wanted)) == (STRIDE * n, n)
    assert torch.equal(part, features.clips[0][: 2 * n])


def test_a_batch_is_given_parts_no_longer_than_the_augmentation_allows_and_never_another_tempo(monkeypatch):
    seen: list[Any] = []
    features = FeatureSet(corpus().utterances[:8], tuple(frames(n, n_frames=200) for n in range(8)))
    made = objective(features, taught(features), augmentation=Augmentation(max_seconds=0.51, tempo=0.3))
    forward = Transformer.frames
    monkeypatch.setattr(Transformer, "frames", lambda self, x: (seen.append(x), forward(self, x))[1])
    made.accumulate(0, torch.Generator().manual_seed(0))
    assert seen[0].lengths.tolist() == [50] * 8  # the last whole frame of the student within 51 frames


def test_every_clip_is_met_once_a_pass_in_another_order_each_time():
    features = clips()
    made = objective(features, taught(features), batch_clips=4)
    passes = [[row for step in range(12) for row in made._rows(12 * number + step)] for number in range(2)]
    assert [sorted(rows) for rows in passes] == [list(range(48))] * 2
    assert passes[0] != passes[1]


def test_what_whole_batches_leave_over_is_left_out_at_random_and_not_by_its_length():
    features = clips(takes=4).subset(clips(takes=4).utterances[:94])
    made = objective(features, taught(features), batch_clips=5)  # 18 batches, of which the last two are sorted apart
    left: Counter[int] = Counter()
    for number in range(200):
        met = [row for step in range(18) for row in made._rows(18 * number + step)]
        assert len(met) == len(set(met)) == 90
        left.update(set(range(94)) - set(met))
    assert set(left) == set(range(94))
    lengths = [len(target) for target in made.targets]
    mean = sum(lengths[row] * times for row, times in left.items()) / left.total()
    assert mean == pytest.approx(sum(lengths) / 94, abs=0.5)  # of 6 to 19 frames


def test_clips_of_like_length_make_a_batch():
    features = clips(takes=8)
    made = objective(features, taught(features), batch_clips=4)
    spread = [
        max(lengths) - min(lengths)
        for step in range(48)
        if (lengths := [len(made.targets[row]) for row in made._rows(step)])
    ]
    assert sum(spread) / len(spread) < 3  # of lengths from 6 to 19


def test_fewer_clips_than_a_batch_are_all_of_them_every_time():
    made = objective(*numbered(40, 60, 50), batch_clips=8)
    assert [sorted(made._rows(step)) for step in range(3)] == [[0, 1, 2]] * 3


# Runs


def test_a_run_that_was_killed_ends_where_an_unbroken_one_does_bit_for_bit(tmp_path, monkeypatch):
    unbroken, _ = go(tmp_path / "unbroken")
    step = loop._Trainer.step

    def killed(trainer: Any, done: int) -> float:
        if done == 4:
            raise KeyboardInterrupt
        return step(trainer, done)

    with monkeypatch.context() as patch:
        patch.setattr(loop._Trainer, "step", killed)
        with pytest.raises(KeyboardInterrupt):
            go(tmp_path / "broken")
    assert len((tmp_path / "broken" / "log.jsonl").read_text().splitlines()) == 1
    resumed, _ = go(tmp_path / "broken", resume=True)
    for name, tensor in unbroken.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], tensor), name
    first, second = (read_tensors(tmp_path / run / "checkpoint.safetensors") for run in ("unbroken", "broken"))
    assert first[1] == second[1]
    assert [name for name in first[0] if not torch.equal(first[0][name], second[0][name])] == []


def test_a_run_of_another_objective_is_not_resumed(tmp_path):
    go(tmp_path)
    with pytest.raises(CheckpointError, match="different settings"):
        train(learner(), clips(), corpus(seed=1), settings=SETTINGS, run=tmp_path, resume=True)


def test_the_encoder_inside_directions_is_what_is_taught():
    features = clips()
    wrapped = learner(discriminant=2)
    made = Distillation(wrapped, features, SETTINGS, taught(features))
    assert isinstance(wrapped.encoder, Discriminant)
    assert made._student() is wrapped.encoder.inner
    made.accumulate(0, torch.Generator().manual_seed(0))
    assert all(parameter.grad is not None for parameter in wrapped.encoder.inner.parameters())


# What is refused


def test_missing_targets_and_wrong_widths_are_refused():
    features = clips()
    targets = taught(features)
    for wrong, match in (
        ((), ", 0 targets"),
        (targets[:-1], f"for {len(targets)} clips, {len(targets) - 1} targets"),
        ([x[:, :2] for x in targets], r"found 3 values a frame for .* targets of 2.*expected a width of 4"),
    ):
        with pytest.raises(SettingsError, match=match):
            objective(features, wrong)


@each("name", ["conv", "statistics"])
def test_an_encoder_that_cannot_be_taught_is_refused(name):
    features = clips()
    with pytest.raises(SettingsError, match="expected the encoder 'transformer'"):
        Distillation(learner(name=name), features, SETTINGS, taught(features))


def test_the_objective_leaves_the_global_generator_as_it_was():
    before = torch.random.get_rng_state()
    objective(clips(), taught(clips()))
    assert torch.equal(torch.random.get_rng_state(), before)
