"""The model card: front matter that parses, licences that add up, and names that stay names."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import pytest
from default_model.card import default_card
from default_model.directions import DirectionSettings
from default_model.fit import FitSettings
from synthetic import CALIBRATION
from views import model_of_two_views

from ser_fewshot import corpora
from ser_fewshot.corpora import CorpusCard, Utterance
from ser_fewshot.errors import SettingsError
from ser_fewshot.models import ModelConfig, build_model
from ser_fewshot.models.card import training_card
from ser_fewshot.models.training_set import Part, TrainingSet, by_card
from ser_fewshot.training import TrainSettings

yaml = pytest.importorskip("yaml", reason="PyYAML comes with audformat, a package for development")

BEST = {"epoch": 3, "validation_uar": 0.5, "validation_ci95": 0.02}


@pytest.fixture(scope="module")
def model():
    return build_model(ModelConfig(learner="protonet", settings={"encoder": {"name": "mean"}}))


@pytest.fixture
def card(model, tmp_path):
    """Write the card of a model that heard one clip of each speaker of each corpus."""

    def write(*names: str, speakers: tuple[str | None, ...] = ("1", "2"), command: str = "") -> str:
        clips = [
            Utterance(id=f"{name}/{speaker}", path=tmp_path / "a.wav", corpus=name, emotion="fear", speaker=speaker)
            for name in names
            for speaker in speakers
        ]
        return training_card(model, clips, settings=TrainSettings(seed=5), best=BEST, command=command)

    return write


def front_matter(text: str) -> dict:
    return yaml.safe_load(text.split("---\n")[1])


def licence(text: str) -> str:
    return re.search(r"\*\*Licence of these weights: (.*)\.\*\*", text)[1]


def row(text: str, corpus: str) -> list[str]:
    """Return the cells of a corpus, as Markdown would part them."""
    (line,) = [line for line in text.splitlines() if line.startswith(f"| {corpus} |")]
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def plugin(monkeypatch, **uses: bool | None) -> None:
    """Pretend that there are corpora whose licences allow this and that."""
    described = {
        name: CorpusCard(
            title=name,
            language="eng",
            language_name="English",
            licence="words | of <the> publisher",
            commercial_use=use,
            citation=f"Author of {name} [1]",
            url="https://example.org",
            layout="a.wav",
        )
        for name, use in uses.items()
    }
    monkeypatch.setattr(corpora, "names", lambda: sorted(described))
    monkeypatch.setattr(corpora, "card", described.__getitem__)


def test_the_card_says_what_was_heard_and_how_it_was_trained(card, model):
    text = card("emodb", "ravdess", command="ser-fewshot train --out `run`")
    for part in ("UAR 50.0 ± 2.0 %", "epoch\n3", "Seed 5", "chance\n25.0 %", "protonet on logmel", "Burkhardt"):
        assert part in text
    assert "\n    ser-fewshot train --out `run`\n" in text
    assert "## What it must not be used for" in text
    assert f"{sum(parameter.numel() for parameter in model.learner.parameters()):,} learned parameters" in text
    assert row(text, corpora.card("emodb").title)[1:4] == ["2", "2", "German"]


def test_no_command_leaves_no_trace(card):
    assert "Made by" not in card("emodb")


def test_the_front_matter_is_yaml_whatever_the_corpora_are_called(card):
    for names in (("emodb", "ravdess"), ("a: b", "c, d]", "no", "'\"", "#x", "- y", "é", "{{ 1 }}")):
        head = front_matter(card(*names))
        assert head["datasets"] == sorted(names)
        assert (head["library_name"], head["license"]) == ("ser_fewshot", "other")


def test_the_weights_are_as_free_as_the_least_free_corpus(card, monkeypatch):
    for uses, verdict, name in (
        ({"a": True, "b": True}, "as permissive as", "see-corpora"),
        ({"a": True, "b": None}, "unclear", "research-only"),
        ({"a": True, "b": False}, "non-commercial", "research-only"),
        ({"a": None, "b": False}, "non-commercial", "research-only"),
    ):
        plugin(monkeypatch, **uses)
        text = card(*uses)
        assert licence(text).startswith(verdict)
        assert front_matter(text)["license_name"] == name


def test_corpora_that_the_encoder_was_trained_on_before_stand_in_the_card_and_bind_it(model, monkeypatch, tmp_path):
    plugin(monkeypatch, a=False, b=True)
    clips = [Utterance(id="b/1", path=tmp_path / "a.wav", corpus="b", emotion="fear", speaker="1")]
    begun = replace(model, training_set=TrainingSet(corpora={"a": Part(clips=7), "speech": Part(labelled=False)}))
    text = training_card(begun, clips, settings=TrainSettings(), best=BEST)
    assert front_matter(text)["datasets"] == ["a", "b"]
    assert row(text, "a")[1:3] == ["7", "not known"]
    assert licence(text).startswith("non-commercial")


def test_a_corpus_that_is_not_ours_makes_the_licence_unclear(card, monkeypatch):
    plugin(monkeypatch, a=True)
    text = card("a", "my own")
    assert licence(text).startswith("unclear")
    assert row(text, "my own")[1:] == ["2", "2", "not known", "not known"]


def test_a_format_for_any_data_makes_the_licence_unclear(card):
    assert licence(card("table")).startswith("unclear")


def test_unknown_speakers_are_not_counted_as_one(card):
    assert row(card("mine", speakers=(None,)), "mine")[1:3] == ["1", "not known"]
    assert row(card("mine", speakers=(None, "x")), "mine")[1:3] == ["2", "1"]


def test_names_and_licences_are_text_and_nothing_else(card, monkeypatch):
    plugin(monkeypatch, a=True)
    text = card("a", "x | y\n# z", "<script>", "[l](http://x)", "`code`", "{{ 7 * 7 }}")
    assert row(text, r"x \| y # z")[1] == "2"
    assert r"| \<script\> |" in text
    assert r"| \[l\](http://x) |" in text
    assert r"| \`code\` |" in text
    assert r"| {{ 7 \* 7 }} |" in text
    assert r"words \| of \<the\> publisher" in text
    assert r"Author of a \[1\]" in text
    assert "\n# z" not in text


def test_a_command_is_one_line(card):
    assert "\n    ser-fewshot train --manifest 'a b ?.csv'\n" in card(
        "a", command="ser-fewshot train --manifest 'a\nb \udcff.csv'"
    )


# The card of the default model

CONFIDENCE = {
    "reliability": {"before": {"ece": 0.151}, "after": {"ece": 0.032}},
    "open_set": {
        "auroc": 0.712,
        "known_kept": {"mean": 0.8, "ci95": 0.01},
        "unknown_flagged": {"mean": 0.5, "ci95": 0.02},
    },
}


def measurement(corpus: str, uar: float, *, heard: bool = False, name: str = "default", **more: Any) -> dict[str, Any]:
    """What recipes/measure_default.py writes, as far as a card asks."""
    loss = {"uar": {"mean": uar - 0.05, "ci95": 0.006}, "loss": {"mean": 0.05, "ci95": 0.004}}
    sides = {"female": {"mean": 0.7, "ci95": 0.02}, "male": {"mean": 0.66, "ci95": 0.01}}
    emotions = {
        "protocol": "4-way 5-shot by emotion",
        "episodes": 600,
        "chance": 0.25,
        "uar": {"mean": uar, "ci95": 0.006},
        "conditions": {"telephone": loss},
        "gender": {"uar": sides, "gap": {"mean": 0.04, "ci95": 0.015}},
        **more,
    }
    found = {"name": name, "corpus": corpus, "had_heard_it": heard, "protocols": {"emotions": emotions}}
    return json.loads(json.dumps(found))


@pytest.fixture(scope="module")
def of_two_views():
    return model_of_two_views()


@pytest.fixture
def default(of_two_views, tmp_path):
    """Write the card of a model that heard one clip of each of two speakers of four corpora."""

    def write(*measured: dict[str, Any], **changes: Any) -> str:
        clips = {
            name: [
                Utterance(f"{name}/{speaker}", tmp_path / "a.wav", name, "fear", speaker=speaker)
                for speaker in ("1", "2")
            ]
            for name in ("ased", "emodb", "ravdess", "urdu")
        }
        given = {"speech": [Utterance(f"letters/{n}", tmp_path / "l.wav", "letters") for n in range(3)], **changes}
        settings = FitSettings(directions=DirectionSettings(n=64, steps=50, tasks=3))
        return default_card(
            of_two_views, clips, settings=settings, measured=measured, command="uv run python x.py", **given
        )

    return write


def test_the_default_card_says_how_the_model_was_made(default):
    text = " ".join(default().split())
    assert "on 3 clips, a random part of 3 clips of free speech." in text
    assert "Each of these Debian packages" in text
    assert "- letters: 3" in text
    assert "64 directions of emotions, meta-trained through 150 episodes" in text
    assert "3 parts of the corpora were left out in turn" in text
    assert "uv run python x.py" in text
    assert CALIBRATION is model_of_two_views().config.calibration
    assert "Its probabilities" in text
    order = [text.index(f"## {name}") for name in ("What it was trained on", "How it was trained", "Known biases")]
    assert order == sorted(order)


def test_what_was_measured_stands_in_a_column_a_corpus(default):
    speakers = {"protocol": "20-way 5-shot by speaker", "chance": 0.05, "uar": {"mean": 0.9, "ci95": 0.003}}
    first, second = measurement("urdu", 0.5, gender=None), measurement("emodb", 0.8)
    second["protocols"]["speakers_20_way"] = {**second["protocols"]["emotions"], **speakers}
    text = default(first, second)
    assert "| protocol | Emo-DB | URDU | chance |" in text
    assert row(text, "4-way 5-shot by emotion")[1:] == ["80.0 ± 0.6", "50.0 ± 0.6", "25.0"]
    assert row(text, "20-way 5-shot by speaker")[1:] == ["90.0 ± 0.3", "-", "5.0"]
    assert row(text, "telephone")[1:] == ["5.0 ± 0.4", "5.0 ± 0.4"]
    assert "600 frozen episodes" in text
    assert "without a clip of the corpus of its column;" in " ".join(text.split())
    assert "English prompts" not in text  # no name of the speech says so
    assert "AUROC" not in text


def test_known_biases_are_told_with_their_numbers(default):
    text = default(measurement("urdu", 0.5, gender=None), measurement("emodb", 0.8))
    assert row(text, r"Emo-DB (German)")[1:] == ["70.0 ± 2.0", "66.0 ± 1.0", "4.0 ± 1.5"]
    assert row(text, r"URDU (Urdu)")[1:] == ["-", "-", "too few clips of one gender"]
    flat = " ".join(text.split())
    assert "recognised with 50.0 ± 0.6 % in URDU (Urdu) and with 80.0 ± 0.6 % in Emo-DB (German)" in flat


def test_confidence_stands_where_it_was_measured(default):
    text = default(measurement("emodb", 0.8, **CONFIDENCE), measurement("urdu", 0.5, reliability=None, open_set=None))
    (line,) = [line for line in text.splitlines() if line.startswith("| Emo-DB |") and "15.1" in line]
    assert line == "| Emo-DB | 15.1 | 3.2 | 0.71 | 80.0 ± 1.0 | 50.0 ± 2.0 |"


def test_without_measurements_nothing_is_claimed(default):
    text = default()
    assert "## Measured" not in text
    assert "women" not in text
    assert "## Known biases" in text


def test_a_model_that_had_heard_the_corpus_measures_nothing(default):
    with pytest.raises(SettingsError, match=r"trained on .* \['urdu'\]"):
        default(measurement("emodb", 0.8), measurement("urdu", 0.9, heard=True))
    with pytest.raises(SettingsError, match="results of Whisper, default"):
        default(measurement("emodb", 0.8), measurement("urdu", 0.9, name="Whisper"))


def test_the_default_card_says_what_may_not_be_done_with_it(default):
    text = default()
    flat = " ".join(text.split())
    for part in ("to detect lies", "to hire, grade", "surveillance", "Regulation 2024/1689, article 5(1)(f)"):
        assert part in flat
    assert licence(text).startswith("non-commercial research only, as RAVDESS (speech) and URDU must not")
    assert row(text, "RAVDESS (speech)")[4] == "CC-BY-NC-SA-4.0"


def test_the_default_card_tells_a_program_what_the_model_heard(default, tmp_path):
    (tmp_path / "README.md").write_text(default(), encoding="utf-8")
    assert front_matter(default())["datasets"] == ["ased", "emodb", "ravdess", "urdu"]
    assert list(by_card(tmp_path).corpora) == ["ased", "emodb", "ravdess", "urdu"]


def test_names_in_results_are_text(default):
    found = measurement("my | corpus", 0.5)
    found["protocols"]["emotions"]["conditions"] = {
        "<b>": found["protocols"]["emotions"]["conditions"]["telephone"],
    }
    text = default(found)
    assert r"| protocol | my \| corpus | chance |" in text
    assert r"| \<b\> | 5.0 ± 0.4 |" in text
