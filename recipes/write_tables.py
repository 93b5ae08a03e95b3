"""Write the tables of README.md and RESULTS.md from the files in recipes/results; no number in them is typed by hand.

uv run python recipes/write_tables.py
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ser_fewshot._files import write_atomically

HERE = Path(__file__).parent
PAGES = (HERE.parent / "README.md", HERE.parent / "RESULTS.md")
MARK = re.compile(r"(<!-- table: (?P<name>\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def main() -> None:
    for page in PAGES:
        write_atomically(page, filled(page.read_text(encoding="utf-8")))


def filled(text: str) -> str:
    """Return a page with every marked table written anew."""
    return MARK.sub(lambda found: found[1] + TABLES[found["name"]]() + found[3], text)


def leave_one_corpus_out() -> str:
    results = [_read(path) for path in sorted((HERE / "results").glob("leave_out_*.json"))]
    first = results[0]
    spec = first["learners"][next(iter(first["learners"]))]
    head = ["learner", *(result["held_out"] for result in results), "mean"]
    rows = []
    for name in first["learners"]:
        scores = [result["learners"][name]["uar"] for result in results]
        mean = sum(score["mean"] for score in scores) / len(scores)
        rows.append([name, *map(_percent, scores), f"{100 * mean:.1f}"])
    rows.append(["chance", *(f"{100 * spec['chance']:.1f}" for _ in results), f"{100 * spec['chance']:.1f}"])
    return (
        f"UAR in %, mean ± 95 % CI over {spec['episodes']} episodes; {spec['protocol']}, {spec['spec']['n_query']} "
        "queries a class; each column was left out of the training.\n\n" + _table(head, rows)
    )


def training() -> str:
    results = [_read(path) for path in sorted((HERE / "results").glob("leave_out_*.json"))]
    head = [
        "left out",
        "learner",
        "kept epoch",
        "UAR on meta-validation, %",
        "minutes",
        "threads",
        "episodes (SHA-256)",
    ]
    rows = [
        [
            result["held_out"],
            name,
            str(record["epoch"]),
            f"{100 * record['validation_uar']:.1f} ± {100 * record['validation_ci95']:.1f}",
            str(record["minutes"]),
            str(result["threads"]),
            result["learners"][name]["episodes_sha256"][:12],
        ]
        for result in results
        for name, record in result["kept_epoch"].items()
    ]
    return _table(head, rows)


def recall() -> str:
    lines = []
    for path in sorted((HERE / "results").glob("leave_out_*.json")):
        result = _read(path)
        rates = result["learners"]["ridge, trained"]["recall"]
        lines.append([result["held_out"], ", ".join(f"{label} {100 * rate:.0f}" for label, rate in rates.items())])
    return _table(["left out", "recall of each class in %, ridge, trained"], lines)


def speed() -> str:
    result = _read(HERE / "results" / "speed.json")
    logmel, episodes, classifier = result["logmel"], result["episodes"], result["classifier"]
    rows = [
        [
            "log-mel against `librosa.feature.melspectrogram`, same clips and settings",
            f"{logmel['times_as_fast_as_librosa']:.1f} times as fast (slowest round {logmel['slowest_round']:.1f}); "
            f"largest relative difference {logmel['largest_relative_difference']:.1e}",
        ],
        ["1,000 Prototypical episodes, 5-way 5-shot, 15 queries, cached", f"{episodes['seconds']:.2f} s"],
        [
            "enrolling 4 emotions from 5 clips of 3 s, first call after loading",
            _ms(classifier["seconds_to_enrol_first_time"]),
        ],
        ["the same, median of later calls", _ms(classifier["seconds_to_enrol"])],
        ["recognising one clip of 3 s, median", _ms(classifier["seconds_to_predict"])],
        ["loading the default model", _ms(classifier["seconds_to_load"])],
    ]
    return _table(["what", f"measured on {result['machine']['cpus']} CPU cores"], rows)


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:.0f} ms"


def _percent(score: Mapping[str, float]) -> str:
    return f"{100 * score['mean']:.1f} ± {100 * score['ci95']:.1f}"


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _read(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


TABLES = {"leave_one_corpus_out": leave_one_corpus_out, "training": training, "recall": recall, "speed": speed}

if __name__ == "__main__":
    main()
