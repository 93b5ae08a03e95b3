"""The default model, and others on the same frozen episodes, each on corpora that were left out of its training."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from _tables._text import RESULTS, milliseconds, percent, read, table

DEFAULT = RESULTS / "default"
PROTOCOLS = {
    "emotions": "emotions of speakers not enrolled",
    "emotions_same_speaker": "emotions of the speaker enrolled",
    "speakers_20_way": "20 speakers, 5-shot",
    "speakers_5_way": "5 speakers, 1-shot",
}
MEASURE = (
    "uv run python recipes/measure_default.py --model 'runs/default/without_{corpus}/model' --name default "
    "--corpora DIR"
)
BENCH = "uv run python recipes/bench_default.py --reference runs/whisper-3 --corpora DIR"

_OTHERS = ("ablation", "speed")  # results of other kinds in the same folder

Results = dict[str, dict[str, dict[str, Any]]]  # by model, by corpus


def default_model(folder: Path = DEFAULT) -> str:
    """Every model by every protocol, as the mean over corpora."""
    found = _results(folder)
    if not found:
        return _missing(MEASURE)
    rows = [
        [
            name,
            *(_mean([_score(of, protocol, corpus) for corpus in _corpora(found, protocol)]) for protocol in PROTOCOLS),
        ]
        for name, of in found.items()
    ]
    asked = {protocol: _corpora(found, protocol) for protocol in PROTOCOLS}
    heads = [f"{words} (corpora: {len(asked[protocol])})" for protocol, words in PROTOCOLS.items()]
    chances = [_chance(found, protocol) for protocol in PROTOCOLS]
    return _caption(found) + table(["model", *heads], [*rows, ["chance", *chances]])


def default_model_by_corpus(folder: Path = DEFAULT) -> str:
    """Every model by every protocol on every corpus."""
    found = _results(folder)
    if not found:
        return _missing(MEASURE)
    corpora = sorted({corpus for of in found.values() for corpus in of})
    rows = []
    for protocol, words in PROTOCOLS.items():
        asked = _corpora(found, protocol)
        for name, of in found.items():
            scores = {corpus: _score(of, protocol, corpus) for corpus in corpora}
            rows.append([words, name, *map(_cell, scores.values()), _mean([scores[corpus] for corpus in asked])])
    return _caption(found) + table(["protocol", "model", *corpora, "mean"], rows)


def default_robustness(folder: Path = DEFAULT) -> str:
    """What is lost when the queries come through a real microphone."""
    found = _results(folder)
    if not found:
        return _missing(MEASURE)
    corpora = _corpora(found, "emotions")
    rows = []
    for name, of in found.items():
        scores = {corpus: of[corpus]["protocols"]["emotions"] for corpus in corpora if corpus in of}
        for condition in next(iter(scores.values()))["conditions"]:
            heard = {corpus: score["conditions"][condition] for corpus, score in scores.items()}
            cells = [_loss(heard[corpus]) if corpus in heard else "-" for corpus in corpora]
            rows.append([name, condition, *cells, _mean([heard.get(corpus, {}).get("loss") for corpus in corpora])])
    return (
        "Emotions of speakers not enrolled, 4-way 5-shot. UAR in % with the queries under a condition and the support "
        "as recorded; in brackets the points lost, ± 95 % CI, on the same episodes.\n\n"
        + table(["model", "queries through", *corpora, "mean loss"], rows)
    )


def default_gender(folder: Path = DEFAULT) -> str:
    """UAR on the queries of women and of men, and the gap."""
    found = _results(folder)
    if not found:
        return _missing(MEASURE)
    rows = [
        [name, corpus, PROTOCOLS[protocol], *_gap(score["gender"])]
        for name, of in found.items()
        for corpus, result in of.items()
        for protocol, score in result["protocols"].items()
        if score["spec"]["label"] == "emotion"
    ]
    return (
        "UAR in %, mean ± 95 % CI over the episodes (their number in brackets) in which the queries of every class "
        "hold that gender; the support is anybody's. The interval is that of these speakers, not of women and men.\n\n"
        + table(["model", "corpus", "protocol", "women", "men", "women minus men"], rows)
    )


def default_recall(folder: Path = DEFAULT) -> str:
    """Recall of each emotion, speakers disjoint."""
    found = _results(folder)
    if not found:
        return _missing(MEASURE)
    rows = []
    for name, of in found.items():
        for corpus, result in of.items():
            rates = result["protocols"]["emotions"]["recall"]
            rows.append([name, corpus, ", ".join(f"{label} {100 * rate:.0f}" for label, rate in rates.items())])
    return table(["model", "corpus", "recall of each class in %, speakers not enrolled"], rows)


def default_speed(folder: Path = DEFAULT) -> str:
    """Speed, size and loading time, against the first layers of a pretrained encoder."""
    path = folder / "speed.json"
    if not path.exists():
        return _missing(BENCH)
    result = read(path)
    both = ("default", "reference")
    rates = [
        [
            f"clips a second, {words}",
            *(f"{result[key]['clips_per_second'][name]:.0f}" for name in both),
            _times(result[key]),
        ]
        for key, words in (("all_at_once", "all in one call"), ("one_at_a_time", "one a call"))
    ]
    loads, sizes = result["seconds_to_load"], result["megabytes"]
    rates += [
        ["files", *(f"{sizes[name]:.1f} MB" for name in both), ""],
        ["`from_pretrained`, after the imports", *(milliseconds(loads[name]) for name in both), ""],
    ]
    head = [f"{result['threads']} threads", "default model", result["reference"], "times as fast"]
    return (
        f"From audio in memory to embeddings, {result['clips']['clips']} clips of "
        f"{result['clips']['median_seconds']:.1f} s in the median.\n\n" + table(head, rates)
    )


def _results(folder: Path) -> Results:
    """Return what is measured so far, the default model first."""
    results = [read(path) for path in sorted(folder.glob("*.json")) if path.stem not in _OTHERS]
    names = sorted({result["name"] for result in results}, key=lambda name: (name != "default", name))
    return {name: {result["corpus"]: result for result in results if result["name"] == name} for name in names}


def _missing(command: str) -> str:
    return f"Not measured yet: `{command}`\n"


def _caption(found: Results) -> str:
    """Say what the numbers are, and which of them are of no worth because the model was trained on the corpus."""
    of = next(iter(next(iter(found.values())).values()))
    episodes = next(iter(of["protocols"].values()))["episodes"]
    trained = [
        f"{name} {corpus}" for name, by in found.items() for corpus, result in by.items() if result["had_heard_it"]
    ]
    warning = f" Trained on the corpus itself, so no measure of it: {', '.join(trained)}." if trained else ""
    return f"UAR in %, mean ± 95 % CI over {episodes} frozen episodes a corpus.{warning}\n\n"


def _corpora(found: Results, protocol: str) -> list[str]:
    return sorted({corpus for of in found.values() for corpus in of if protocol in of[corpus]["protocols"]})


def _score(of: Mapping[str, Any], protocol: str, corpus: str) -> dict[str, float] | None:
    score: dict[str, float] | None = of.get(corpus, {}).get("protocols", {}).get(protocol, {}).get("uar")
    return score


def _chance(found: Results, protocol: str) -> str:
    scores = (result["protocols"].get(protocol) for of in found.values() for result in of.values())
    return next((f"{100 * score['chance']:.1f}" for score in scores if score), "-")


def _cell(score: Mapping[str, float] | None) -> str:
    return "-" if score is None else percent(score)


def _mean(scores: Iterable[Mapping[str, float] | None]) -> str:
    """Return the mean over corpora, whose episodes have nothing in common; none where a corpus is missing."""
    held = list(scores)
    whole = [score for score in held if score is not None]
    if not whole or len(whole) < len(held):
        return "-"
    half_width = math.hypot(*(score["ci95"] for score in whole)) / len(whole)
    return percent({"mean": sum(score["mean"] for score in whole) / len(whole), "ci95": half_width})


def _loss(heard: Mapping[str, Any]) -> str:
    return f"{100 * heard['uar']['mean']:.1f} ({percent(heard['loss'])})"


def _gap(gender: Mapping[str, Any] | None) -> list[str]:
    if gender is None:
        return ["-", "-", "too few clips of one gender"]
    sides = [f"{percent(gender['uar'][kind])} ({gender['uar'][kind]['episodes']})" for kind in ("female", "male")]
    return [*sides, percent(gender["gap"])]


def _times(result: Mapping[str, float]) -> str:
    return f"{result['times_as_fast']:.1f} (slowest round {result['slowest_round']:.1f})"
