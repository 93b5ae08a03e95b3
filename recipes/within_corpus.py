"""How well are emotions of unseen speakers recognised after training on others of the same corpus? Three learners.

Two in five speakers are held out for the test; the emotions are the same. Episodes are 4-way 5-shot, speakers of
support and query disjoint. Because a corpus has few speakers, they are split several times: the interval is over the
episodes of all splits.

    uv run python recipes/within_corpus.py --corpora ../shared/corpora
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from _recipe import MEAN, STATISTICS, TRAINED, Recipe, options, pooled, rows_of, score

from ser_fewshot.episodes import EpisodeSpec
from ser_fewshot.episodes.splits import split_by_speaker
from ser_fewshot.evaluation import Evaluation
from ser_fewshot.frontends import FeatureSet
from ser_fewshot.models import Model, ModelConfig

SPEC = EpisodeSpec(n_way=4, k_shot=5, n_query=5)
# Two speakers are for meta-validation, and few speakers have ten clips of an emotion.
TASK = EpisodeSpec(n_way=4, k_shot=3, n_query=3)
TEST, VALIDATION = 0.4, 1 / 3  # of the speakers; of those that are left
LEARNERS = ("protonet", "ridge", "finetune")


def main(argv: Sequence[str] | None = None) -> None:
    parser = options(__doc__, episodes=200)
    parser.add_argument("--splits", type=int, default=3, help="draws of the speakers, --episodes of each")
    recipe = Recipe(__file__, __doc__, parser.parse_args(argv))
    for corpus, own, _ in recipe.each_corpus(recipe.logmel(others=False)):
        draws = [draw(recipe, own, seed) for seed in range(1 if recipe.arguments.smoke else recipe.arguments.splits)]
        rows = rows_of({name: pooled([scores[name] for scores in draws]) for name in draws[0]})
        recipe.write(corpus, rows, headline=("ridge, statistics", *(f"{name}, trained" for name in LEARNERS)))


def draw(recipe: Recipe, own: FeatureSet, seed: int) -> Mapping[str, Evaluation]:
    """Return the score of every learner on the speakers that one split holds out."""
    known, test = map(own.subset, split_by_speaker(own.utterances, test_fraction=TEST, seed=recipe.seed + seed))
    models: dict[str, Model] = {
        "nearest, mean log-mel": recipe.scaled(MEAN, known, task=TASK),
        "ridge, statistics": recipe.scaled(STATISTICS, known, task=TASK),
    }
    for name in LEARNERS:
        config = ModelConfig(learner=name, settings=TRAINED)
        models[f"{name}, trained"], _ = recipe.trained(config, known, task=TASK, validation=VALIDATION)
    episodes = recipe.draw(test, SPEC, seed=recipe.seed + seed)
    return {name: score(model, test, episodes, SPEC) for name, model in models.items()}


if __name__ == "__main__":
    main()
