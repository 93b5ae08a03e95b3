"""The model card: front matter that parses, licences that add up, and names that stay names."""

from __future__ import annotations

import re

import pytest

from ser_fewshot import corpora
from ser_fewshot.cards import training_card
from ser_fewshot.checkpoints import ModelConfig, build_model
from ser_fewshot.corpora import CorpusCard, Utterance
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


@pytest.mark.parametrize(
    "names", [("emodb",), ("emodb", "ravdess"), ("a: b", "c, d]", "no", "'\"", "#x", "- y", "é", "{{ 1 }}")]
)
def test_the_front_matter_is_yaml_whatever_the_corpora_are_called(card, names):
    head = front_matter(card(*names))
    assert head["datasets"] == sorted(names)
    assert head["library_name"] == "ser_fewshot"
    assert head["license"] == "other"


@pytest.mark.parametrize(
    ("uses", "verdict", "name"),
    [
        ({"a": True}, "as permissive as", "see-corpora"),
        ({"a": True, "b": True}, "as permissive as", "see-corpora"),
        ({"a": True, "b": None}, "unclear", "research-only"),
        ({"a": True, "b": False}, "non-commercial", "research-only"),
        ({"a": None, "b": False}, "non-commercial", "research-only"),
    ],
)
def test_the_weights_are_as_free_as_the_least_free_corpus(card, monkeypatch, uses, verdict, name):
    plugin(monkeypatch, **uses)
    text = card(*uses)
    assert licence(text).startswith(verdict)
    assert front_matter(text)["license_name"] == name


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
