r"""What is the next clip worth, from one clip a class to twenty? On the same queries.

4-way by emotion, speakers of support and query disjoint. Episodes are drawn 20-shot; of the support the first 1, 2, 3,
5, 10 or all clips a class are used, so that all points of the curve have the same queries.

    uv run python recipes/shots_curve.py --corpora ../shared/corpora \
        --models 'runs/default/without_{corpus}/model'
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from _models import features_of
from _recipe import MEAN, STATISTICS, Recipe, Rows, options, rows_of, score, with_models

from ser_fewshot.episodes import Episode, EpisodeSpec

SPEC = EpisodeSpec(n_way=4, k_shot=20, n_query=5)


def main(argv: Sequence[str] | None = None) -> None:
    parser = with_models(options(__doc__, episodes=300))
    parser.add_argument("--shots", nargs="+", type=int, default=[1, 2, 3, 5, 10, 20])
    recipe = Recipe(__file__, __doc__, parser.parse_args(argv))
    shots: list[int] = recipe.arguments.shots
    for corpus, own, rest in recipe.each_corpus(recipe.logmel()):
        default, named = recipe.pretrained(corpus, own.utterances)
        models = {
            "nearest, mean log-mel": recipe.scaled(MEAN, rest, task=SPEC),
            "ridge, statistics": recipe.scaled(STATISTICS, rest, task=SPEC),
            named: default,
        }
        episodes = recipe.draw(own, replace(SPEC, k_shot=max(shots)))
        rows: Rows = {}
        for name, model in models.items():
            clips = features_of(model, own.utterances)
            curve = {
                f"{name}, {k_shot}-shot": score(model, clips, first(episodes, k_shot), replace(SPEC, k_shot=k_shot))
                for k_shot in shots
            }
            rows |= rows_of(curve, same_queries=True)
        recipe.write(corpus, rows, headline=[row for row in rows if row.startswith(named)])


def first(episodes: Sequence[Episode], k_shot: int) -> list[Episode]:
    """Return the episodes with only the first clips of each class in the support."""
    return [replace(episode, support=tuple(part[:k_shot] for part in episode.support)) for episode in episodes]


if __name__ == "__main__":
    main()
