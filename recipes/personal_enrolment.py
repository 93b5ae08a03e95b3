r"""How many of your own clips are worth how many of other people's? For one speaker at a time.

The queries of an episode are of one speaker, 4-way. The same queries are recognised with different supports: one to
five clips an emotion of that speaker, five of other speakers, or both together. Nothing is trained here.

    uv run python recipes/personal_enrolment.py --corpora ../shared/corpora \
        --models 'runs/default/without_{corpus}/model'
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from _models import features_of
from _recipe import Recipe, options, rows_of, score, with_models

from ser_fewshot.corpora import Utterance
from ser_fewshot.episodes import Episode, EpisodeSpec, Ids

# Few speakers have more than eight clips of one emotion.
SPEC = EpisodeSpec(n_way=4, k_shot=5, n_query=3, query_speaker="same")
OTHERS = 5  # clips an emotion, of as many speakers
MIXTURES = {"1 own": (1, 0), "2 own": (2, 0), "3 own": (3, 0), "5 own": (5, 0), "5 others, 1 own": (1, 5)}
MIXTURES |= {"5 others, 5 own": (5, 5)}
ALONE = "5 others"


def main(argv: Sequence[str] | None = None) -> None:
    recipe = Recipe(__file__, __doc__, with_models(options(__doc__)).parse_args(argv))
    clips = recipe.utterances(others=False)
    for corpus in recipe.arguments.corpus:
        model, named = recipe.pretrained(corpus, clips)
        own = features_of(model, [clip for clip in clips if clip.corpus == corpus])
        episodes = recipe.draw(own, SPEC)
        mixtures = {ALONE: (0, OTHERS), **MIXTURES}
        scores = {
            f"{named}, {words}": score(model, own, list(mixed(episodes, own.utterances, *counts, recipe.seed)), SPEC)
            for words, counts in mixtures.items()
        }
        headline = [name for name in scores if name.endswith((ALONE, "1 own", "5 own"))]
        recipe.write(corpus, rows_of(scores, same_queries=True), headline=headline)


def mixed(
    episodes: Sequence[Episode], clips: Sequence[Utterance], n_own: int, n_others: int, seed: int
) -> Iterator[Episode]:
    """Yield the episodes with a support of so many clips of the speaker, and of others, for each emotion."""
    by_id = {clip.id: clip for clip in clips}
    for episode in episodes:
        speaker = by_id[episode.query[0][0]].speaker_key
        rng = np.random.default_rng([seed, episode.index])
        others = [others_of(clips, label, speaker, rng)[:n_others] for label in episode.classes]
        support = tuple(own[:n_own] + other for own, other in zip(episode.support, others, strict=True))
        yield replace(episode, support=support)


def others_of(clips: Sequence[Utterance], emotion: str, speaker: str | None, rng: np.random.Generator) -> Ids:
    """Return one clip of an emotion from each speaker but one, in random order."""
    others = [clip for clip in clips if clip.emotion == emotion and clip.speaker_key != speaker]
    one_each = {others[row].speaker_key: others[row].id for row in rng.permutation(len(others))}
    return tuple(one_each.values())


if __name__ == "__main__":
    main()
