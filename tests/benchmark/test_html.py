"""The page of the quickstart and its figures: self-contained, accessible, and every label is text."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from html_reader import Reader

from ser_fewshot.benchmark.html import MapMark, confusion_table, map_figure, write_report
from ser_fewshot.classifier import NearestClip, Prediction
from ser_fewshot.episodes import EpisodeSpec
from ser_fewshot.errors import SettingsError
from ser_fewshot.evaluation import Evaluation

LABELS = ("anger", "fear", "joy", "sadness")
HOSTILE = "<script>alert(1)</script>\"'><img src=http://x/y onerror=z>&amp;{{ 7 * 7 }}"


def evaluation(labels: tuple[str, ...] = LABELS) -> Evaluation:
    confusion = np.full((len(labels), len(labels)), 5) + np.diag(np.arange(len(labels)) * 10)
    uar = np.array([0.5, 0.7, 0.6, 0.8])
    return Evaluation(EpisodeSpec(n_way=4, k_shot=3, n_query=4), "ab" * 32, labels, uar, uar - 0.1, confusion)


def prediction(label: str, *, nearest: str = "near.wav", sure: float = 0.625) -> Prediction:
    return Prediction(label, {label: sure, "other": 1 - sure}, NearestClip(nearest, label, 1.5))


def points(labels: tuple[str, ...] = LABELS, *, width: int = 8) -> dict[str, object]:
    kinds = ("enrolled", "recognised", "recognised")
    marks = [MapMark(label, f"{label}, {kind}", filled=kind == "enrolled") for label in labels for kind in kinds]
    noise = np.random.default_rng(0).normal(size=(len(marks), width)).astype(np.float32)
    return {"embeddings": noise + np.arange(len(marks), dtype=np.float32)[:, None] // 3, "marks": marks}


def map_of(embeddings: np.ndarray) -> str:
    return map_figure(embeddings.astype(np.float32), [MapMark("a", "a, enrolled", filled=True)] * len(embeddings))


def page(path: Path, **changes: object) -> str:
    content = {
        "title": "A title",
        "notice": "A notice",
        "steps": ["Step one", "Step two"],
        "predictions": [("a.wav", "fear", prediction("fear")), ("b.wav", "joy", prediction("anger"))],
        "evaluation": evaluation(),
        **points(),
    }
    write_report(path, **{**content, **changes})
    return path.read_text(encoding="utf-8")


def test_the_page_holds_the_numbers(tmp_path):
    text = Reader(page(tmp_path / "r.html")).text
    for part in (
        "A title",
        "A notice",
        "Step two",
        "65.0 ± 20.5 %",
        "55.0 ± 20.5 %",
        "4 episodes",
        "chance 25.0 %",
        "4-way 3-shot by emotion, query speaker disjoint, 4 queries",
        "abababababab",
        "✓ fear",
        "✗ anger",
        "62 %",
        "near.wav (fear)",
    ):
        assert part in " ".join(text.split()), part


def test_each_row_of_the_confusion_is_a_true_class_in_percent():
    cells = re.findall(r"<td[^>]*>(\d+)</td>", confusion_table(LABELS, evaluation().confusion))
    matrix = np.array(cells, dtype=int).reshape(4, 4)
    assert matrix.tolist() == [[25, 25, 25, 25], [17, 50, 17, 17], [12, 12, 62, 12], [10, 10, 10, 70]]
    empty = evaluation()
    empty.confusion[0] = 0  # a class without queries
    assert re.findall(r"<td[^>]*>(\d+)</td>", confusion_table(LABELS, empty.confusion))[:4] == ["0"] * 4


def test_the_page_is_self_contained(tmp_path):
    text = page(tmp_path / "r.html")
    reader = Reader(text)
    assert not {"script", "link", "img", "iframe", "object", "embed", "base", "image", "use"} & {
        t for t, _ in reader.tags
    }
    for _, attributes in reader.tags:
        assert not {"src", "href", "xlink:href", "srcset", "action", "data", "poster"} & set(attributes)
        assert not any(name.startswith("on") for name in attributes)
    assert "url(" not in text
    assert "@import" not in text
    assert "//" not in text
    assert any("default-src 'none'" in (attributes.get("content") or "") for _, attributes in reader.tags)


def test_the_page_is_accessible_and_fits_a_phone(tmp_path):
    reader = Reader(page(tmp_path / "r.html"))
    figures = [attributes for tag, attributes in reader.tags if tag == "svg" and "aria-hidden" not in attributes]
    assert [attributes["role"] for attributes in figures] == ["img"]
    assert all(attributes["aria-label"] for attributes in figures)
    assert ("html", {"lang": "en"}) in reader.tags
    assert any(attributes.get("name") == "viewport" for _, attributes in reader.tags)
    assert [attributes.get("scope") for tag, attributes in reader.tags if tag == "th"].count("row") == 4


def test_hostile_names_are_text_and_nothing_else(tmp_path):
    labels = (HOSTILE, "$x^2$", "_hidden", "%s {0}")
    text = page(
        tmp_path / "r.html",
        title=HOSTILE,
        notice=HOSTILE,
        steps=[HOSTILE],
        predictions=[(HOSTILE, HOSTILE, prediction(HOSTILE, nearest=HOSTILE))],
        evaluation=evaluation(labels),
        **points(labels),
    )
    reader = Reader(text)
    assert not {"script", "img"} & {tag for tag, _ in reader.tags}
    assert not any("onerror" in attributes for _, attributes in reader.tags)
    # Title, h1, notice, step; clip, truth, answer, nearest clip and its label; two in the confusion; legend, 3 marks.
    assert reader.text.count(HOSTILE) == 15
    assert all(reader.text.count(label) == 6 for label in labels[1:])


def test_names_of_every_script_survive_and_characters_without_encoding_are_replaced(tmp_path):
    labels = ("怒り", "غضب", "jalousie é", "😀")
    text = page(tmp_path / "r.html", evaluation=evaluation(labels), **points(labels), steps=["a \udcff b"])
    assert all(text.count(label) >= 6 for label in labels)
    assert "a ? b" in text


def test_the_same_content_gives_the_same_page(tmp_path):
    assert page(tmp_path / "a.html") == page(tmp_path / "b.html")
    (tmp_path / "file").touch()
    with pytest.raises(SettingsError, match="a place that can be written"):
        page(tmp_path / "file/r.html")


def test_any_number_of_classes_has_marks_of_its_own_inside_the_frame():
    for count in (1, 2, 40):
        figure = map_figure(**points(tuple(f"emotion {i}" for i in range(count))))
        legend = re.findall(r'<li>.*?d="([^"]+)" fill="([^"]+)"', figure)
        assert len(set(legend)) == len(legend) == count
        places = [(float(x), float(y)) for x, y in re.findall(r"translate\(([\d.]+) ([\d.]+)\) s", figure)]
        assert len(places) == 3 * count
        assert all(10 <= x <= 630 and 10 <= y <= 410 for x, y in places)
        assert figure.count("enrolled</title>") == count
        assert figure.count("recognised</title>") == 2 * count


def test_the_map_keeps_distances_of_a_plane():
    flat = np.array([[0, 0], [3, 0], [0, 1], [3, 1]], dtype=np.float32)
    rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(6, 6)))[0][:2].astype(np.float32)
    figure = map_of(flat @ rotation)
    marks = np.array([tuple(map(float, found)) for found in re.findall(r"translate\(([\d.]+) ([\d.]+)\) s", figure)])
    lengths = [np.linalg.norm(marks[0] - marks[other]) for other in (1, 2, 3)]
    assert np.allclose(np.array(lengths) / lengths[1], [3, 1, 10**0.5], atol=0.01)
    assert "100 % of the variance" in figure


def test_the_map_does_not_depend_on_the_signs_of_a_decomposition():
    for seed in range(6):
        cloud = np.random.default_rng(seed).normal(size=(9, 5)).astype(np.float32)
        figure = map_of(cloud)
        marks = [tuple(map(float, found)) for found in re.findall(r"translate\(([\d.]+) ([\d.]+)\) s", figure)]
        # The clip farthest from the mean lies right of it and below it, so the mean lies left of the middle and above.
        assert (np.array(marks).mean(0) <= np.array([320, 210]) + 0.1).all()


def test_a_map_of_hardly_anything_is_still_a_map():
    for embeddings in (np.zeros((1, 4)), np.ones((5, 1)), np.arange(5.0)[:, None], np.full((3, 2), 1e30)):
        figure = map_of(embeddings)
        assert "nan" not in figure
        assert "inf" not in figure
        assert figure.count("enrolled</title>") == len(embeddings)
