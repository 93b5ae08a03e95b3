"""What does it cost that an emotion was not in the training set? Against the same learners trained with it.

Some emotions and two in five speakers are held out. The test is on those emotions of those speakers alone: with
learners trained without the emotions, and with the same learners trained with them. Episodes are 5-shot, speakers of
support and query disjoint; the interval is over the episodes of several splits of the speakers.

    uv run python recipes/unseen_classes.py --corpora ../shared/corpora
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from _recipe import STATISTICS, TRAINED, Recipe, options, pooled, rows_of, score

from ser_fewshot.episodes import EpisodeSpec
from ser_fewshot.episodes.splits import split_by_class, split_by_speaker
from ser_fewshot.evaluation import Evaluation
from ser_fewshot.frontends import FeatureSet
from ser_fewshot.models import ModelConfig

TASK = EpisodeSpec(n_way=3, k_shot=3, n_query=3)
TEST, VALIDATION = 0.4, 1 / 3  # of the speakers; of those that are left
LEARNERS = ("protonet", "ridge", "finetune")


def main(argv: Sequence[str] | None = None) -> None:
    parser = options(__doc__, episodes=200)
    parser.add_argument("--held-out", nargs="+", default=["boredom", "disgust", "fear"], help="emotions, at least two")
    parser.add_argument("--splits", type=int, default=3, help="draws of the speakers, --episodes of each")
    recipe = Recipe(__file__, __doc__, parser.parse_args(argv))
    for corpus, own, _ in recipe.each_corpus(recipe.logmel(others=False)):
        draws = [draw(recipe, own, seed) for seed in range(1 if recipe.arguments.smoke else recipe.arguments.splits)]
        rows = rows_of({name: pooled([scores[name] for scores in draws]) for name in draws[0]})
        recipe.write(corpus, rows, headline=("ridge, statistics", "protonet, unseen", "protonet, seen"))


def draw(recipe: Recipe, own: FeatureSet, seed: int) -> Mapping[str, Evaluation]:
    """Return the score of every learner on the held-out emotions of the speakers that one split holds out."""
    held_out = recipe.arguments.held_out
    train, held_out_speakers = split_by_speaker(own.utterances, test_fraction=TEST, seed=recipe.seed + seed)
    known, _ = split_by_class(train, held_out)
    _, test_clips = split_by_class(held_out_speakers, held_out)
    test = own.subset(test_clips)
    models = {"ridge, statistics": recipe.scaled(STATISTICS, own.subset(known), task=TASK)}
    for name in LEARNERS:
        config = ModelConfig(learner=name, settings=TRAINED)
        for words, clips in (("unseen", known), ("seen", train)):
            models[f"{name}, {words}"], _ = recipe.trained(config, own.subset(clips), task=TASK, validation=VALIDATION)
    spec = EpisodeSpec(n_way=len(held_out), k_shot=5, n_query=5)
    episodes = recipe.draw(test, spec, seed=recipe.seed + seed)
    return {name: score(model, test, episodes, spec) for name, model in models.items()}


if __name__ == "__main__":
    main()
