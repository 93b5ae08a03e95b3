"""How much does the split alone change the score? Four splits.

One classifier, four splits of the same corpus:

- conventional: 80 % of the clips of every class for training, 20 % for the test; speakers are on both sides;
- 80 % of the speakers for training, 20 % for the test, so that no speaker is on both sides;
- episodes: all classes of the corpus, 5-shot or 1-shot, speakers of support and query disjoint.

The classifier is ridge regression on fixed statistics with the feature scale of the other corpora; nothing else is
trained, so that the rows differ in nothing but the split.

    uv run python recipes/split_protocols.py --corpora ../shared/corpora
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count, islice
from typing import Any

from _recipe import STATISTICS, Recipe, options

from ser_fewshot.corpora import Utterance
from ser_fewshot.episodes import Episode, EpisodeSampler, EpisodeSpec
from ser_fewshot.episodes.splits import Parts, split_by_speaker, split_every_class
from ser_fewshot.evaluation import evaluate
from ser_fewshot.frontends import FeatureSet
from ser_fewshot.learners import Learner

Clips = Sequence[Utterance]

SCALE = EpisodeSpec(n_way=4)  # draws the clips that the feature scale is fitted to
TEST_FRACTION = 0.2


def main(argv: Sequence[str] | None = None) -> None:
    parser = options(__doc__, corpus=())
    parser.add_argument("--splits", type=int, default=20, help="draws of each 80/20 split")
    recipe = Recipe(__file__, __doc__, parser.parse_args(argv))
    for corpus, own, rest in recipe.each_corpus(recipe.logmel()):
        learner = recipe.scaled(STATISTICS, rest, task=SCALE).learner
        found = dict(rows(learner, own, recipe))
        recipe.write(corpus, found, headline=[name for name in found if not name.startswith("1-shot")])


def rows(learner: Learner, corpus: FeatureSet, recipe: Recipe) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the score of each split of a corpus."""
    classes = sorted({clip.emotion for clip in corpus.utterances if clip.emotion is not None})
    clips = [clip for clip in corpus.utterances if clip.emotion is not None]
    n_splits = 2 if recipe.arguments.smoke else recipe.arguments.splits

    def scored(episodes: Sequence[Episode]) -> dict[str, Any]:
        return score(learner, corpus, episodes)

    def every_class(seed: int) -> Parts:
        return split_every_class(clips, test_fraction=TEST_FRACTION, seed=seed)

    def by_speaker(seed: int) -> Parts:
        return split_by_speaker(clips, test_fraction=TEST_FRACTION, seed=seed)

    for name, split in (("80/20 of every class", every_class), ("80/20 of the speakers", by_speaker)):
        parts = map(split, count(recipe.seed))
        whole = (part for part in parts if all(has_all(side, classes) for side in part))
        yield name, scored([as_episode(part, index) for index, part in enumerate(islice(whole, n_splits))])
    for k_shot in (5, 1):
        spec = EpisodeSpec(n_way=len(classes), k_shot=k_shot, n_query=5)
        episodes = EpisodeSampler(clips, spec, seed=recipe.seed).draw_many(recipe.episodes)
        yield f"{k_shot}-shot episodes, speakers disjoint", scored(episodes)


def has_all(clips: Clips, classes: Sequence[str]) -> bool:
    """Return whether every class occurs: in one corpus most speakers have one emotion, so a split may lack another."""
    return {clip.emotion for clip in clips} >= set(classes)


def as_episode(parts: Parts, index: int) -> Episode:
    """Return an 80/20 split as one very large episode."""
    classes = tuple(sorted({clip.emotion for clip in parts[0] if clip.emotion is not None}))
    support, query = (
        tuple(tuple(clip.id for clip in part if clip.emotion == label) for label in classes) for part in parts
    )
    return Episode(index, classes, support, query)


def score(learner: Learner, corpus: FeatureSet, episodes: Sequence[Episode]) -> dict[str, Any]:
    """Score a learner on episodes of any size."""
    n_way = len(episodes[0].classes)
    spec = EpisodeSpec(n_way=n_way, query_speaker="any")  # only the number of classes matters
    found = evaluate(learner, corpus, episodes, spec=spec).as_dict()
    kept = {key: found[key] for key in ("episodes", "episodes_sha256", "chance", "uar", "accuracy", "recall")}
    return {**kept, "n_way": n_way, "clips": round(sum(map(len, episodes[0].support)) / n_way, 1)}


if __name__ == "__main__":
    main()
