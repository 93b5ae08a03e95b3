"""How well are new emotions recognised from one vocal burst of each, or from five? 30 categories, split by emotion.

Emotions and speakers of EmoGator's meta-train, -validation and -test parts are disjoint (`_emogator.py`). 5-way 1-shot
and 5-shot are on the eight emotions of the test part. 20-way 5-shot asks for more than eight, so it is on all emotions,
and only its speakers are new. The episodes are frozen in recipes/episodes. Learners on log-mel frames are trained on
the train part, and the epoch is chosen on the validation part. Ridge regression on functionals and the default model,
whose supports are as `enroll` makes them, are not trained on EmoGator.

    uv run python recipes/new_emotions.py --corpora DIR --learners protonet ridge
"""

from __future__ import annotations

from collections.abc import Sequence

import _emogator
from _emogator import CORPUS, Split
from _models import as_enrolled, features_of
from _protocols import list_of
from _recipe import LOGMEL, STATISTICS, TRAINED, Recipe, Rows, options, rows_of, score, with_models

from ser_fewshot.corpora import Utterance
from ser_fewshot.episodes import Episode, EpisodeSampler, EpisodeSpec
from ser_fewshot.episodes.frozen import load_episodes
from ser_fewshot.errors import EpisodeError
from ser_fewshot.models import Model, ModelConfig, build_model

TASK = EpisodeSpec(n_way=4, k_shot=5, n_query=5)  # as many ways as the validation part has emotions
HEADLINE = tuple(
    f"{name}: {learner}" for name in _emogator.UNSEEN for learner in ("ridge, statistics", "default model")
)


def main(argv: Sequence[str] | None = None) -> None:
    parser = with_models(options(__doc__, corpus=(CORPUS,)))
    parser.add_argument("--learners", nargs="*", default=[], help="to train on the train part")
    recipe = Recipe(__file__, __doc__, parser.parse_args(argv))
    if recipe.arguments.corpus != [CORPUS]:
        parser.error(f"--corpus: the split and the episodes are those of {CORPUS} alone; leave it out")
    clips = recipe.utterances(others=False)
    split = _emogator.parted(clips) if recipe.arguments.smoke else Split.read()
    default, words = recipe.pretrained(CORPUS, clips)
    scored = {**trained(recipe, split, clips), words: default}
    test = split.clips("test", clips, every_emotion=True)
    of_learners, of_default = features_of(build_model(LOGMEL), test), as_enrolled(default, features_of(default, test))
    rows: Rows = {}
    for name, (drawn, spec) in _emogator.protocols(split, clips).items():
        try:
            episodes = episodes_of(recipe, name, drawn, spec)
        except EpisodeError as error:
            print(f"{name}: {error.found}", flush=True)
            continue
        scores = {
            label: score(model, (of_default if model is default else of_learners).subset(drawn), episodes, spec)
            for label, model in scored.items()
        }
        rows |= {f"{name}: {label}": row for label, row in rows_of(scores).items()}
    recipe.write(CORPUS, rows, headline=HEADLINE)


def episodes_of(recipe: Recipe, name: str, clips: Sequence[Utterance], spec: EpisodeSpec) -> Sequence[Episode]:
    """Return the frozen episodes of a protocol; in a smoke test, some that are drawn from few clips."""
    if recipe.arguments.smoke:
        return EpisodeSampler(clips, spec, seed=recipe.seed).draw_many(recipe.episodes)
    return load_episodes(list_of(CORPUS, name))[0][: recipe.episodes]


def trained(recipe: Recipe, split: Split, clips: Sequence[Utterance]) -> dict[str, Model]:
    """Return ridge regression on functionals, whose scale is of the train part, and the learners that are trained."""
    parts = split.clips("train", clips), split.clips("validation", clips)
    features = features_of(build_model(LOGMEL), [*parts[0], *parts[1]])
    found = {"ridge, statistics": recipe.scaled(STATISTICS, features.subset(parts[0]), task=TASK)}
    for name in recipe.arguments.learners:
        model = build_model(ModelConfig(learner=name, settings=TRAINED), seed=recipe.seed)
        for objective in model.learner.objectives:
            recipe.train(model, features, (tuple(parts[0]), tuple(parts[1])), objective=objective, task=TASK)
        found[name] = model
    return found


if __name__ == "__main__":
    main()
