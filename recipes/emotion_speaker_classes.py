r"""Where a class is one emotion of one speaker, is the emotion confused or the speaker? Ten such classes.

10-way 2-shot, with classes such as the anger of one speaker and the fear of another. The result also holds how often a
prediction has the right emotion, and how often the right speaker. Prototypical networks are trained on the other
corpora with episodes of such classes, of emotions, and of speakers.

    uv run python recipes/emotion_speaker_classes.py --corpora ../shared/corpora \
        --models 'runs/default/without_{corpus}/model'
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from _models import features_of
from _recipe import STATISTICS, TRAINED, Recipe, options, rows_of, score, with_models

from ser_fewshot.corpora import LabelKind
from ser_fewshot.episodes import EpisodeSpec
from ser_fewshot.evaluation import Evaluation
from ser_fewshot.models import ModelConfig, with_view

SPEC = EpisodeSpec(n_way=10, k_shot=2, n_query=2, label="emotion_x_speaker", query_speaker="same")
TASKS: dict[str, LabelKind] = {"emotion x speaker": "emotion_x_speaker", "emotions": "emotion", "speakers": "speaker"}


def main(argv: Sequence[str] | None = None) -> None:
    recipe = Recipe(__file__, __doc__, with_models(options(__doc__)).parse_args(argv))
    for corpus, own, rest in recipe.each_corpus(recipe.logmel()):
        default, named = recipe.pretrained(corpus, own.utterances)
        models = {"ridge, statistics": recipe.scaled(STATISTICS, rest, task=SPEC)}
        for words, label in TASKS.items():
            task = EpisodeSpec(n_way=4, k_shot=2, n_query=2, label=label, query_speaker="any")
            config = ModelConfig(learner="protonet", settings=TRAINED)
            models[f"protonet, trained on {words}"], _ = recipe.trained(config, rest, task=task)
        models |= {f"{named}, {view} view": with_view(default, view) for view in ("emotion", "speaker")}
        episodes = recipe.draw(own, SPEC)
        scores = {
            name: score(model, features_of(model, own.utterances), episodes, SPEC) for name, model in models.items()
        }
        rows = rows_of(scores)
        for name, found in scores.items():
            rows[name]["right_emotion"] = agreeing(found, lambda label: label.partition(" by ")[0])
            rows[name]["right_speaker"] = agreeing(found, lambda label: label.partition(" by ")[2])
        recipe.write(corpus, rows, headline=("ridge, statistics", "protonet, trained on emotion x speaker"))


def agreeing(found: Evaluation, part: Callable[[str], str]) -> float:
    """Return the share of predictions that are right in one part of their label."""
    parts = np.array([part(label) for label in found.labels])
    return float(found.confusion[parts[:, None] == parts].sum() / found.confusion.sum())


if __name__ == "__main__":
    main()
