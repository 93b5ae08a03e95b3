r"""How well are unseen speakers recognised, from one clip each or from five? 5-way and 20-way.

Speakers are the classes: 5-way 1-shot, and 20-way 5-shot where a corpus has as many. Learners are trained on the
speakers of the other corpora; the default model uses its speaker view.

    uv run python recipes/speakers_as_classes.py --corpora ../shared/corpora \
        --models 'runs/default/without_{corpus}/model'
"""

from __future__ import annotations

from collections.abc import Sequence

from _models import features_of
from _recipe import MEAN, Recipe, Rows, options, rows_of, score, with_models

from ser_fewshot.benchmark.methods import ENCODER
from ser_fewshot.episodes import EpisodeSpec
from ser_fewshot.frontends import FeatureSet
from ser_fewshot.models import ModelConfig, with_view

TASK = EpisodeSpec(n_way=5, k_shot=2, n_query=2, label="speaker", query_speaker="same")
SPECS = {
    "5-way 1-shot": EpisodeSpec(n_way=5, k_shot=1, n_query=5, label="speaker", query_speaker="same"),
    "20-way 5-shot": EpisodeSpec(n_way=20, k_shot=5, n_query=5, label="speaker", query_speaker="same"),
}
UNTRAINED = {"encoder": {"name": "statistics", "whitening": True}}
TRAINED = {"encoder": {**ENCODER, "whitening": True}}


def main(argv: Sequence[str] | None = None) -> None:
    parser = with_models(options(__doc__, corpus=("emodb", "ravdess", "ased")))
    recipe = Recipe(__file__, __doc__, parser.parse_args(argv))
    for corpus, own, rest in recipe.each_corpus(recipe.logmel()):
        rows = scores_of(recipe, corpus, own, rest)
        recipe.write(corpus, rows, headline=[name for name in rows if name.startswith("default")])


def scores_of(recipe: Recipe, corpus: str, own: FeatureSet, rest: FeatureSet) -> Rows:
    """Return the row of every learner by every protocol that the corpus has enough speakers for."""
    default, named = recipe.pretrained(corpus, own.utterances)
    models = {
        "nearest, mean log-mel": recipe.scaled(MEAN, rest, task=TASK),
        "ridge, statistics": recipe.scaled(ModelConfig(learner="ridge", settings=UNTRAINED), rest, task=TASK),
        "protonet, trained": recipe.trained(ModelConfig(learner="protonet", settings=TRAINED), rest, task=TASK)[0],
        "ridge, trained": recipe.trained(ModelConfig(learner="ridge", settings=TRAINED), rest, task=TASK)[0],
        named: with_view(default, "speaker"),
    }
    rows: Rows = {}
    speakers = {clip.speaker_key for clip in own.utterances}
    for words, spec in SPECS.items():
        if len(speakers) < spec.n_way:
            print(f"{corpus}: {len(speakers)} speakers, too few for {spec}", flush=True)
            continue
        episodes = recipe.draw(own, spec)
        scores = {
            f"{name}, {words}": score(model, features_of(model, own.utterances), episodes, spec)
            for name, model in models.items()
        }
        rows |= rows_of(scores)
    return rows


if __name__ == "__main__":
    main()
