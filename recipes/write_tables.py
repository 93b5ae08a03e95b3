"""Write the tables of README.md and RESULTS.md from the files in recipes/results; no number in them is typed by hand.

uv run python recipes/write_tables.py
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from ser_fewshot._files import write_atomically

HERE = Path(__file__).parent
PAGES = (HERE.parent / "README.md", HERE.parent / "RESULTS.md")
CONVENTIONAL = ("finetune, head", "finetune, whole", "multitask")
UNTRAINED = ("nearest, mean log-mel", "nearest, statistics", "ridge, statistics")
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


def learners(*kinds: str) -> str:
    """Every learner on the questions of some kinds; what is not above the baseline is marked."""
    columns = [
        (f"{result['question']}, {spec.split(' by ')[0]}", {name: row["scores"][spec] for name, row in of.items()})
        for result in _questions()
        if result["kind"] in kinds
        for of in [result["learners"]]
        for spec in next(iter(of.values()))["scores"]
    ]
    _, first = columns[0]
    baseline = next(iter(first))
    rows = [[name, *(_marked(of, name, baseline) for _, of in columns)] for name in first]
    rows.append(["chance", *(f"{100 * of[baseline]['chance']:.1f}" for _, of in columns)])
    return (
        f"UAR in %, mean ± 95 % CI over {first[baseline]['episodes']} episodes. Bold: the best of a column. ↓: its "
        f"interval is not wholly above that of {baseline}.\n\n"
        + _table(["learner", *(question for question, _ in columns)], rows)
    )


def _marked(scores: Mapping[str, Any], name: str, baseline: str) -> str:
    uar, base = scores[name]["uar"], scores[baseline]["uar"]
    best = max(score["uar"]["mean"] for score in scores.values())
    above = name == baseline or uar["mean"] - uar["ci95"] > base["mean"] + base["ci95"]
    text = f"**{_percent(uar)}**" if uar["mean"] == best else _percent(uar)
    return text if above else f"{text} ↓"


def contrast() -> str:
    """Whether meta-learning, its contrasts or no training at all win a question."""
    rows = []
    for result in _questions():
        for spec in next(iter(result["learners"].values()))["scores"]:
            scores = {name: row["scores"][spec]["uar"] for name, row in result["learners"].items()}
            meta = [name for name in scores if name not in CONVENTIONAL + UNTRAINED]
            best = [max(group, key=lambda name: scores[name]["mean"]) for group in (meta, CONVENTIONAL, UNTRAINED)]
            first, second = sorted((scores[name] for name in best), key=lambda uar: -uar["mean"])[:2]
            apart = first["mean"] - first["ci95"] > second["mean"] + second["ci95"]
            winner = max(best, key=lambda name: scores[name]["mean"]) if apart else "none"
            question = f"{result['question']}, {spec.split(' by ')[0]}"
            rows.append([question, *(f"{name}: {_percent(scores[name])}" for name in best), winner])
    return _table(["question", "best meta-learner", "best fine-tuning or multi-task", "best untrained", "wins"], rows)


def _questions() -> list[dict[str, Any]]:
    """Return the results of compare_learners.py, each with what it asked in a few words."""
    results = []
    for path in sorted((HERE / "results" / "learners").glob("*.json")):
        kind, corpus = path.stem.split("_")
        words = {"emotions": corpus, "classes": f"unseen classes of {corpus}", "speakers": f"speakers of {corpus}"}
        results.append({"question": words[kind], "kind": kind, **_read(path)})
    return sorted(results, key=lambda result: ("emotions", "classes", "speakers").index(result["kind"]))


def learner_speed() -> str:
    result = _read(HERE / "results" / "learners_speed.json")
    conv4, head, default, memory = (result[key] for key in ("maml_conv4", "head", "maml_default", "memory"))
    rows = [
        *(
            [f"second-order MAML on Conv-4, {words}, against a loop over tasks", _times(conv4[way]), _float(conv4[way])]
            for way, words in (("same_layers", "the same layers"), ("fused_layers", "layers fused"))
        ),
        [f"a head on cached embeddings, {head['tasks']} tasks at once, against a loop", _times(head), _float(head)],
        ["MAML as it comes, tasks side by side against one after the other", _times(default), _float(default)],
    ]
    return (
        _table(["a meta-training step", "times as fast", "relative difference of the gradients"], rows)
        + f"\nResident memory over {memory['steps']} steps of the second row: {memory['after_warm_up']:.0f} MB after "
        f"the warm-up, {memory['at_the_end']:.0f} MB at the end, {memory['highest']:.0f} MB at its highest.\n"
    )


def _times(result: Mapping[str, float]) -> str:
    return f"{result['times_as_fast']:.1f} (slowest round {result['slowest_round']:.1f})"


def _float(result: Mapping[str, float]) -> str:
    return f"{result['relative_difference_of_gradients']:.1e}"


def split_protocols() -> str:
    result = _read(HERE / "results" / "split_protocols.json")["corpora"]
    head = [
        "learned from, tested on",
        *(f"{name}, {next(iter(of.values()))['n_way']}-way" for name, of in result.items()),
    ]
    rows = [
        [
            protocol,
            *(f"{_percent(of[protocol]['uar'])} ({of[protocol]['clips']:g} clips a class)" for of in result.values()),
        ]
        for protocol in next(iter(result.values()))
    ]
    rows.append(["chance", *(f"{100 * next(iter(of.values()))['chance']:.1f}" for of in result.values())])
    return _table(head, rows)


def pretrained() -> str:
    """Every layer and every learner on weighted layers, by corpus."""
    result = _read(HERE / "results" / "pretrained_whisper-base.json")["corpora"]
    return _by_corpus(result, list(next(iter(result.values()))))


def pretrained_untrimmed() -> str:
    """The same layers with the silence at the ends of clips left in."""
    result = _read(HERE / "results" / "pretrained_whisper-base-untrimmed.json")["corpora"]
    return _by_corpus(result, [name for name in next(iter(result.values())) if name.endswith("mean and std")])


def silence_tells() -> str:
    result = _read(HERE / "results" / "silence_tells.json")["corpora"]
    return _by_corpus(result, list(next(iter(result.values()))))


def pretrained_best() -> str:
    """The layer that is best on average, and the layers weighted, beside log-mel."""
    result = _read(HERE / "results" / "pretrained_whisper-base.json")["corpora"]
    names = list(next(iter(result.values())))
    alone = [name for name in names if not name.startswith("weighted")]
    best = max(alone, key=lambda name: sum(of[name]["uar"]["mean"] for of in result.values()))
    logmel = {
        corpus: _read(HERE / "results" / f"leave_out_{corpus}.json")["learners"]["ridge, statistics"]
        for corpus in result
    }
    both = {corpus: {"log-mel, ridge": logmel[corpus], **of} for corpus, of in result.items()}
    return "Whisper base, frozen. " + _by_corpus(both, ["log-mel, ridge", best, "weighted, ridge", "weighted, mtl"])


def _by_corpus(result: Mapping[str, Mapping[str, Any]], names: list[str]) -> str:
    score = next(iter(result.values()))[names[0]]
    rows = []
    for name in names:
        scores = [of[name]["uar"] for of in result.values()]
        mean = sum(uar["mean"] for uar in scores) / len(scores)
        rows.append([name, *map(_percent, scores), f"{100 * mean:.1f}"])
    rows.append(["chance", *(f"{100 * score['chance']:.1f}" for _ in (*result, "mean"))])
    return f"UAR in %, mean ± 95 % CI over {score['episodes']} episodes; {score['protocol']}.\n\n" + _table(
        ["features and learner", *result, "mean"], rows
    )


def frontend_speed() -> str:
    result = _read(HERE / "results" / "frontends_speed.json")
    extraction, cache = result["extraction"], result["cache"]
    plain, modules = (
        extraction["times_as_fast_as"][key] for key in ("transformers", "transformers_modules_at_own_length")
    )
    rows = [
        ["one call of transformers a clip", f"{plain['median']:.1f} (slowest round {plain['slowest_round']:.1f})"],
        [
            "its encoder's modules on each clip at its own length",
            f"{modules['median']:.2f} (slowest round {modules['slowest_round']:.2f})",
        ],
        [
            "a second run from the cache, against the first",
            f"{cache['times_as_fast']:.0f} (slowest round {cache['slowest_round']:.0f})",
        ],
    ]
    return (
        _table(
            [f"{result['corpus']['clips']} clips through {result['encoder']['name']}, against", "times as fast"], rows
        )
        + f"\nLargest difference from transformers: {extraction['largest_difference']:.1e}, at values up to "
        f"{extraction['largest_value']:.0f}.\n"
    )


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


TABLES: dict[str, Callable[[], str]] = {
    "leave_one_corpus_out": leave_one_corpus_out,
    "training": training,
    "recall": recall,
    "emotions": partial(learners, "emotions"),
    "new_classes": partial(learners, "classes", "speakers"),
    "contrast": contrast,
    "learner_speed": learner_speed,
    "split_protocols": split_protocols,
    "pretrained": pretrained,
    "pretrained_untrimmed": pretrained_untrimmed,
    "silence_tells": silence_tells,
    "pretrained_best": pretrained_best,
    "frontend_speed": frontend_speed,
    "speed": speed,
}

if __name__ == "__main__":
    main()
