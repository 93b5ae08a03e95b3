"""What does each phase of meta-transfer learning add? One after the other.

(a) pretrain the encoder on all classes of the other corpora; (b) freeze it and meta-learn scales, shifts and the start
of the classifier over episodes; (c) the same with harder episodes of the classes that failed. After each phase, the
same meta-test: 4-way 5-shot on a held-out corpus in another language, speakers of support and query disjoint.

    uv run python recipes/mtl_phases.py --corpora ../shared/corpora
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence

from _recipe import TRAINED, Recipe, options, rows_of, score

from ser_fewshot.episodes import EpisodeSpec
from ser_fewshot.episodes.splits import split_by_speaker
from ser_fewshot.evaluation import compare
from ser_fewshot.frontends import FeatureSet
from ser_fewshot.models import Model, ModelConfig, build_model

SPEC = EpisodeSpec(n_way=4, k_shot=5, n_query=10)
TASK = EpisodeSpec(n_way=4, k_shot=5, n_query=5)
VALIDATION = 0.2  # of the speakers


def main(argv: Sequence[str] | None = None) -> None:
    recipe = Recipe(__file__, __doc__, options(__doc__).parse_args(argv))
    for corpus, own, rest in recipe.each_corpus(recipe.logmel()):
        episodes = recipe.draw(own, SPEC)
        scores = {name: score(model, own, episodes, SPEC) for name, model in phases(recipe, rest)}
        rows = rows_of(scores)
        for before, after in ((1, 2), (1, 3), (2, 3)):
            first, second = list(scores)[before], list(scores)[after]
            rows[second][f"over {first}"] = compare(scores[second], scores[first]).as_dict()
        recipe.write(corpus, rows, headline=rows)


def phases(recipe: Recipe, rest: FeatureSet) -> Iterator[tuple[str, Model]]:
    """Yield the model before and after each phase; (b) and (c) start from the same pretrained encoder."""
    parts = split_by_speaker(rest.utterances, test_fraction=VALIDATION, seed=recipe.seed)
    model = recipe.scaled(ModelConfig(learner="mtl", settings={**TRAINED, "hard_tasks": 0}), rest, task=TASK)
    yield "no phase: random encoder", model
    recipe.train(model, rest, parts, objective="classes", task=TASK)
    yield "a: pretrained", model
    pretrained = copy.deepcopy(model.learner.state_dict())
    for name, hard_tasks in (("a, b: scaled and shifted", 0), ("a, b, c: with hard tasks", 1)):
        settings = {**TRAINED, "hard_tasks": hard_tasks}
        model = build_model(ModelConfig(learner="mtl", settings=settings), seed=recipe.seed)
        model.learner.load_state_dict(pretrained)
        recipe.train(model, rest, parts, objective="episodes", task=TASK)
        yield name, model


if __name__ == "__main__":
    main()
