"""A lesson is made once: what is read again from its folder is what was written, or is made anew, or is refused."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from conftest import tone
from default_model import targets as targets_module
from default_model.targets import SPEEDS, DistillationSet, load_at_level, prepare_targets
from each import each
from tiny_encoders import tiny
from tolerance import assert_near
from torch import Tensor

from ser_fewshot.corpora import Utterance
from ser_fewshot.errors import AudioError, CheckpointError, SettingsError
from ser_fewshot.frontends import FrontEnd, analyse
from ser_fewshot.frontends.logmel import LogMel, Settings

STUDENT = LogMel(Settings(n_mels=12))
TEACHERS = [tiny("whisper").frontend(layer=layer, pooling="frames") for layer in (1, 2)]
WIDTH = 2 * 32
SECONDS = (0.5, 0.8, 0.62)
OWN = (1.0, 1.0)
"""Speeds of which the only one is a clip's own."""


@pytest.fixture(scope="module")
def utterances(tmp_path_factory: pytest.TempPathFactory) -> list[Utterance]:
    folder = tmp_path_factory.mktemp("clips")
    made = []
    for number, seconds in enumerate(SECONDS):
        path = folder / f"{number}.wav"
        soundfile.write(path, tone(seconds, hertz=200 + 150 * number, peak=0.05 * 4**number), 16_000, subtype="FLOAT")
        made.append(Utterance(f"made/{number}", path, "made", "anger", speaker=f"s{number}"))
    return made


@pytest.fixture(scope="module")
def folder(utterances: list[Utterance], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lesson that was made; only to be read."""
    made = tmp_path_factory.mktemp("lessons") / "a" / "lesson"
    prepare_targets(STUDENT, TEACHERS, utterances, folder=made)
    return made


@pytest.fixture(scope="module")
def lesson(utterances: list[Utterance], folder: Path) -> DistillationSet:
    return prepare_targets(STUDENT, TEACHERS, utterances, folder=folder)


def assert_equal(found: DistillationSet, expected: DistillationSet) -> None:
    assert found.features.utterances == expected.features.utterances
    assert found.features.skipped == expected.features.skipped
    for ours, theirs in ((found.features.clips, expected.features.clips), (found.targets, expected.targets)):
        assert len(ours) == len(theirs)
        assert all(torch.equal(x, y) for x, y in zip(ours, theirs, strict=True))


def times(folder: Path) -> dict[str, int]:
    """When each file was last written."""
    return {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}


def levelled(wave: Any) -> Tensor:
    """(samples,) at a root mean square of 0.05."""
    return torch.from_numpy((wave / np.sqrt(np.mean(wave**2)) * 0.05).astype(np.float32))


def forbidden(*_: Any) -> Any:
    raise AssertionError("clips were analysed")


def killed(target: Path, _: str) -> None:
    raise KeyboardInterrupt(target.name)


# What is in it


def test_every_clip_is_there_once_with_what_both_teachers_made_of_it_in_half_precision(lesson, utterances):
    assert lesson.features.utterances == tuple(utterances)
    assert len(lesson.features.clips) == len(lesson.targets) == 3
    assert lesson.features.skipped == ()
    for clip, target in zip(lesson.features.clips, lesson.targets, strict=True):
        assert (clip.shape[1], clip.dtype) == (12, torch.float32)
        assert (target.shape[1], target.dtype) == (WIDTH, torch.float16)
        assert abs(len(clip) - 2 * len(target)) <= 4  # 10 ms and 20 ms


def test_at_its_own_speed_a_clip_is_what_student_and_teachers_make_of_it_at_one_level(utterances, tmp_path):
    own = prepare_targets(STUDENT, TEACHERS, utterances, folder=tmp_path, speeds=OWN)
    waves = [levelled(tone(seconds, hertz=200 + 150 * row, peak=0.05 * 4**row)) for row, seconds in enumerate(SECONDS)]
    for row, clip in enumerate(analyse(STUDENT, waves)):
        assert_near(own.features.clips[row], clip, relative=0.001)
    parts = [analyse(teacher, waves) for teacher in TEACHERS]
    for row, sides in enumerate(zip(*parts, strict=True)):
        assert_near(own.targets[row].float(), torch.cat(sides, 1), relative=0.002)


def test_each_clip_is_played_at_the_speed_drawn_for_its_id(lesson):
    speeds = (0.9321, 1.0050, 1.0220)
    for row, (seconds, speed) in enumerate(zip(SECONDS, speeds, strict=True)):
        assert SPEEDS[0] <= speed <= SPEEDS[1]
        clip = lesson.features.clips[row]
        assert len(clip) == pytest.approx(1 + 100 * seconds / speed, abs=1)
        # A tone played so is the same tone at so many times the frequency.
        [same] = analyse(STUDENT, [levelled(tone(seconds / speed, hertz=speed * (200 + 150 * row)))])
        n = min(len(same), len(clip)) - 3  # the last frames hear where a resampler stops
        audible = same[3:n] > same.max() - 7  # 30 dB
        assert_near(clip[3:n][audible], same[3:n][audible], relative=0.1)


def test_slower_is_longer_and_lower(utterances, tmp_path):
    slow, fast = (
        prepare_targets(STUDENT, TEACHERS, utterances[2:], folder=tmp_path / f"{speed}", speeds=(speed, speed))
        for speed in (0.8, 1.25)
    )
    assert [len(x.features.clips[0]) for x in (slow, fast)] == pytest.approx([62 / 0.8, 62 / 1.25], abs=2)
    assert [len(x.targets[0]) for x in (slow, fast)] == pytest.approx([31 / 0.8, 31 / 1.25], abs=2)
    assert _pitch(slow.features.clips[0]) < _pitch(fast.features.clips[0]) - 0.5


def _pitch(clip: Tensor) -> float:
    """The centre of power over the bands."""
    power = clip.exp().mean(0)
    return float((power * torch.arange(len(power))).sum() / power.sum())


def test_labels_are_not_looked_at(utterances, folder, lesson):
    nameless = [replace(item, speaker=None, emotion=None) for item in utterances]
    made = prepare_targets(STUDENT, TEACHERS, nameless, folder=folder)  # who speaks how changes no sound
    assert made.features.utterances == tuple(nameless)
    assert all(torch.equal(x, y) for x, y in zip(made.targets, lesson.targets, strict=True))


def test_the_company_that_a_clip_is_analysed_in_is_of_no_matter(lesson, utterances, tmp_path, monkeypatch):
    seen: list[list[int]] = []

    def track(steps: Any, name: str) -> Any:
        seen.append(list(steps))
        assert name == "clips"
        return steps

    monkeypatch.setattr(targets_module, "_BATCH_CLIPS", 2)
    made = prepare_targets(STUDENT, TEACHERS, utterances, folder=tmp_path, track=track)
    assert seen == [[0, 2]]
    assert made.features.utterances == lesson.features.utterances
    pairs = zip((*made.features.clips, *made.targets), (*lesson.features.clips, *lesson.targets), strict=True)
    for ours, theirs in pairs:
        assert_near(ours.float(), theirs.float(), relative=0.002)


def test_a_clip_is_heard_at_one_level_and_at_its_own_speed_unless_another_is_asked_for(utterances):
    for row, seconds in enumerate(SECONDS):
        own = load_at_level(utterances[row])
        assert (own.dtype, len(own)) == (np.float32, pytest.approx(16_000 * seconds, abs=1))
        expected = levelled(tone(seconds, hertz=200 + 150 * row, peak=0.05 * 4**row)).numpy()
        assert_near(own, expected, relative=0.001)
        for speed in (0.8, 1.25):
            other = load_at_level(utterances[row], speed)
            assert (other.dtype, len(other)) == (np.float32, pytest.approx(16_000 * seconds / speed, abs=1))
            assert float(np.sqrt(np.mean(other**2))) == pytest.approx(0.05, rel=1e-3)


@pytest.mark.parametrize("sound", [b"no sound", None])
def test_what_is_no_sound_or_silent_is_not_load_at_level(sound, tmp_path):
    path = tmp_path / "bad.wav"
    if sound is None:
        soundfile.write(path, np.zeros(16_000), 16_000)
    else:
        path.write_bytes(sound)
    with pytest.raises(AudioError, match=r"bad\.wav"):
        load_at_level(Utterance("made/bad", path, "made"))


# Clips that cannot be used


@pytest.fixture
def with_bad(utterances: list[Utterance], tmp_path: Path) -> list[Utterance]:
    """Five clips, of which the first is no sound and the fourth is too short."""
    (tmp_path / "bad.wav").write_bytes(b"no sound")
    bad = Utterance("made/bad", tmp_path / "bad.wav", "made")
    short = replace(utterances[2], id="made/short", start=0.1, end=0.15)
    return [bad, *utterances[:2], short, utterances[2]]


def test_a_clip_that_cannot_be_used_is_skipped_and_told_with_its_reason(with_bad, utterances, tmp_path):
    made = prepare_targets(STUDENT, TEACHERS, with_bad, folder=tmp_path / "lesson", speeds=OWN)
    assert made.features.utterances == tuple(utterances)
    assert [item.path for item in made.features.skipped] == [with_bad[0].path, with_bad[3].path]
    assert [("bad.wav" in x.reason, "at least 0.1 s" in x.reason) for x in made.features.skipped] == [
        (True, False),
        (False, True),
    ]
    good = prepare_targets(STUDENT, TEACHERS, utterances, folder=tmp_path / "good", speeds=OWN)
    assert all(torch.equal(x, y) for x, y in zip(made.features.clips, good.features.clips, strict=True))
    assert all(torch.equal(x, y) for x, y in zip(made.targets, good.targets, strict=True))


def test_what_was_skipped_is_known_when_the_lesson_is_read_again(with_bad, tmp_path, monkeypatch):
    made = prepare_targets(STUDENT, TEACHERS, with_bad, folder=tmp_path / "lesson")
    monkeypatch.setattr(targets_module, "analyse", forbidden)
    again = prepare_targets(STUDENT, TEACHERS, with_bad, folder=tmp_path / "lesson")
    assert len(again.features.skipped) == 2
    assert_equal(again, made)


def test_a_clip_has_its_speed_whichever_clips_stand_beside_it(with_bad, lesson, tmp_path):
    for name, clips in (("all", with_bad), ("some", with_bad[2:])):
        made = prepare_targets(STUDENT, TEACHERS, clips, folder=tmp_path / name)
        lengths = dict(
            zip((item.id for item in lesson.features.utterances), map(len, lesson.features.clips), strict=True)
        )
        found = zip(made.features.utterances, made.features.clips, strict=True)
        assert all(len(clip) == lengths[item.id] for item, clip in found)


def test_a_whole_batch_of_clips_that_cannot_be_used_costs_the_others_nothing(
    with_bad, utterances, tmp_path, monkeypatch
):
    monkeypatch.setattr(targets_module, "_BATCH_CLIPS", 1)
    made = prepare_targets(STUDENT, TEACHERS, with_bad, folder=tmp_path / "lesson")
    assert made.features.utterances == tuple(utterances)


# On disk


def test_a_lesson_is_two_arrays_and_their_seal(folder, lesson):
    assert sorted(times(folder)) == ["clips.npy", "lesson.json", "targets.npy"]
    told = json.loads((folder / "lesson.json").read_text())
    assert told["clips"] == [len(clip) for clip in lesson.features.clips]
    assert told["targets"] == [len(target) for target in lesson.targets]
    assert (told["rows"], told["skipped"]) == ([0, 1, 2], {})


def test_the_arrays_are_read_from_disk_as_they_are_needed(utterances, folder, monkeypatch):
    opened: list[Any] = []
    load = np.load
    monkeypatch.setattr(np, "load", lambda *told, **more: opened.append(load(*told, **more)) or opened[-1])
    prepare_targets(STUDENT, TEACHERS, utterances, folder=folder)
    assert [type(array) for array in opened] == [np.memmap] * 2


def test_the_second_time_it_is_read_and_nothing_is_analysed(lesson, utterances, folder, monkeypatch):
    monkeypatch.setattr(targets_module, "analyse", forbidden)
    before = times(folder)
    assert_equal(prepare_targets(STUDENT, TEACHERS, utterances, folder=folder), lesson)
    assert times(folder) == before


def test_the_same_clips_make_the_same_lesson_elsewhere(lesson, utterances, tmp_path):
    assert_equal(prepare_targets(STUDENT, TEACHERS, utterances, folder=tmp_path), lesson)


Told = tuple[FrontEnd, Sequence[FrontEnd], Sequence[Utterance], tuple[float, float]]


@each(
    "other",
    [
        lambda clips: (STUDENT, TEACHERS, clips[:2], SPEEDS),
        lambda clips: (STUDENT, TEACHERS, [clips[1], clips[0], clips[2]], SPEEDS),
        lambda clips: (STUDENT, TEACHERS, [replace(clips[0], start=0.1), *clips[1:]], SPEEDS),
        lambda clips: (LogMel(Settings(n_mels=13)), TEACHERS, clips, SPEEDS),
        lambda clips: (STUDENT, TEACHERS[::-1], clips, SPEEDS),
        lambda clips: (STUDENT, TEACHERS, clips, (0.8, 1.2)),
    ],
)
def test_a_folder_of_other_clips_or_front_ends_is_refused_and_left_alone(other, utterances, folder):
    told: Told = other(utterances)
    student, teachers, clips, speeds = told
    before = times(folder)
    with pytest.raises(CheckpointError, match="other clips or other sound, by other front-ends"):
        prepare_targets(student, teachers, clips, folder=folder, speeds=speeds)
    assert times(folder) == before


def test_a_clip_whose_sound_was_replaced_is_not_taken_from_the_folder(utterances, tmp_path):
    path = tmp_path / "own.wav"
    clip = replace(utterances[0], path=path)
    for hertz in (200, 300):
        soundfile.write(path, tone(0.5, hertz=hertz), 16_000, subtype="FLOAT")
        if hertz == 200:
            prepare_targets(STUDENT, TEACHERS, [clip], folder=tmp_path / "lesson")
    with pytest.raises(CheckpointError, match="other sound"):
        prepare_targets(STUDENT, TEACHERS, [clip], folder=tmp_path / "lesson")


def test_a_kill_between_the_arrays_and_their_seal_leaves_nothing_that_is_taken_for_a_lesson(
    lesson, utterances, tmp_path, monkeypatch
):
    with monkeypatch.context() as patch:
        patch.setattr(targets_module, "write_atomically", killed)
        with pytest.raises(KeyboardInterrupt, match=r"lesson\.json"):
            prepare_targets(STUDENT, TEACHERS, utterances, folder=tmp_path)
    assert not list(tmp_path.glob("*.json"))
    np.save(tmp_path / "clips.npy", np.zeros((3, 12), dtype=np.float32))  # as if it had been killed at half of it
    assert_equal(prepare_targets(STUDENT, TEACHERS, utterances, folder=tmp_path), lesson)


# What is refused


def test_teachers_that_count_frames_differently_are_refused(utterances, tmp_path):
    pooled = tiny("whisper").frontend(layer=2, pooling="mean")
    with pytest.raises(SettingsError, match=r"teachers: found \d+ and 1 frames.*pooling 'frames'"):
        prepare_targets(STUDENT, [TEACHERS[0], pooled], utterances, folder=tmp_path / "lesson")
    assert not (tmp_path / "lesson").exists()


def test_a_folder_that_cannot_be_written_is_refused_by_one_line(utterances, tmp_path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(SettingsError, match="written"):
        prepare_targets(STUDENT, TEACHERS, utterances, folder=tmp_path / "file" / "lesson")
