r"""What is it worth to know a voice, from clips of the query speaker without labels? By number, kind and recording.

4-way 5-shot by emotion; one speaker, new to the support, speaks all queries of an episode. The embeddings of these
queries are shifted by the MAP offset of the voice (`ser_fewshot.learners.SpeakerModel`, fitted on other corpora),
which is estimated from clips beside the queries or, in a session, from the queries themselves. In a skewed session one
class has five queries and each other class one. With no clips, only the offsets of support speakers are subtracted;
where nobody speaks several classes, as in URDU, nothing else can be measured. All rows give UAR with the offset and
without it, and the paired gain on the same queries. The default model adapts to supports as they are enrolled. Peers
are other embeddings with offsets of their own and supports as recorded, so that the gain is not that of one model.

    uv run ser-fewshot import path/to/whisper-base-encoder --layer 1 --out runs/whisper
    uv run python recipes/listened_voice.py --corpora ../shared/corpora \
        --models 'runs/default/without_{corpus}/model' --imported runs/whisper --baselines egemaps-ridge ge2e-ridge
    uv run python recipes/plot_voices.py
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from _models import features_of
from _recipe import STATISTICS, Recipe, Rows, few_speakers, options, with_models
from _voices import NUMBERS, Voices, degraded
from measure_default import babble_of, through
from pretrained_features import untrained

from ser_fewshot.benchmark.build import frontend_of
from ser_fewshot.benchmark.methods import method_named
from ser_fewshot.corpora import Utterance
from ser_fewshot.episodes import EpisodeSpec
from ser_fewshot.models import Model, ModelConfig, build_model, load_model

MANY = EpisodeSpec(n_way=4, k_shot=5, n_query=5, context=NUMBERS[-1])
# The speaker himself rarely has more than eight clips of an emotion.
SUPPORTS = {
    "many enrolled": MANY,
    "one enrolled": replace(MANY, support_speakers="one"),
    "the speaker enrolled": replace(MANY, n_query=3, query_speaker="same"),
}
CONDITIONS = ("noise, 10 dB", "telephone")
SMOKE_OTHERS = 4  # speakers of each other corpus
HEADLINE = ("many enrolled, 8 clips", "many enrolled, session", "one enrolled, 8 clips", "one enrolled, session")


def main(argv: Sequence[str] | None = None) -> None:
    parser = with_models(options(__doc__, corpus=("ravdess", "emodb", "ased", "urdu")))
    parser.add_argument("--imported", type=Path, help="what 'ser-fewshot import' wrote: a peer, with ridge regression")
    parser.add_argument("--baselines", nargs="*", default=[], help="of 'ser-fewshot benchmark': peers too")
    recipe = Recipe(__file__, __doc__, parser.parse_args(argv))
    clips = recipe.utterances()
    for corpus in recipe.arguments.corpus:
        own, others = ([clip for clip in clips if (clip.corpus == corpus) == mine] for mine in (True, False))
        rest = few_speakers(others, n=SMOKE_OTHERS) if recipe.arguments.smoke else others
        model, _ = recipe.pretrained(corpus, clips)
        voices = Voices.of(model, features_of(model, own), features_of(model, rest)).as_enrolled()
        rows: Rows = {}
        for support, spec in SUPPORTS.items():
            rows |= voices.rows(recipe, support, spec)
        recipe.write(corpus, rows, headline=HEADLINE)
        if HEADLINE[0] not in rows:
            continue
        episodes = recipe.draw(voices.own, MANY)
        for condition in CONDITIONS:
            drawn = {clip for one in episodes for part in (*one.query, one.context) for clip in part}
            needed = [clip for clip in voices.own.utterances if clip.id in drawn]
            found = through(condition, {"emotion": model}, needed, babble_of(others), seed=recipe.seed)["emotion"]
            under = degraded(episodes, condition)
            rows |= voices.through(condition, found).few(f"{condition}: many enrolled", under, MANY)
        recipe.write(corpus, rows, headline=HEADLINE)
        for name, peer in peers(recipe, own, rest):
            rows |= peer.few(f"{name}: many enrolled", episodes, MANY)
        recipe.write(corpus, rows, headline=HEADLINE)


def peers(recipe: Recipe, own: Sequence[Utterance], others: Sequence[Utterance]) -> Iterator[tuple[str, Voices]]:
    """Yield other embeddings with ridge regression, which are not trained; their scale is of the other corpora."""
    plain = build_model(STATISTICS)
    rest = features_of(plain, others)
    yield "functionals", Voices.of(recipe.scaled(STATISTICS, rest, task=MANY), features_of(plain, own), rest)
    if recipe.arguments.imported:
        model = load_model(recipe.arguments.imported)
        yield recipe.arguments.imported.name, _pooled(model, own, others)
    for name in recipe.arguments.baselines:
        config = ModelConfig(learner="ridge", settings={"encoder": {"name": "statistics", "pooled": True}})
        yield name, _pooled(build_model(config, frontend=frontend_of(method_named(name))), own, others)


def _pooled(model: Model, own: Sequence[Utterance], others: Sequence[Utterance]) -> Voices:
    rest = features_of(model, others)
    return Voices.of(replace(model, learner=untrained(rest)), features_of(model, own), rest)


if __name__ == "__main__":
    main()
