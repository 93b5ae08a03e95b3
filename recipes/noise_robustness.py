r"""How robust is a model to noise, a room, the telephone and gain, and does it help to augment the support? Curves.

4-way 5-shot by emotion, speakers of support and query disjoint, the queries under each condition: noise (babble or
pink) from 20 to 0 dB, a small room, the telephone band, other gains. The support is as recorded; or augmented by each
of its clips at 10 dB, in the room and by telephone, whatever the condition of the queries; or matched, under the
condition of the queries. All on the same episodes.

    uv run python recipes/noise_robustness.py --corpora ../shared/corpora \
        --models 'runs/default/without_{corpus}/model'
    uv run python recipes/plot_noise.py
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from _microphones import EVERY, NOISES, SNR_DB, Wave
from _models import features_of
from _recipe import Recipe, Rows, options, rows_of, score, with_models
from measure_default import babble_of, through

from ser_fewshot.corpora import Utterance
from ser_fewshot.episodes import Episode, EpisodeSpec, Ids
from ser_fewshot.evaluation import Evaluation, interval
from ser_fewshot.frontends import FeatureSet
from ser_fewshot.learners import embed_clips
from ser_fewshot.models import Model

SPEC = EpisodeSpec(n_way=4, k_shot=5, n_query=10)
RECORDED = "as recorded"
CONDITIONS = (*NOISES, *(name for name in EVERY if name not in NOISES))
AUGMENTED = (RECORDED, f"noise, {SNR_DB:g} dB", "small room", "telephone")
SMOKE = ("noise, 10 dB", "small room", "telephone")
SUPPORTS = ("recorded", "augmented", "matched")


def main(argv: Sequence[str] | None = None) -> None:
    parser = with_models(options(__doc__, corpus=("ased", "emodb", "ravdess", "urdu")))
    parser.add_argument("--clips", type=int, default=400, help="of each corpus, drawn by the seed")
    recipe = Recipe(__file__, __doc__, parser.parse_args(argv))
    conditions = SMOKE if recipe.arguments.smoke else CONDITIONS
    clips = recipe.utterances()
    for corpus in recipe.arguments.corpus:
        model, _ = recipe.pretrained(corpus, clips)
        own = some([clip for clip in clips if clip.corpus == corpus], recipe.arguments.clips, recipe.seed)
        voices = babble_of([clip for clip in clips if clip.corpus != corpus])
        everything = under_all(conditions, model, own, voices, recipe.seed)
        episodes = recipe.draw(features_of(model, own), SPEC)
        rows = scores_of(model, everything, episodes, conditions)
        recipe.write(corpus, rows, headline=[row for row in rows if row.startswith(("noise, 0 dB", "noise, 10 dB"))])


def some(clips: Sequence[Utterance], n: int, seed: int) -> list[Utterance]:
    """Return at most n clips: a condition costs seconds for a hundred of them."""
    rows = np.random.default_rng(seed).permutation(len(clips))[:n]
    return [clips[row] for row in sorted(rows)]


def under_all(
    conditions: Sequence[str], model: Model, own: Sequence[Utterance], voices: Sequence[Wave], seed: int
) -> FeatureSet:
    """Return embeddings of clips as recorded and under each condition, each with an id of its own."""
    recorded = features_of(model, own)
    sets = {RECORDED: FeatureSet(recorded.utterances, tuple(embed_clips(model.learner, recorded.clips)))}
    for condition in conditions:
        sets[condition] = through(condition, {"emotion": model}, recorded.utterances, voices, seed=seed)["emotion"]
        print(f"{own[0].corpus}: {len(recorded)} clips: {condition}", flush=True)
    named = [
        (replace(clip, id=_id(kind, clip.id)), x)
        for kind, of in sets.items()
        for clip, x in zip(of.utterances, of.clips, strict=True)
    ]
    return FeatureSet(tuple(clip for clip, _ in named), tuple(x for _, x in named))


def scores_of(model: Model, everything: FeatureSet, episodes: Sequence[Episode], conditions: Sequence[str]) -> Rows:
    """Return a row for each condition of the queries and each kind of support."""
    rows: Rows = {}
    clean: Evaluation | None = None
    for condition in (RECORDED, *conditions):
        supports = {"recorded": (RECORDED,), "augmented": AUGMENTED, "matched": (condition,)}
        scores = {
            f"{condition}, support {kind}": score(
                model, everything, [under(episode, condition, supports[kind]) for episode in episodes], SPEC
            )
            for kind in (SUPPORTS if condition != RECORDED else SUPPORTS[:2])
        }
        clean = clean or next(iter(scores.values()))
        rows |= rows_of(scores, same_queries=True)
        for name, found in scores.items():
            rows[name]["loss"] = interval(clean.uar - found.uar).as_dict()
    return rows


def under(episode: Episode, condition: str, kinds: Sequence[str]) -> Episode:
    """Return an episode with its queries under a condition, and each support clip under each of some conditions."""

    def support(part: Ids) -> Ids:
        return tuple(_id(kind, clip) for kind in kinds for clip in part)

    query = tuple(tuple(_id(condition, clip) for clip in part) for part in episode.query)
    return replace(episode, support=tuple(map(support, episode.support)), query=query)


def _id(kind: str, clip: str) -> str:
    return f"{kind}: {clip}"


if __name__ == "__main__":
    main()
