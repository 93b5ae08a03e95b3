"""Every recipe runs, from its options to its result file, on small made-up corpora; and what they share is right."""

from __future__ import annotations

import importlib
import json
import shlex
import shutil
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import _recipe
import _voices
import emotion_speaker_classes
import noise_robustness
import numpy as np
import personal_enrolment
import pytest
import shots_curve
import soundfile
import voice_activity
from _recipe import Recipe, few_speakers, options, pooled, question_of, rows_of
from _tables.recipes import OF_MANY_FILES, QUESTIONS, details, recipes, results
from conftest import tone
from manifests import grid, utterance
from tiny_encoders import tiny

from ser_fewshot.episodes import Episode, EpisodeSampler, EpisodeSpec
from ser_fewshot.evaluation import Evaluation
from ser_fewshot.models import ModelConfig, build_model, save_model

ROOT = Path(__file__).parents[2]
GERMAN, GERMANS = "WLEAFTN", ("03", "08", "09", *map(str, range(10, 17)))
ENGLISH, ACTORS = ("03", "04", "05", "06"), range(1, 11)
ASKS_ONE = {
    name for name in QUESTIONS if name not in ("leave_one_corpus_out", "pretrained_features", "split_protocols")
}
LESS = {"noise_robustness": ("--clips", 150), "shots_curve": ("--shots", 1, 5)}
"""Options that make the smoke test of a recipe shorter."""
SPEC = EpisodeSpec(n_way=2, k_shot=1, n_query=2)


@pytest.fixture(scope="module")
def small_corpora(tmp_path_factory) -> Path:
    """Clips of 0.2 s under the names of two corpora: ten speakers each, eight clips in every emotion."""
    root = tmp_path_factory.mktemp("corpora")
    german = product(GERMANS, range(1, 9), GERMAN)
    names = [f"emodb/wav/{who}a{number:02d}{letter}a.wav" for who, number, letter in german]
    english = product(ENGLISH, ("01", "02"), ("01", "02"), ("01", "02"), ACTORS)
    names += [
        f"ravdess/Actor_{who:02d}/03-01-{emotion}-{strength}-{text}-{take}-{who:02d}.wav"
        for emotion, strength, text, take, who in english
    ]
    rng = np.random.default_rng(0)
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        sound = tone(0.2, hertz=float(rng.uniform(100, 400))) + 0.02 * rng.standard_normal(3_200)
        soundfile.write(path, sound.astype(np.float32), 16_000)
    return root


@pytest.fixture(scope="module")
def encoder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("encoder") / "tiny-base"
    made, told = tiny("whisper"), {"layer": "weighted", "pooling": "mean_std"}
    config = ModelConfig(
        learner="ridge",
        settings={"encoder": {"name": "statistics"}},
        frontend="pretrained",
        frontend_settings={"architecture": made.architecture, **told},
    )
    save_model(build_model(config, frontend=made.frontend(**told)), folder, card="")
    return folder


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("SER_FEWSHOT_CACHE", str(tmp_path_factory.getbasetemp() / "features"))


@pytest.mark.parametrize("name", [name for name in QUESTIONS if name != "new_emotions"])  # of EmoGator alone
def test_every_recipe_runs_and_its_result_says_how_to_repeat_it(name, small_corpora, encoder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # for what a run leaves beside its result
    told = ["--corpora", small_corpora, "--smoke", "--out", tmp_path]
    told += ["--corpus", "emodb"] if name in ASKS_ONE else []
    told += ["--model", encoder, "--learners", "ridge"] if name == "pretrained_features" else LESS.get(name, ())
    importlib.import_module(name).main([str(word) for word in told])
    found = results(name, tmp_path)
    assert {corpus for result in found for corpus in result["corpora"]} >= {"emodb"}
    for result in found:
        assert result["command"].startswith(f"uv run python recipes/{name}.py --corpora DIR")
        assert str(tmp_path) not in result["command"].replace(str(encoder), "")
        assert {"seed", "threads", "minutes"} <= result.keys()
        assert {"python", "ser-fewshot", "torch"} <= result["versions"].keys()
        for rows in result["corpora"].values():
            assert set(result["headline"]) & rows.keys()
            for row in rows.values():
                assert 0 <= row["uar"]["mean"] <= 1
                assert row["uar"]["ci95"] >= 0
                assert 0 < row["chance"] <= 0.5
                assert row["episodes"] >= 2
                assert len(row["episodes_sha256"]) == 64
    assert f"recipes/{name}.py" in recipes(tmp_path)
    assert "| emodb" in details(name, tmp_path)


def test_the_recipe_on_voices_counts_what_is_taken_for_one(small_corpora, tmp_path, monkeypatch):
    monkeypatch.setattr(voice_activity, "MADE", 1)
    told = ["--corpora", small_corpora, "--corpus", "emodb", "--smoke", "--clips", 2, "--out", tmp_path]
    sounds = tmp_path / "sounds" / "wav"
    sounds.mkdir(parents=True)
    for path in sorted((small_corpora / "emodb" / "wav").iterdir())[:30]:
        shutil.copy(path, sounds)
    voice_activity.main([str(word) for word in [*told, "--sounds", sounds.parent]])
    result = json.loads((tmp_path / "voice_activity.json").read_text())
    assert str(tmp_path) not in result["command"]
    assert set(result["corpora"]["emodb"]) == set(voice_activity.CONDITIONS)
    assert result["sounds"]["demo clips (synthetic voices)"]["voice"] == 1
    assert result["sounds"]["white noise"] == {"clips": 1, "voice": 0, "noisy": 1}
    assert result["sounds"]["wav"]["clips"] == 30


def test_models_that_nobody_made_are_told_in_a_sentence(small_corpora, tmp_path):
    told = ["--corpora", str(small_corpora), "--smoke", "--out", str(tmp_path), "--models", str(tmp_path / "{corpus}")]
    with pytest.raises(SystemExit, match=r"emodb.*\nrecipes/train_default\.py makes such models"):
        personal_enrolment.main(told)


def test_a_recipe_that_was_not_run_says_so(tmp_path):
    text = recipes(tmp_path)
    assert text.count("not measured yet") == len(QUESTIONS)
    assert details("within_corpus", tmp_path).startswith("Not measured yet: `uv run python recipes/within_corpus.py --")


def test_every_recipe_is_short_and_begins_with_its_question_and_its_committed_results_are_of_whole_runs():
    for name in QUESTIONS:
        source = (ROOT / "recipes" / f"{name}.py").read_text(encoding="utf-8")
        assert len(source.splitlines()) < 160
        assert question_of(source.partition('"""')[2]).endswith("?")
        assert "?" in source.splitlines()[0]
        for result in results(name) if name not in OF_MANY_FILES else ():
            assert not result.get("smoke")
            rows = [row for of in result["corpora"].values() for row in of.values()]
            assert all(row["episodes"] >= 20 for row in rows), name


def recipe(*told: str, corpus: tuple[str, ...] = ("emodb",)) -> Recipe:
    parser = options("Is it so? It is.", corpus=corpus)
    parser.add_argument("--shots", nargs="+", type=int, default=[1, 2])
    return Recipe("somewhere/ask.py", "Is it so? It is.", parser.parse_args(["--corpora", "here", *told]))


def test_the_command_of_a_result_gives_the_same_options_again():
    first = recipe("--seed", "3", "--episodes", "7", "--corpus", "urdu", "ased", "--out", "there")
    command = first.result["command"]
    assert command.startswith("uv run python recipes/ask.py --corpora DIR ")
    again = recipe(*shlex.split(command.partition("DIR ")[2]))
    assert vars(again.arguments) == {**vars(first.arguments), "out": None}
    assert first.result["question"] == "Is it so?"


def test_a_smoke_test_does_not_touch_the_results():
    assert recipe().path == _recipe.RESULTS / "ask.json"
    assert recipe("--smoke").path.parent == _recipe.SMOKE
    assert recipe("--smoke").episodes < 10 < recipe().episodes


def test_few_speakers_are_those_who_say_most_in_each_corpus():
    clips = [*grid(corpora=("a", "b"), speakers=3, texts=1, takes=1), utterance(9_000, "e0", "s2", corpus="a")]
    kept = few_speakers(clips, n=1)
    assert {clip.speaker_key for clip in kept} == {"a/s2", "b/s0"}
    assert len(kept) == 6 + 5


def evaluation(labels: tuple[str, ...], uar: list[float], confusion: list[list[int]], name: str = "x") -> Evaluation:
    return Evaluation(SPEC, name, labels, np.array(uar), np.array(uar), np.array(confusion))


def test_splits_are_pooled_by_episode_and_by_label():
    first = evaluation(("a", "b"), [1.0, 0.5], [[3, 1], [0, 4]])
    second = evaluation(("b", "c"), [0.0], [[2, 0], [5, 6]], name="y")
    both = pooled([first, second])
    assert both.uar.tolist() == [1.0, 0.5, 0.0]
    assert both.labels == ("a", "b", "c")
    assert both.confusion.tolist() == [[3, 1, 0], [0, 6, 0], [0, 5, 6]]
    assert both.episodes_sha256 != pooled([second, first]).episodes_sha256


def test_rows_are_compared_with_the_first_on_the_same_episodes():
    first, second = (evaluation(("a", "b"), uar, [[1, 0], [0, 1]]) for uar in ([0.5, 0.7], [0.6, 0.8]))
    above = rows_of({"one": first, "two": second})["two"]["over_first"]
    assert above["mean"] == pytest.approx(0.1)
    assert above["ci95"] == pytest.approx(0.0, abs=1e-9)


def test_own_and_other_clips_are_mixed_and_the_queries_stay():
    clips = grid(emotions=2, speakers=4, texts=2, takes=2)
    spec = EpisodeSpec(n_way=2, k_shot=2, n_query=2, query_speaker="same")
    drawn = EpisodeSampler(clips, spec, seed=0).draw_many(5)
    said = {clip.id: clip for clip in clips}
    for given, mixed in zip(drawn, personal_enrolment.mixed(drawn, clips, 1, 2, 0), strict=True):
        speaker = said[given.query[0][0]].speaker_key
        assert mixed.query == given.query
        for label, own, part in zip(given.classes, given.support, mixed.support, strict=True):
            assert part[0] == own[0]
            strangers = [said[clip].speaker_key for clip in part[1:]]
            assert len({speaker, *strangers}) == 3
            assert {said[clip].emotion for clip in part} == {label}


EPISODE = Episode(0, ("a", "b"), (("a1", "a2"), ("b1", "b2")), (("a3",), ("b3",)))


def test_fewer_shots_are_the_first_ones():
    (shorter,) = shots_curve.first([EPISODE], 1)
    assert shorter == Episode(0, ("a", "b"), (("a1",), ("b1",)), EPISODE.query)


def test_support_and_queries_are_each_under_a_condition_of_their_own():
    drawn = noise_robustness.under(EPISODE, "telephone", support="small room")
    assert drawn.query == (("telephone: a3",), ("telephone: b3",))
    assert drawn.support[0] == ("small room: a1", "small room: a2")


def test_a_mistake_can_have_the_right_emotion_or_the_right_speaker():
    labels = ("anger by x", "anger by y", "fear by x")
    found = evaluation(labels, [0.5, 0.5], [[3, 2, 1], [0, 2, 0], [0, 0, 2]])
    for part, share in ((0, 9 / 10), (2, 8 / 10)):
        agreeing = emotion_speaker_classes.agreeing(found, lambda label, part=part: label.partition(" by ")[part])
        assert agreeing == pytest.approx(share)


def test_the_figure_has_a_line_for_each_kind_of_support(tmp_path):
    import plot_noise

    def row(mean: float) -> dict[str, Any]:
        return {"uar": {"mean": mean, "ci95": 0.01}, "chance": 0.25}

    rows = {"as recorded, support recorded": row(0.8), "as recorded, support augmented": row(0.8)}
    rows |= {f"noise, 0 dB, support {kind}": row(0.5) for kind in ("recorded", "augmented", "matched")}
    drawn = plot_noise.drawn({"emodb": rows, "urdu": rows})
    assert all(word in drawn for word in ("emodb", "urdu", "noise, 0 dB", "matched"))
    assert drawn == plot_noise.drawn(json.loads(json.dumps({"emodb": rows, "urdu": rows})))


def test_gains_of_known_voices_are_drawn_and_tabled(tmp_path):
    import plot_voices
    from _tables import voices

    score = {"mean": 0.8, "ci95": 0.01}
    row = {"uar": score, "plain": score, "gain": {"mean": 0.03, "ci95": 0.01}, "chance": 0.25, "episodes": 600}
    names = [f"{support}, {name}" for support in plot_voices.LOOKS for name in plot_voices.PLACES]
    corpora = {"emodb": dict.fromkeys(names, row), "urdu": {names[0]: row}}
    assert plot_voices.drawn(corpora) == plot_voices.drawn(json.loads(json.dumps(corpora)))
    result = {"command": "uv run", "corpora": corpora, "models": {"urdu": {"had_heard_it": True}}}
    assert voices.by_clips(tmp_path).startswith("Not measured yet")
    (tmp_path / voices.FILE).write_text(json.dumps(result))
    text = voices.by_clips(tmp_path)
    assert "| many enrolled, 1 clip | 80.0 ± 1.0 → 80.0 ± 1.0 (+3.0 ± 1.0) |" in text
    assert "urdu (in the training set)" in text


def test_a_lopsided_session_keeps_one_class_whole_and_conditions_spare_the_support():
    episode = replace(EPISODE, index=1, query=(("a3", "a4"), ("b3", "b4")), context=("c1",))
    assert _voices.lopsided(episode).query == (("a3",), ("b3", "b4"))
    (drawn,) = _voices.degraded([episode], "telephone")
    assert drawn.context == ("telephone: c1",)
    assert drawn.query[0] == ("telephone: a3", "telephone: a4")
    assert drawn.support == episode.support
