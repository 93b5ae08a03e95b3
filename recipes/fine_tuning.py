"""Is episodic training worth more than conventional training and fine-tuning on the few clips? On the same episodes.

Fine-tuning (a new head; head and encoder) and multi-task training (emotions and speakers; a head for each corpus) use
the same clips and as many steps as the meta-learners, without episodes. All adapt to the same 4-way 5-shot episodes of
a held-out corpus in another language, speakers of support and query disjoint.

    uv run python recipes/fine_tuning.py --corpora ../shared/corpora
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from _recipe import STATISTICS, TRAINED, Recipe, options, rows_of, score

from ser_fewshot.episodes import EpisodeSpec
from ser_fewshot.models import ModelConfig

SPEC = EpisodeSpec(n_way=4, k_shot=5, n_query=10)
TASK = EpisodeSpec(n_way=4, k_shot=5, n_query=5)
CONVENTIONAL: dict[str, tuple[str, dict[str, Any]]] = {
    "fine-tuning, head": ("finetune", {"scope": "head"}),
    "fine-tuning, whole": ("finetune", {"scope": "whole", "head": {"steps": 20}}),
    "multi-task, emotion and speaker": ("multitask", {"tasks": "emotion+speaker"}),
    "multi-task, a head for each corpus": ("multitask", {"tasks": "corpora"}),
}
EPISODIC: dict[str, tuple[str, dict[str, Any]]] = {"protonet": ("protonet", {}), "ridge": ("ridge", {})}


def main(argv: Sequence[str] | None = None) -> None:
    recipe = Recipe(__file__, __doc__, options(__doc__).parse_args(argv))
    for corpus, own, rest in recipe.each_corpus(recipe.logmel()):
        episodes = recipe.draw(own, SPEC)
        scores = {
            "not trained: ridge, statistics": score(recipe.scaled(STATISTICS, rest, task=TASK), own, episodes, SPEC)
        }
        for name, (learner, settings) in {**CONVENTIONAL, **EPISODIC}.items():
            config = ModelConfig(learner=learner, settings={**TRAINED, **settings})
            model, _ = recipe.trained(config, rest, task=TASK)
            scores[name] = score(model, own, episodes, SPEC)
        recipe.write(corpus, rows_of(scores), headline=scores)


if __name__ == "__main__":
    main()
