"""Speaker offsets: the MAP estimate worked by hand, and recovered from synthetic voices."""

from __future__ import annotations

import pytest
import torch
from tolerance import assert_near

from ser_fewshot.frontends import Features, stack
from ser_fewshot.learners import SpeakerModel, centred_support, fit_speaker_model, points, shifted, without_voice


def pooled(x: torch.Tensor) -> Features:
    return Features(x, torch.ones(len(x), dtype=torch.long))


def one_value(*, between: float, within: float, classes: float = 0.0) -> SpeakerModel:
    """Embeddings of one value."""
    matrices = (torch.tensor([[value]]) for value in (between, within, classes))
    return SpeakerModel(torch.ones(1, 1), *matrices, torch.tensor([[between], [within]]))


def voices(
    *, speakers: int = 30, takes: int = 8, n_way: int = 4, width: int = 6, seed: int = 0
) -> tuple[torch.Tensor, list[str], list[str], torch.Tensor]:
    """Embeddings, classes, speakers, and the offset of each clip's speaker (standard deviation 2, of clips 1)."""
    generator = torch.Generator().manual_seed(seed)
    means = 3 * torch.randn(n_way, width, generator=generator)
    offsets = 2 * torch.randn(speakers, width, generator=generator)
    rows = [(s, c) for s in range(speakers) for c in range(n_way) for _ in range(takes)]
    z = torch.stack([means[c] + offsets[s] for s, c in rows]) + torch.randn(len(rows), width, generator=generator)
    return z, [f"class {c}" for _, c in rows], [f"speaker {s}" for s, _ in rows], offsets[[s for s, _ in rows]]


def test_the_session_offset_is_the_shrunk_deviation():
    model = one_value(between=3.0, within=6.0)
    for n, share in ((1, 3 / 9), (2, 3 / 6), (6, 3 / 4)):
        assert model.session_offset(torch.tensor([2.0]), n).item() == pytest.approx(2 * share)


def test_the_offset_counts_the_covariance_of_classes_and_the_chance_of_the_enrolled_speaker():
    far, near = torch.tensor([40.0]), torch.tensor([0.0])
    model = one_value(between=3.0, within=6.0, classes=2.0)
    assert model.offset(far, 4, n_support=20).item() == pytest.approx(40 * 3 / (3 + 8 / 4 + 0.3 * 2), rel=1e-4)
    assert model.offset(near, 4, n_support=20).item() == 0
    # In between, the likelihood ratio of N(0, 2.9) and N(0, 5.9): noise 8 / 4 + 0.3 * 2, and 6 / 20.
    d = torch.tensor([1.0])
    log_ratio = (1 / 2.9 - 1 / 5.9) / 2 + torch.tensor(2.9 / 5.9).log() / 2
    assert model.offset(d, 4, n_support=20).item() == pytest.approx(float(log_ratio.sigmoid()) * 3 / 5.6, rel=1e-5)


def test_variances_are_found_again_and_offsets_recovered():
    z, classes, speakers, offsets = voices()
    model = fit_speaker_model(z, corpora=["c"] * len(z), classes=classes, speakers=speakers)
    assert model is not None
    assert model.variances[0].mean().item() == pytest.approx(4, rel=0.25)
    assert model.variances[1].mean().item() == pytest.approx(1, rel=0.1)
    means = torch.stack(
        [z[[row for row, name in enumerate(classes) if name == one]].mean(0) for one in sorted({*classes})]
    )
    for speaker in ("speaker 3", "speaker 20"):
        mine = [row for row, name in enumerate(speakers) if name == speaker]
        found = model.session_offset(z[mine].mean(0) - means.mean(0), len(mine))
        assert (found - (offsets[mine[0]] - offsets.mean(0))).norm() < 0.3 * offsets[mine[0]].norm()


def test_what_cannot_be_told_gives_no_model():
    z, classes, speakers, _ = voices(speakers=2)
    assert fit_speaker_model(z, corpora=["c"] * len(z), classes=classes, speakers=speakers) is None
    each = [f"{c} {s}" for c, s in zip(classes, speakers, strict=True)]  # every speaker has one class
    assert fit_speaker_model(z, corpora=["c"] * len(z), classes=classes, speakers=each) is None
    assert fit_speaker_model(z, corpora=["c"] * len(z), classes=classes, speakers=[None] * len(z)) is None


def test_a_support_is_centred_by_speaker_but_not_where_a_speaker_has_one_class():
    model = one_value(between=1e6, within=1.0)
    x = torch.tensor([[0.0], [10.0], [4.0], [14.0]])  # two speakers of two classes, 4 apart
    y = torch.tensor([0, 1, 0, 1])
    centred, means = centred_support(pooled(x), y, ["a", "a", "b", "b"], model)
    assert_near(centred.x, torch.tensor([[2.0], [12.0], [2.0], [12.0]]), relative=1e-3)
    assert_near(means, torch.tensor([[2.0], [12.0]]), relative=1e-3)
    for names in (["a", "b", "a", "b"], [None] * 4, ["a"] * 4):  # one class each; nobody knows; one speaker
        same, _ = centred_support(pooled(x), y, names, model)
        assert_near(same.x, x, relative=1e-4)


def test_frames_are_shifted_and_their_padding_stays():
    frames = stack([torch.ones(3, 2), torch.ones(1, 2)])
    moved = shifted(frames, torch.tensor([1.0, 0.5]))
    assert_near(moved.x[1], torch.tensor([[0.0, 0.5], [0.0, 0.0], [0.0, 0.0]]))
    assert_near(points(moved), torch.tensor([[0.0, 0.5], [0.0, 0.5]]))


def test_a_voice_far_from_the_support_comes_back_to_it():
    z, classes, speakers, _ = voices()
    model = fit_speaker_model(z, corpora=["c"] * len(z), classes=classes, speakers=speakers)
    assert model is not None
    means = torch.zeros(4, 6)
    far = torch.full((16, 6), 5.0)
    for session in (False, True):
        query = without_voice(pooled(far), pooled(far), means, model, n_support=20, session=session)
        assert query.x.norm() < 0.3 * far.norm()
