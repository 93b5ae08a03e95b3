"""Rows of a model on episodes of one voice: UAR with the offset of the voice, without it, and the gain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from _models import as_enrolled
from _recipe import KEPT, Recipe, Rows

from ser_fewshot.episodes import Episode, EpisodeSpec, Ids
from ser_fewshot.episodes.spec import ContextOf
from ser_fewshot.errors import EpisodeError
from ser_fewshot.evaluation import Evaluation, evaluate, interval
from ser_fewshot.frontends import FeatureSet
from ser_fewshot.learners import embed_clips
from ser_fewshot.models import Model
from ser_fewshot.models.meta_train import with_speakers

NUMBERS = (0, 1, 2, 4, 8, 16)  # with none, the speakers of the support are known and no more
CLIPS = 8
KINDS: dict[ContextOf, str] = {"neutral": f"{CLIPS} neutral clips", "one": f"{CLIPS} clips of one emotion"}


@dataclass(frozen=True, eq=False)
class Voices:
    """A model with offsets of speakers that were fitted on other corpora, and the embeddings of a corpus."""

    model: Model
    own: FeatureSet

    @classmethod
    def of(cls, model: Model, own: FeatureSet, others: FeatureSet) -> Voices:
        """Embed the clips of a corpus; a model without offsets of speakers is fitted to features of other corpora."""
        model = model if model.speakers else with_speakers(model, others)
        return cls(model, FeatureSet(own.utterances, tuple(embed_clips(model.learner, own.clips))))

    def as_enrolled(self) -> Voices:
        """Augment every support, as `FewShotClassifier.enroll` does."""
        return replace(self, own=as_enrolled(self.model, self.own))

    def through(self, condition: str, found: FeatureSet) -> Voices:
        """Add clips under a condition, with ids of their own."""
        renamed = tuple(replace(clip, id=f"{condition}: {clip.id}") for clip in found.utterances)
        clips = (*self.own.clips, *found.clips)
        none = tuple(clip.new_empty(0, len(clip)) for clip in found.clips) if self.own.deviations else ()
        deviations = (*self.own.deviations, *none)
        return replace(self, own=FeatureSet(self.own.utterances + renamed, clips, deviations=deviations))

    def rows(self, recipe: Recipe, support: str, spec: EpisodeSpec) -> Rows:
        """Return a row for each number and kind of clips, and for sessions; none where the corpus has too few clips.

        Where nobody speaks several classes, the row of no clips is of queries by several speakers, and the only one.
        """
        try:
            episodes = recipe.draw(self.own, spec)
        except EpisodeError as error:
            print(f"{support}: {error.found}", flush=True)
            return self.rows(recipe, support, replace(spec, context=0)) if spec.context else {}
        if not spec.context:
            return {f"{support}, {clips_of(0)}": self.row(episodes, spec, self.score(episodes, spec))}
        if spec.query_speaker == "same":
            return self.few(support, episodes, spec)
        plain = self.score(episodes, spec)
        rows = {f"{support}, {clips_of(n)}": self.row(first(episodes, n), spec, plain) for n in NUMBERS}
        for kind, words in KINDS.items():
            narrow = replace(spec, context=CLIPS, context_of=kind)
            rows[f"{support}, {words}"] = self.row(recipe.draw(self.own, narrow), narrow, plain)
        rows[f"{support}, session"] = self.row(episodes, spec, plain, session=True)
        skewed = [lopsided(episode) for episode in episodes]
        rows[f"{support}, skewed session"] = self.row(skewed, spec, self.score(skewed, spec), session=True)
        return rows

    def few(self, name: str, episodes: Sequence[Episode], spec: EpisodeSpec) -> Rows:
        """Return the rows of eight clips and of a session."""
        plain = self.score(episodes, spec)
        return {
            f"{name}, {clips_of(CLIPS)}": self.row(first(episodes, CLIPS), spec, plain),
            f"{name}, session": self.row(episodes, spec, plain, session=True),
        }

    def score(self, episodes: Sequence[Episode], spec: EpisodeSpec) -> Evaluation:
        """Score without offsets."""
        return evaluate(self.model.learner, self.own, episodes, spec=spec)

    def row(
        self, episodes: Sequence[Episode], spec: EpisodeSpec, plain: Evaluation, *, session: bool = False
    ) -> dict[str, Any]:
        """Return UAR with offsets and without, and the gain, paired over episodes."""
        n = 1 if session else max(len(episode.context) for episode in episodes)
        given = replace(spec, context=n)
        speakers = self.model.speakers
        found = evaluate(self.model.learner, self.own, episodes, spec=given, speakers=speakers, session=session)
        values = found.as_dict()
        return {
            **{key: values[key] for key in KEPT},
            "plain": interval(plain.uar).as_dict(),
            "gain": interval(found.uar - plain.uar).as_dict(),
            "clips": 0 if session else float(np.mean([len(episode.context) for episode in episodes])),
        }


def first(episodes: Sequence[Episode], n: int) -> list[Episode]:
    """Return episodes with the first n clips of their context."""
    return [replace(episode, context=episode.context[:n]) for episode in episodes]


def lopsided(episode: Episode) -> Episode:
    """Return an episode with all queries of one class, each in its turn, and one of each other."""
    whole = episode.index % len(episode.classes)
    query = tuple(part if number == whole else part[:1] for number, part in enumerate(episode.query))
    return replace(episode, query=query)


def degraded(episodes: Sequence[Episode], condition: str) -> list[Episode]:
    """Return episodes with queries and context under a condition; the support is as recorded."""

    def renamed(part: Ids) -> Ids:
        return tuple(f"{condition}: {clip}" for clip in part)

    return [replace(one, query=tuple(map(renamed, one.query)), context=renamed(one.context)) for one in episodes]


def clips_of(n: int) -> str:
    """Return a number of clips in words, as it stands in the name of a row."""
    return f"{n} clip" + ("" if n == 1 else "s")
