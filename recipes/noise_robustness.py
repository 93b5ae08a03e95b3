r"""How robust is a model to noise, a room, the telephone and gain, and does it help to augment the support? Curves.

4-way 5-shot by emotion, speakers of support and query disjoint, the queries under each condition: noise (babble or
pink) from 20 to 0 dB, a small room, the telephone band, other gains. The support is as recorded; or augmented as
`FewShotClassifier.enroll` does by default, by simulations that share no code with those of the queries; or matched,
under the condition of the queries. All on the same episodes, the frozen ones.

    uv run python recipes/noise_robustness.py --corpora ../shared/corpora \
        --models 'runs/default/without_{corpus}/model'
    uv run python recipes/plot_noise.py
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from _microphones import EVERY, NOISES, Wave
from _models import as_enrolled, features_of
from _protocols import PROTOCOLS, frozen
from _recipe import Recipe, Rows, options, rows_of, with_models
from measure_default import babble_of, through

from ser_fewshot.corpora import Utterance
from ser_fewshot.episodes import Episode, Ids
from ser_fewshot.evaluation import Evaluation, interval
from ser_fewshot.evaluation.reliability import reliability
from ser_fewshot.evaluation.runner import adapted, evaluation_of, outcomes
from ser_fewshot.frontends import FeatureSet
from ser_fewshot.learners import embed_clips
from ser_fewshot.models import Model

SPEC = PROTOCOLS["emotions"]
RECORDED = "as recorded"
CONDITIONS = (*NOISES, *(name for name in EVERY if name not in NOISES))
SMOKE = ("noise, 10 dB", "small room", "telephone")
SUPPORTS = ("recorded", "augmented", "matched")


def main(argv: Sequence[str] | None = None) -> None:
    parser = with_models(options(__doc__, corpus=("ased", "emodb", "ravdess", "urdu")))
    parser.add_argument(
        "--clips", type=int, help="so many of each corpus, with episodes of these (default: frozen ones)"
    )
    recipe = Recipe(__file__, __doc__, parser.parse_args(argv))
    conditions = SMOKE if recipe.arguments.smoke else CONDITIONS
    clips = recipe.utterances()
    for corpus in recipe.arguments.corpus:
        model, _ = recipe.pretrained(corpus, clips)
        own, episodes = drawn(recipe, model, [clip for clip in clips if clip.corpus == corpus])
        voices = babble_of([clip for clip in clips if clip.corpus != corpus])
        everything = under_all(conditions, model, own, voices, recipe.seed)
        rows = scores_of(model, everything, episodes, conditions)
        recipe.write(corpus, rows, headline=[row for row in rows if row.startswith(("noise, 0 dB", "noise, 10 dB"))])


def drawn(recipe: Recipe, model: Model, clips: Sequence[Utterance]) -> tuple[Sequence[Utterance], Sequence[Episode]]:
    """Return the clips of a corpus that are used, and the episodes."""
    if recipe.arguments.clips:
        own = some(clips, recipe.arguments.clips, recipe.seed)
        return own, recipe.draw(features_of(model, own), SPEC)
    episodes = frozen(clips[0].corpus)["emotions"][0][: recipe.episodes]
    named = {clip for one in episodes for part in (*one.support, *one.query) for clip in part}
    return [clip for clip in clips if clip.id in named], episodes


def some(clips: Sequence[Utterance], n: int, seed: int) -> list[Utterance]:
    """Return at most n clips: a condition costs seconds for a hundred of them."""
    rows = np.random.default_rng(seed).permutation(len(clips))[:n]
    return [clips[row] for row in sorted(rows)]


def under_all(
    conditions: Sequence[str], model: Model, own: Sequence[Utterance], voices: Sequence[Wave], seed: int
) -> FeatureSet:
    """Return embeddings of clips as recorded, with their deviations, and under each condition, by ids of their own."""
    recorded = features_of(model, own)
    sets = {
        RECORDED: as_enrolled(
            model, replace(recorded, clips=tuple(embed_clips(model.learner, recorded.clips)), keys=())
        )
    }
    for condition in conditions:
        sets[condition] = through(condition, {"emotion": model}, recorded.utterances, voices, seed=seed)["emotion"]
        print(f"{own[0].corpus}: {len(recorded)} clips: {condition}", flush=True)
    named = tuple(replace(clip, id=_id(kind, clip.id)) for kind, of in sets.items() for clip in of.utterances)
    none = sets[RECORDED].deviations[0][:0]
    deviations = [one for of in sets.values() for one in of.deviations or (none,) * len(of)]
    return FeatureSet(named, tuple(x for of in sets.values() for x in of.clips), deviations=tuple(deviations))


def scores_of(model: Model, everything: FeatureSet, episodes: Sequence[Episode], conditions: Sequence[str]) -> Rows:
    """Return a row for each condition of the queries and each kind of support."""
    rows: Rows = {}
    clean: Evaluation | None = None
    plain = replace(everything, deviations=())
    for condition in (RECORDED, *conditions):
        scores, errors = {}, {}
        for kind in SUPPORTS if condition != RECORDED else SUPPORTS[:2]:
            name = f"{condition}, support {kind}"
            queried = [under(one, condition, support=condition if kind == "matched" else RECORDED) for one in episodes]
            found = list(outcomes(model.learner, everything if kind == "augmented" else plain, queried))
            scores[name] = evaluation_of(found, queried, SPEC)
            errors[name] = reliability(adapted(found), model.config.calibration).ece
        clean = clean or next(iter(scores.values()))
        rows |= rows_of(scores, same_queries=True)
        for name, score in scores.items():
            rows[name] |= {"loss": interval(clean.uar - score.uar).as_dict(), "ece": errors[name]}
    return rows


def under(episode: Episode, condition: str, *, support: str) -> Episode:
    """Return an episode with its queries under a condition, and its support under another."""

    def named(kind: str, parts: Sequence[Ids]) -> tuple[Ids, ...]:
        return tuple(tuple(_id(kind, clip) for clip in part) for part in parts)

    return replace(episode, support=named(support, episode.support), query=named(condition, episode.query))


def _id(kind: str, clip: str) -> str:
    return f"{kind}: {clip}"


if __name__ == "__main__":
    main()
