"""The first minute: enrol three emotions, add a fourth, recognise other voices, and leave a page that says so."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from synthetic import CALIBRATION

from ser_fewshot.cli import main as cli
from ser_fewshot.corpora import read_manifest
from ser_fewshot.errors import CorpusError, EpisodeError, SettingsError
from ser_fewshot.models import ModelConfig, build_model, save_model
from ser_fewshot.quickstart import DEMO_MANIFEST, QuickstartResult, quickstart

EMOTIONS = {"anger", "boredom", "fear", "happiness", "sadness"}


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    """A model that is quick and needs no training."""
    folder = tmp_path_factory.mktemp("quickstart") / "model"
    save_model(build_model(ModelConfig(learner="nearest", settings={"encoder": {"name": "mean"}})), folder, card="")
    return folder


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch) -> None:
    """A cache that all tests share and no user's cache is."""
    monkeypatch.setenv("SER_FEWSHOT_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture
def call(model, tmp_path):
    """Run it with the quick model and few episodes; return the result and its story."""

    def run(**options: object) -> tuple[QuickstartResult, list[str]]:
        story: list[str] = []
        result = quickstart(
            **{"model": model, "out": tmp_path / "r.html", "n_episodes": 5, "say": story.append, **options}
        )
        return result, story

    return run


def planted(root: Path, *, emotions: int = 5) -> Path:
    """A corpus of one folder an emotion and one a speaker below it, made of the demo clips."""
    for clip in sorted(DEMO_MANIFEST.parent.glob("*.ogg")):
        emotion, speaker, _ = clip.stem.split("_")
        if emotion in sorted(EMOTIONS)[:emotions]:
            folder = root / emotion / speaker
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copy(clip, folder)
    return root


def test_the_story_holds_together_and_the_page_says_the_same(call, tmp_path):
    result, story = call()
    assert (result.corpus, result.synthetic, result.clips, result.skipped) == ("demo", True, 80, 0)
    assert len(result.enrolled) == 3
    assert {*result.enrolled, result.added} < EMOTIONS
    assert result.queries == len(result.predictions) == 16
    assert result.correct == sum(truth == prediction.label for _, truth, prediction in result.predictions)
    assert (result.episodes, result.chance) == (5, 0.25)
    assert 0 <= result.uar <= 1
    text = "\n".join(story)
    for part in (
        "SYNTHETIC",
        f"Enrolled {', '.join(result.enrolled)} from 5 clips each",
        f"Clips of {result.added}, which nobody has taught it yet",
        f"Added {result.added} from 5 clips",
        f"Recognised {result.correct} of 16",
        "% sure",
        f"UAR {100 * result.uar:.1f} ±",
        "chance 25 %",
        f"Report: {result.report}",
    ):
        assert part in text
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    for part in (
        f"{100 * result.uar:.1f} ±",
        "SYNTHETIC",
        f"Added {result.added}",
        'class="confusion"',
        "<svg",
        *(clip for clip, _, _ in result.predictions),
        *result.enrolled,
    ):
        assert part in page


def test_a_calibrated_model_says_how_many_clips_of_the_fourth_emotion_are_unknown(call, tmp_path):
    always = replace(CALIBRATION, novelty=(1e6, *(0.0,) * 9))
    config = ModelConfig(learner="nearest", settings={"encoder": {"name": "mean"}}, calibration=always)
    save_model(build_model(config), tmp_path / "model", card="")
    result, story = call(model=tmp_path / "model")
    assert "It calls 4 of these 4 unknown." in story
    assert all(prediction.unknown for _, _, prediction in result.predictions)


def test_the_fourth_emotion_was_new_and_the_voices_were_not_enrolled(call):
    result, _ = call(seed=3)
    speaker = {clip.path.name: clip.speaker for clip in read_manifest(DEMO_MANIFEST).utterances}
    enrolled = {prediction.nearest.name for _, _, prediction in result.predictions}
    asked = {clip for clip, _, _ in result.predictions}
    assert {speaker[name] for name in enrolled}.isdisjoint(speaker[name] for name in asked)
    nearest = [prediction.nearest for _, _, prediction in result.predictions]
    assert all(clip.name.startswith(f"{clip.label}_") for clip in nearest)
    assert result.added in {clip.label for clip in nearest}
    assert {truth for _, truth, _ in result.predictions} == {*result.enrolled, result.added}
    assert all(
        set(prediction.probabilities) == {*result.enrolled, result.added} for _, _, prediction in result.predictions
    )


def test_the_same_seed_gives_the_same_run_and_the_same_page(call, tmp_path):
    first, _ = call(out=tmp_path / "a.html", seed=1)
    again, _ = call(out=tmp_path / "b.html", seed=1)
    other, _ = call(out=tmp_path / "c.html", seed=2)
    assert (
        (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes() != (tmp_path / "c.html").read_bytes()
    )
    assert first.predictions == again.predictions != other.predictions


def test_a_corpus_of_ones_own_will_do_and_what_cannot_be_read_is_said(call, tmp_path):
    root = planted(tmp_path / "mine [b] <i>")
    (root / "fear/bad.wav").write_text("no sound")
    result, story = call(corpus="folder", root=root)
    assert (result.corpus, result.synthetic, result.clips, result.skipped) == ("folder", False, 80, 1)
    assert "80 clips of folder (1 files were skipped" in story[0]
    assert "SYNTHETIC" not in "".join(story)


def test_clips_that_only_the_analysis_finds_unusable_are_left_out(call, tmp_path):
    root = planted(tmp_path / "mine")
    for clip in root.glob("*/en-[fm]*/*.ogg"):  # two of the eight voices fall silent
        soundfile.write(clip.with_suffix(".wav"), np.zeros(16_000), 16_000)
        clip.unlink()
    result, _ = call(corpus="folder", root=root, n_episodes=20)
    assert (result.clips, result.skipped) == (60, 20)


def test_a_learner_without_embeddings_has_a_map_too(call, monkeypatch):
    monkeypatch.setattr("ser_fewshot.quickstart.embed_clips", lambda learner, clips: list(clips))  # frames, as they are
    result, _ = call()
    assert Path(result.report).exists()


def test_a_corpus_that_is_not_there_or_has_too_few_emotions_is_refused(call, tmp_path):
    for options, error, complaint in (
        ({"corpus": "emodb"}, SettingsError, "--corpus without --root"),
        ({"root": Path("x")}, SettingsError, "--root without --corpus"),
        ({"corpus": "emodbb", "root": Path("x")}, SettingsError, "Did you mean 'emodb'"),
        ({"corpus": "emodb", "root": Path("nowhere")}, CorpusError, "no folder"),
        (
            {"corpus": "folder", "root": planted(tmp_path / "mine", emotions=3)},
            EpisodeError,
            "your clips with 'enroll'",
        ),
    ):
        with pytest.raises(error, match=complaint):
            call(**options)
    assert not (tmp_path / "r.html").exists()


def test_a_corpus_of_which_nothing_can_be_read_is_refused(call, tmp_path):
    root = planted(tmp_path / "mine")
    table = tmp_path / "t.csv"
    rows = DEMO_MANIFEST.read_text().splitlines()
    table.write_text("\n".join([rows[0], *(f"mine/{row}" for row in rows[1:])]))
    with pytest.raises(EpisodeError, match="quickstart: found 0"):
        call(corpus="table", root=table)
    for clip in root.rglob("*.ogg"):
        # A good header, so that the scan takes it, and not a sample behind it.
        clip.with_suffix(".wav").write_bytes(
            b"RIFF$\0\0\0WAVEfmt \x10\0\0\0\1\0\1\0\x80>\0\0\0}\0\0\2\0\x10\0data\0\0\0\0"
        )
        clip.unlink()
    with pytest.raises((CorpusError, EpisodeError)):
        call(corpus="folder", root=root)


def test_the_command_runs_on_the_default_model(capsys, tmp_path):
    assert cli.main(["quickstart", "--episodes", "3", "--out", str(tmp_path / "deep/r.html")]) == 0
    out, err = capsys.readouterr()
    assert "Recognised" in out
    assert "% sure" in out
    assert err == ""
    assert (tmp_path / "deep/r.html").stat().st_size > 5_000


def test_the_command_answers_a_program(capsys, model, tmp_path):
    options = ["--episodes", "1", "--out", str(tmp_path / "r.html"), "--model", str(model), "--json"]
    assert cli.main(["quickstart", *options]) == 0
    answer = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert (answer["synthetic"], answer["episodes"], answer["ci95"]) == (True, 1, None)
    assert len(answer["predictions"]) == 16
    assert set(answer["predictions"][0]) == {
        *("clip", "truth", "answer", "shares", "unknown", "label", "probabilities", "nearest", "warnings", "novelty"),
        *("voice_clips", "unknown_share"),
    }


@pytest.mark.parametrize("where", ["taken", "taken/r.html"])
def test_a_page_that_cannot_be_written_is_one_line(capsys, model, tmp_path, where):
    (tmp_path / "taken").write_text("a file") if "/" in where else (tmp_path / "taken").mkdir()
    options = ["--episodes", "3", "--out", str(tmp_path / where), "--model", str(model), "--json"]
    assert cli.main(["quickstart", *options]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert ("a place that can be written" if "/" in where else "expected a file") in err


@pytest.mark.corpus
def test_a_real_corpus_is_taken_with_speakers_apart(call, corpora_root, tmp_path):
    # Four emotions of all ten speakers: enough to run, and a few seconds instead of half a minute.
    (tmp_path / "emodb/wav").mkdir(parents=True)
    for clip in sorted((corpora_root / "emodb/wav").glob("*[WLNT][ab].*"))[::2]:
        (tmp_path / "emodb/wav" / clip.name).symlink_to(clip)
    result, story = call(corpus="emodb", root=tmp_path / "emodb", n_episodes=20)
    assert (result.corpus, result.synthetic) == ("emodb", False)
    assert result.clips > 100
    assert "disjoint" in story[0]
    assert {clip[:2] for clip, _, _ in result.predictions}.isdisjoint(
        prediction.nearest.name[:2] for _, _, prediction in result.predictions
    )
    assert {*result.enrolled, result.added} == {"anger", "boredom", "neutral", "sadness"}
