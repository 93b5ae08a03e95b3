"""Scores, ablation, calibration and speed of the default model, each on corpora left out of its training."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
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
    "--as-enrolled --corpora DIR"
)
BENCH = "uv run python recipes/bench_default.py --reference runs/whisper-3 --corpora DIR"
ABLATE = "uv run python recipes/ablate_default.py --corpora DIR DIR --corpus ased emodb ravdess urdu"
_ABLATED = {"emotions": "speakers not enrolled", "emotions_same_speaker": "the speaker enrolled"}
_OTHERS = ("ablation", "speed")  # results of other kinds in the same folder

Results = dict[str, dict[str, dict[str, Any]]]  # by model, by corpus


def _of_results(table_of: Callable[[Results], str]) -> Callable[..., str]:
    """Turn a table of results into one of the folder with their files; without any, it names the command."""

    def of_folder(folder: Path = DEFAULT) -> str:
        found = _results(folder)
        return table_of(found) if found else _missing(MEASURE)

    return of_folder


@_of_results
def default_model(found: Results) -> str:
    """Every model by every protocol, as the mean over corpora."""
    rows = [
        [
            name,
            *(_mean([_score(of, protocol, corpus) for corpus in _corpora(found, protocol)]) for protocol in PROTOCOLS),
        ]
        for name, of in found.items()
    ]
    heads = [f"{words} (corpora: {len(_corpora(found, protocol))})" for protocol, words in PROTOCOLS.items()]
    chances = [_chance(found, protocol) for protocol in PROTOCOLS]
    return _caption(found) + table(["model", *heads], [*rows, ["chance", *chances]])


@_of_results
def default_model_by_corpus(found: Results) -> str:
    """Every model by every protocol on every corpus."""
    corpora = sorted({corpus for of in found.values() for corpus in of})
    rows = []
    for protocol, words in PROTOCOLS.items():
        complete = _corpora(found, protocol)
        for name, of in found.items():
            scores = {corpus: _score(of, protocol, corpus) for corpus in corpora}
            rows.append([words, name, *map(_cell, scores.values()), _mean([scores[corpus] for corpus in complete])])
    return _caption(found) + table(["protocol", "model", *corpora, "mean"], rows)


@_of_results
def default_robustness(found: Results) -> str:
    """UAR with degraded queries, and the loss."""
    corpora = _corpora(found, "emotions")
    rows = []
    for name, of in found.items():
        scores = {corpus: of[corpus]["protocols"]["emotions"] for corpus in corpora if corpus in of}
        for condition in next(iter(scores.values()))["conditions"]:
            degraded = {corpus: score["conditions"][condition] for corpus, score in scores.items()}
            cells = [_loss(degraded[corpus]) if corpus in degraded else "-" for corpus in corpora]
            rows.append([name, condition, *cells, _mean([degraded.get(corpus, {}).get("loss") for corpus in corpora])])
    return (
        "Emotions of speakers not enrolled, 4-way 5-shot. UAR in % with the queries under a condition and the support "
        "as `enroll` makes it; in brackets the points lost, ± 95 % CI, on the same episodes.\n\n"
        + table(["model", "queries through", *corpora, "mean loss"], rows)
    )


@_of_results
def default_gender(found: Results) -> str:
    """UAR on the queries of women and of men, and the gap."""
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


@_of_results
def default_recall(found: Results) -> str:
    """Recall of each emotion, speakers disjoint."""
    rows = []
    for name, of in found.items():
        for corpus, result in of.items():
            rates = result["protocols"]["emotions"]["recall"]
            rows.append([name, corpus, ", ".join(f"{label} {100 * rate:.0f}" for label, rate in rates.items())])
    return table(["model", "corpus", "recall of each class in %, speakers not enrolled"], rows)


def default_ablation(folder: Path = DEFAULT) -> str:
    """Every part by every corpus, for both protocols of emotions."""
    path = folder / "ablation.json"
    if not path.exists():
        return _missing(ABLATE)
    found: dict[str, dict[str, Any]] = read(path)["corpora"]
    pages = []
    for protocol, words in _ABLATED.items():
        corpora = [name for name, variants in found.items() if protocol in next(iter(variants.values()))]
        if not corpora:
            continue
        variants = dict.fromkeys(variant for name in corpora for variant in found[name])
        rows = []
        for variant in variants:
            scores = [found[name].get(variant, {}).get(protocol, {}).get("uar") for name in corpora]
            whole = [score["mean"] for score in scores if score]
            mean = f"{100 * sum(whole) / len(whole):.1f}" if len(whole) == len(corpora) else "-"
            rows.append([variant, *("-" if score is None else percent(score) for score in scores), mean])
        pages.append(f"Emotions, 4-way 5-shot, {words}; UAR in %, ± 95 % CI.\n\n{table(['', *corpora, 'mean'], rows)}")
    return "\n".join(pages)


def default_confidence(folder: Path = DEFAULT) -> str:
    """Calibration and the answer "unknown", of the default model on corpora left out."""
    results = [read(path) for path in sorted(folder.glob("default_*.json"))]
    rows = []
    for result in results:
        score = result["protocols"]["emotions"]
        if score.get("reliability"):
            reliability, unknown = score["reliability"], score["open_set"]
            eces = [f"{reliability[when]['ece']:.3f}" for when in ("before", "after")]
            rates = [f"{unknown[name]:.3f}" for name in ("auroc", "fpr95", "oscr")]
            rows.append(
                [result["corpus"], *eces, *rates, percent(unknown["known_kept"]), percent(unknown["unknown_flagged"])]
            )
    if not rows:
        return _missing(MEASURE)
    head = ["corpus", "ECE before", "ECE", "AUROC", "FPR at 95 % recall", "OSCR", "known kept, %", "unknown flagged, %"]
    return table(head, rows)


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
    """Return what the numbers are, and which are void because the model was trained on the corpus."""
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
    every = list(scores)
    whole = [score for score in every if score is not None]
    if not whole or len(whole) < len(every):
        return "-"
    half_width = math.hypot(*(score["ci95"] for score in whole)) / len(whole)
    return percent({"mean": sum(score["mean"] for score in whole) / len(whole), "ci95": half_width})


def _loss(degraded: Mapping[str, Any]) -> str:
    return f"{100 * degraded['uar']['mean']:.1f} ({percent(degraded['loss'])})"


def _gap(gender: Mapping[str, Any] | None) -> list[str]:
    if gender is None:
        return ["-", "-", "too few clips of one gender"]
    sides = [f"{percent(gender['uar'][kind])} ({gender['uar'][kind]['episodes']})" for kind in ("female", "male")]
    return [*sides, percent(gender["gap"])]


def _times(result: Mapping[str, float]) -> str:
    return f"{result['times_as_fast']:.1f} (slowest round {result['slowest_round']:.1f})"
