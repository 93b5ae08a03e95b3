"""The tables of default models say what their files hold, and which command makes those that are not there."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import write_tables
from _tables import default_model
from _tables.default_model import PROTOCOLS, default_gender, default_recall, default_robustness, default_speed

NAMES = [name for name in write_tables.TABLES if name.startswith("default")]
BY_GENDER = {
    "uar": {
        "female": {"mean": 0.7, "ci95": 0.02, "episodes": 590},
        "male": {"mean": 0.66, "ci95": 0.01, "episodes": 580},
    },
    "gap": {"mean": 0.04, "ci95": 0.015},
    "paired_episodes": 570,
}


def score(mean: float, **changes: Any) -> dict[str, Any]:
    return {
        "spec": {"label": "emotion"},
        "episodes": 600,
        "chance": 0.25,
        "uar": {"mean": mean, "ci95": 0.006},
        "recall": {"anger": 0.801, "fear": 0.4},
        "conditions": {
            "telephone": {"uar": {"mean": mean - 0.05, "ci95": 0.006}, "loss": {"mean": 0.05, "ci95": 0.004}}
        },
        "gender": BY_GENDER,
        **changes,
    }


def write(folder: Path, name: str, corpus: str, protocols: dict[str, Any], *, heard: bool = False) -> None:
    content = {"name": name, "corpus": corpus, "had_heard_it": heard, "protocols": protocols}
    (folder / f"{name}_{corpus}.json").write_text(json.dumps(content))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    speakers = score(0.9, chance=0.05, spec={"label": "speaker"}, gender=None)
    confidence = {
        "reliability": {"before": {"ece": 0.15}, "after": {"ece": 0.03}},
        "open_set": {
            "auroc": 0.7,
            "fpr95": 0.8,
            "oscr": 0.6,
            "known_kept": {"mean": 0.9, "ci95": 0.01},
            "unknown_flagged": {"mean": 0.4, "ci95": 0.02},
        },
    }
    one, two = ({"emotions": {"uar": {"mean": mean, "ci95": 0.006}}} for mean in (0.6, 0.7))
    parts = {"ased": {"student": one, "default": two}, "urdu": {"student": two}}
    (tmp_path / "ablation.json").write_text(json.dumps({"corpora": parts}))
    write(tmp_path, "default", "ased", {"emotions": score(0.7, **confidence), "speakers_20_way": speakers})
    write(tmp_path, "default", "urdu", {"emotions": score(0.5, gender=None)})
    write(tmp_path, "a reference", "ased", {"emotions": score(0.66)}, heard=True)
    (tmp_path / "speed.json").write_text(
        json.dumps(
            {
                "threads": 2,
                "reference": "whisper",
                "clips": {"clips": 100, "median_seconds": 2.44},
                "all_at_once": {
                    "clips_per_second": {"default": 91.4, "reference": 20.2},
                    "times_as_fast": 4.52,
                    "slowest_round": 4.11,
                },
                "one_at_a_time": {
                    "clips_per_second": {"default": 60, "reference": 18},
                    "times_as_fast": 3.33,
                    "slowest_round": 3.01,
                },
                "megabytes": {"default": 7.61, "reference": 38.2},
                "seconds_to_load": {"default": 0.081, "reference": 0.4},
            }
        )
    )
    return tmp_path


def table_of(name: str) -> Callable[[Path], str]:
    found: Callable[[Path], str] = getattr(default_model, name)
    return found


def lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("| ")]


def test_a_table_without_results_names_the_command_that_writes_them(tmp_path):
    assert len(NAMES) == 8
    for name in NAMES:
        text = table_of(name)(tmp_path)
        recipe = {"default_speed": "bench_default", "default_ablation": "ablate_default"}.get(name, "measure_default")
        assert text.startswith(f"Not measured yet: `uv run python recipes/{recipe}.py --")
        assert text.endswith("`\n")
        assert "\n" not in text[:-1]


def test_tables_are_tables(folder):
    for name in NAMES:
        rows = lines(table_of(name)(folder))
        assert len(rows) >= 3
        assert len({row.count("|") for row in rows}) == 1


def test_the_mean_over_corpora_has_the_interval_of_independent_episodes(folder):
    text = default_model.default_model(folder)
    _, _, default, reference, chance = lines(text)
    # (70 + 50) / 2, and 0.6 * sqrt(2) / 2.
    assert default == "| default | 60.0 ± 0.4 | - | 90.0 ± 0.6 | - |"
    assert reference == "| a reference | - | - | - | - |"  # URDU is missing
    assert chance == "| chance | 25.0 | - | 5.0 | - |"
    assert (
        "over 600 frozen episodes a corpus. Trained on the corpus itself, so no measure of it: a reference ased."
        in text
    )


def test_tables_by_corpus_show_score_loss_and_gender_gap(folder):
    head, _, first, second, *_ = lines(default_model.default_model_by_corpus(folder))
    assert head == "| protocol | model | ased | urdu | mean |"
    assert first == f"| {PROTOCOLS['emotions']} | default | 70.0 ± 0.6 | 50.0 ± 0.6 | 60.0 ± 0.4 |"
    assert second == f"| {PROTOCOLS['emotions']} | a reference | 66.0 ± 0.6 | - | - |"
    _, _, default, reference = lines(default_robustness(folder))
    assert default == "| default | telephone | 65.0 (5.0 ± 0.4) | 45.0 (5.0 ± 0.4) | 5.0 ± 0.3 |"
    assert reference == "| a reference | telephone | 61.0 (5.0 ± 0.4) | - | - |"
    _, _, ased, urdu, _ = lines(default_gender(folder))
    assert ased == f"| default | ased | {PROTOCOLS['emotions']} | 70.0 ± 2.0 (590) | 66.0 ± 1.0 (580) | 4.0 ± 1.5 |"
    assert urdu == f"| default | urdu | {PROTOCOLS['emotions']} | - | - | too few clips of one gender |"


def test_recall_and_speed_are_rounded_for_readers(folder):
    assert "| default | ased | anger 80, fear 40 |" in lines(default_recall(folder))
    assert lines(default_speed(folder))[2:] == [
        "| clips a second, all in one call | 91 | 20 | 4.5 (slowest round 4.1) |",
        "| clips a second, one a call | 60 | 18 | 3.3 (slowest round 3.0) |",
        "| files | 7.6 MB | 38.2 MB |  |",
        "| `from_pretrained`, after the imports | 81 ms | 400 ms |  |",
    ]


def test_ablation_and_confidence_are_shown_where_they_were_measured(folder):
    first, second, *_ = [line for line in lines(default_model.default_ablation(folder)) if "±" in line]
    assert first == "| student | 60.0 ± 0.6 | 70.0 ± 0.6 | 65.0 |"
    assert second == "| default | 70.0 ± 0.6 | - | - |"
    *_, row = lines(default_model.default_confidence(folder))
    assert row == "| ased | 0.150 | 0.030 | 0.700 | 0.800 | 0.600 | 90.0 ± 1.0 | 40.0 ± 2.0 |"
