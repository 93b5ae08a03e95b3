"""The specification of an episode, and one episode by the ids of its clips."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from ser_fewshot.corpora import LabelKind
from ser_fewshot.errors import EpisodeError

QuerySpeaker = Literal["disjoint", "same", "any"]
QueryText = Literal["different", "any"]
ContextOf = Literal["any", "neutral", "one"]
SupportSpeakers = Literal["any", "one"]
Ids = tuple[str, ...]
LATER = frozenset({"context", "context_of", "support_speakers"})
"""Fields of `EpisodeSpec` that version 0.1.0 did not have."""


@dataclass(frozen=True, kw_only=True)
class EpisodeSpec:
    """The specification of an episode.

    Attributes:
        n_way: classes.
        k_shot: support clips of each class.
        n_query: query clips of each class.
        label: what a class is: an emotion, a speaker, or one emotion of one speaker.
        query_speaker: "disjoint": no speaker of any query clip speaks in the support; "same": all clips of the episode
            are one speaker's (with speakers as classes: each class is one speaker); "any": no constraint.
        query_text: "different": no sentence of a query clip is spoken in the support, where the corpus knows its
            sentences; "any": no constraint.
        mix_corpora: whether one episode may hold clips of several corpora, whose recordings may give the class away.
        context: how many unlabelled clips of the query speaker there are at most, none of them a query; all queries are
            then of one speaker. The offset of the voice is estimated from them: `ser_fewshot.learners.SpeakerModel`.
        context_of: "any": of all emotions of the corpus; "neutral": of that alone; "one": of one emotion, drawn anew.
        support_speakers: "one": one speaker speaks the whole support.
    """

    n_way: int = 5
    k_shot: int = 5
    n_query: int = 15
    label: LabelKind = "emotion"
    query_speaker: QuerySpeaker = "disjoint"
    query_text: QueryText = "any"
    mix_corpora: bool = False
    context: int = 0
    context_of: ContextOf = "any"
    support_speakers: SupportSpeakers = "any"

    def __post_init__(self) -> None:
        require_whole("context", self.context, least=0)
        for name, least in (("n_way", 2), ("k_shot", 1), ("n_query", 1)):
            require_whole(name, getattr(self, name), least=least)
        for choice, legal in (
            ("label", get_args(LabelKind)),
            ("query_speaker", get_args(QuerySpeaker)),
            ("query_text", get_args(QueryText)),
            ("mix_corpora", (False, True)),
            ("context_of", get_args(ContextOf)),
            ("support_speakers", get_args(SupportSpeakers)),
        ):
            given = getattr(self, choice)
            if type(given) is not type(legal[0]) or given not in legal:
                expected = " | ".join(map(str, legal))
                raise EpisodeError(choice, found=repr(given), expected=expected, remedy="Choose one of these.")
        if self.context_of != "any" and not self.context:
            raise EpisodeError(
                "context_of", found=self.context_of, expected="a context", remedy="Set context, such as context=8."
            )
        if (self.context or self.support_speakers == "one") and self.label != "emotion":
            raise EpisodeError(
                "context",
                found=f"one speaker a side, with the label {self.label!r}",
                expected="the label 'emotion', because a class is a speaker",
                remedy="Leave context and support_speakers as they are by default.",
            )
        if (self.context or self.support_speakers == "one") and self.query_speaker == "any":
            raise EpisodeError(
                "query_speaker",
                found="'any' with a context or one support speaker",
                expected="'disjoint' or 'same': one speaker then speaks all queries",
                remedy="Choose query_speaker='disjoint'.",
            )
        if self.label != "emotion" and self.query_speaker == "disjoint":
            raise EpisodeError(
                "query_speaker",
                found=f"'disjoint' with the label {self.label!r}",
                expected="'same' or 'any', because a class is a speaker and its query clips are by that speaker",
                remedy="Choose query_speaker='same'.",
            )

    def as_dict(self) -> dict[str, Any]:
        """Return its fields; those that version 0.1.0 did not have, only where they differ from their defaults."""
        defaults = {one.name: one.default for one in fields(self)}
        return {name: value for name, value in vars(self).items() if name not in LATER or value != defaults[name]}

    def __str__(self) -> str:
        """The protocol in words, as it stands in every row of a table."""
        words = f"{self.n_way}-way {self.k_shot}-shot by {self.label}, query speaker {self.query_speaker}"
        words += ", query text different" if self.query_text == "different" else ""
        words += ", one support speaker" if self.support_speakers == "one" else ""
        of = {"any": "", "neutral": " neutral", "one": " one-emotion"}[self.context_of]
        words += f", context of{of} {self.context} clips" if self.context else ""
        return words + (", corpora mixed" if self.mix_corpora else "")


@dataclass(frozen=True, slots=True)
class Episode:
    """One task, by utterance ids.

    Attributes:
        index: which episode of its sampler this is.
        classes: (n_way,) the label of each class, in the order of the numbers 0 .. n_way - 1.
        support: (n_way, k_shot) ids.
        query: (n_way, n_query) ids.
        context: ids of unlabelled clips of the query speaker, which are no queries.
    """

    index: int
    classes: tuple[str, ...]
    support: tuple[Ids, ...]
    query: tuple[Ids, ...]
    context: Ids = ()

    def as_dict(self) -> dict[str, Any]:
        """Return its fields; a context only where there is one."""
        found = {one.name: getattr(self, one.name) for one in fields(self)}
        return found if self.context else {name: value for name, value in found.items() if name != "context"}


def class_numbers(clips: tuple[Ids, ...]) -> Tensor:
    """(n_way, n) clips of an episode -> (n_way * n,) the class of each, 0 .. n_way - 1."""
    return torch.tensor([number for number, members in enumerate(clips) for _ in members])


def require_whole(name: str, value: object, *, least: int) -> None:
    """Refuse what is no whole number of at least `least`."""
    if type(value) is not int or value < least:
        expected = f"a whole number of at least {least}"
        raise EpisodeError(name, found=f"{value!r:.80}", expected=expected, remedy="Change it.")
