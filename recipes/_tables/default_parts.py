"""What the parts of the default model are worth, and how sure of its answers it may be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from _tables._text import percent, read, table
from _tables.default_model import DEFAULT, MEASURE

PROTOCOLS = {"emotions": "speakers not enrolled", "emotions_same_speaker": "the speaker enrolled"}


def default_ablation(folder: Path = DEFAULT) -> str:
    """Every part by every corpus, for both protocols of emotions."""
    path = folder / "ablation.json"
    if not path.exists():
        return "Not measured yet: `uv run python recipes/ablate_default.py --teachers DIR DIR --corpora DIR`\n"
    found: dict[str, dict[str, Any]] = read(path)["corpora"]
    pages = []
    for protocol, words in PROTOCOLS.items():
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
        return f"Not measured yet: `{MEASURE}`\n"
    head = ["corpus", "ECE before", "ECE", "AUROC", "FPR at 95 % recall", "OSCR", "known kept, %", "unknown flagged, %"]
    return table(head, rows)
