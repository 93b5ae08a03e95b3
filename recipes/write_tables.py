"""Write the tables of README.md, RESULTS.md and docs from the files in recipes/results; none is typed by hand.

uv run python recipes/write_tables.py
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

from _tables import benchmark, default_model, demo, growth, held_out, pretrained, recipes, speed, voice, voices

from ser_fewshot.storage.files import write_atomically

HERE = Path(__file__).parent
PAGES = (HERE.parent / "README.md", HERE.parent / "RESULTS.md", *sorted((HERE.parent / "docs").rglob("*.md")))
MARK = re.compile(r"(<!-- table: (?P<name>\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def main() -> None:
    for page in PAGES:
        write_atomically(page, filled(page.read_text(encoding="utf-8")))


def filled(text: str) -> str:
    """Return a page with every marked table written anew."""
    return MARK.sub(lambda found: found[1] + TABLES[found["name"]]() + found[3], text)


TABLES: dict[str, Callable[[], str]] = {
    "leave_one_corpus_out": held_out.leave_one_corpus_out,
    "training": held_out.training,
    "recall": held_out.recall,
    "benchmark": benchmark.benchmark,
    "contrast": benchmark.contrast,
    "choose_by_question": benchmark.by_question,
    "choose_by_learner": benchmark.by_learner,
    "split_protocols": held_out.split_protocols,
    "pretrained": pretrained.pretrained,
    "pretrained_untrimmed": pretrained.pretrained_untrimmed,
    "pretrained_best": pretrained.pretrained_best,
    "silence_tells": pretrained.silence_tells,
    "default_model": default_model.default_model,
    "default_model_by_corpus": default_model.default_model_by_corpus,
    "default_robustness": default_model.default_robustness,
    "default_gender": default_model.default_gender,
    "default_recall": default_model.default_recall,
    "default_ablation": default_model.default_ablation,
    "default_confidence": default_model.default_confidence,
    "default_speed": default_model.default_speed,
    "demo_limits": demo.demo_limits,
    "demo_speed": demo.demo_speed,
    "voice_speech": voice.speech,
    "voice_sounds": voice.sounds,
    "voices_by_clips": voices.by_clips,
    "voices_by_condition": voices.by_condition,
    "voices_by_embedding": voices.by_embedding,
    "learner_speed": speed.learner_speed,
    "frontend_speed": speed.frontend_speed,
    "growth_extraction": growth.growth_extraction,
    "growth_processes": growth.growth_processes,
    "growth_thousand_hours": growth.growth_thousand_hours,
    "speed": speed.speed,
    "busy": speed.busy,
    "startup": speed.startup,
    "recipes": recipes.recipes,
    **{f"recipe_{name}": partial(recipes.details, name) for name in recipes.QUESTIONS},
}

if __name__ == "__main__":
    main()
