"""Protocols, and what they come to on one corpus: episodes, training set and test set, or why it cannot serve.

A protocol says what must be new at the test (a corpus, its speakers, or its classes) and what an episode is. Ways are
lowered only where a corpus has fewer emotions than the protocol wants, which is noted; with speakers as classes they
never are.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from ser_fewshot.benchmark.methods import Method
from ser_fewshot.benchmark.record import Portion, Split
from ser_fewshot.corpora import Utterance
from ser_fewshot.episodes import EpisodeSampler, EpisodeSpec
from ser_fewshot.episodes.splits import Parts, split_by_class, split_by_corpus, split_by_speaker
from ser_fewshot.errors import EpisodeError
from ser_fewshot.models.training_set import by_corpus

Clips = Sequence[Utterance]
New = Literal["corpus", "speakers", "classes"]

TEST_SPEAKERS = 1 / 3
UNSEEN = ("disgust", "fear", "surprise", "boredom", "calm", "contempt", "frustration")
"""Emotions in the order in which they are held out: the four that nearly every corpus has are trained on."""
N_UNSEEN = 3
_LEAST_TRAINED = 3  # emotions
_QUERIES = (10, 5, 3)  # of a class of emotions, where a corpus is too small for the first
_PREFIX = {"corpus": "without", "speakers": "speakers-of", "classes": "classes-of"}


@dataclass(frozen=True)
class Protocol:
    """What is new at the test, and the episodes; `name` stands in keys and files, `title` in headings.

    With a context in the episodes, or in a session, the offset of the query speaker is subtracted.
    """

    name: str
    new: New
    spec: EpisodeSpec
    title: str
    session: bool = False

    @property
    def voice(self) -> bool:
        """Whether the offset of the query speaker is estimated and subtracted."""
        return self.session or self.spec.context > 0


@dataclass(frozen=True, eq=False, kw_only=True)
class Case:
    """A protocol on one corpus.

    Attributes:
        spec: of the episodes on this corpus.
        train, test: the clips of both sides.
        notes: where this differs from the protocol.
    """

    protocol: Protocol
    corpus: str
    spec: EpisodeSpec
    train: Clips
    test: Clips
    notes: tuple[str, ...] = ()

    @property
    def split(self) -> str:
        """The name of the split, which cases that differ in the episodes alone share."""
        return f"{_PREFIX[self.protocol.new]}-{self.corpus}"


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """A protocol that a corpus cannot serve, and why."""

    protocol: Protocol
    corpus: str
    reason: str


_EMOTIONS = EpisodeSpec(n_way=4, k_shot=5, n_query=10)
_SPEAKERS = EpisodeSpec(n_way=5, k_shot=1, n_query=5, label="speaker", query_speaker="same")
_UNSEEN = replace(_EMOTIONS, n_way=N_UNSEEN)
_VOICE = replace(_EMOTIONS, n_query=5)  # all of one speaker

_PERSONAL = replace(_EMOTIONS, n_query=3, query_speaker="same")  # few speakers have more than eight clips of an emotion

_MET = "a corpus that was trained on"
PROTOCOLS = (
    Protocol("cross-corpus-1-shot", "corpus", replace(_EMOTIONS, k_shot=1), "A corpus never heard, 1 clip an emotion"),
    Protocol("cross-corpus-5-shot", "corpus", _EMOTIONS, "A corpus never heard, 5 clips an emotion"),
    Protocol("unseen-speakers-5-shot", "speakers", _EMOTIONS, f"New speakers of {_MET}, 5 clips an emotion"),
    *(
        Protocol(name, "classes", spec, f"Emotions and speakers never met, of {_MET}, {clips} an emotion")
        for name, spec, clips in (
            ("unseen-classes-1-shot", replace(_UNSEEN, k_shot=1), "1 clip"),
            ("unseen-classes-5-shot", _UNSEEN, "5 clips"),
        )
    ),
    Protocol("speakers-5-way-1-shot", "corpus", _SPEAKERS, "Speakers of a corpus never heard as classes, 1 clip each"),
    Protocol(
        "speakers-20-way-5-shot",
        "corpus",
        replace(_SPEAKERS, n_way=20, k_shot=5),
        "20 speakers of a corpus never heard as classes, 5 clips each",
    ),
    Protocol(
        "personal-5-shot",
        "corpus",
        _PERSONAL,
        "One person of a corpus never heard enrols 5 clips an emotion and is recognised",
    ),
    *(
        Protocol(
            f"new-voice-context-{n}",
            "corpus",
            replace(_VOICE, context=n),
            f"One speaker of another corpus, with {n} unlabelled clip{'' if n == 1 else 's'} of the voice",
        )
        for n in (1, 4, 8)
    ),
    Protocol(
        "new-voice-session",
        "corpus",
        replace(_VOICE, context=1),  # which makes it one speaker
        "One speaker of another corpus, whose queries are one session",
        session=True,
    ),
)


def cases(utterances: Clips, protocols: Sequence[Protocol] = PROTOCOLS, *, seed: int) -> Iterator[Case | LeftOut]:
    """Yield every protocol on every corpus; the seed decides which speakers of a corpus are held out.

    All utterances must have a speaker.
    """
    for protocol in protocols:
        for corpus in sorted({clip.corpus for clip in utterances}):
            try:
                train, test = _split(protocol.new, corpus, utterances, seed=seed)
                train, alone = _of_several_speakers(train)
                spec, notes = _feasible(protocol.spec, test)
            except EpisodeError as error:
                found = re.sub(r" \(.*\)", "", error.found, flags=re.DOTALL)  # without a list of every class
                reason = f"found {found}; expected {error.expected}"
                yield LeftOut(protocol=protocol, corpus=corpus, reason=reason)
            else:
                notes = (*notes, *(f"nothing was trained on {one}, which has one speaker" for one in alone))
                yield Case(protocol=protocol, corpus=corpus, spec=spec, train=train, test=test, notes=notes)


def key_of(case: Case | LeftOut, method: Method | None = None) -> str:
    """Return the name of a cell in the results and for --only."""
    name = f"{case.protocol.name}/{case.corpus}"
    return name if method is None else f"{name}/{method.name}"


def keys_of(methods: Sequence[Method], cases: Sequence[Case | LeftOut]) -> list[str]:
    """Return the keys of all cells of a run, and of the cases that are left out of it."""
    keys = [key_of(case) for case in cases if isinstance(case, LeftOut)]
    return keys + [key_of(case, method) for case in cases if isinstance(case, Case) for method in methods]


def split_of(name: str, train: Clips, test: Clips) -> Split:
    """Return the size of both sides of a split by corpus, and a digest of their clips."""
    content = hashlib.sha256()
    for part in (train, test):
        content.update("\n".join(sorted(clip.id for clip in part)).encode() + b"\n\n")
    return Split(name=name, train=_portions(train), test=_portions(test), sha256=content.hexdigest())


def _portions(clips: Clips) -> tuple[Portion, ...]:
    return tuple(
        Portion(
            corpus=corpus,
            clips=len(members),
            speakers=len({clip.speaker_key for clip in members} - {None}),
            emotions=tuple(sorted({clip.emotion for clip in members if clip.emotion})),
        )
        for corpus, members in by_corpus(clips).items()
    )


def _split(new: New, corpus: str, utterances: Clips, *, seed: int) -> Parts:
    """Return training and test clips."""
    if new == "corpus" and all(clip.corpus == corpus for clip in utterances):
        raise EpisodeError(corpus, found="no other corpus", expected="a second one to train on", remedy="Add one.")
    if new == "corpus":
        return split_by_corpus(utterances, [corpus])
    own = [clip for clip in utterances if clip.corpus == corpus]
    if new == "speakers":
        return split_by_speaker(own, test_fraction=TEST_SPEAKERS, seed=seed)
    known, unseen = split_by_class(own, _held_out(corpus, own))
    train, _ = split_by_speaker(known, test_fraction=TEST_SPEAKERS, seed=seed)
    speakers = {clip.speaker_key for clip in train}
    return train, tuple(clip for clip in unseen if clip.speaker_key not in speakers)


def _of_several_speakers(train: tuple[Utterance, ...]) -> tuple[tuple[Utterance, ...], tuple[str, ...]]:
    """Drop corpora of one speaker, of which meta-validation can hold none out; return their names too."""
    corpora = by_corpus(train)
    alone = tuple(name for name, clips in corpora.items() if len({clip.speaker_key for clip in clips}) < 2)
    if len(alone) == len(corpora):
        raise EpisodeError(
            "training",
            found=f"one speaker in {', '.join(alone)}",
            expected="a corpus of two speakers to train on",
            remedy="Add one.",
        )
    return (tuple(clip for clip in train if clip.corpus not in alone) if alone else train), alone


def _held_out(corpus: str, clips: Clips) -> list[str]:
    """Return the emotions of a corpus that are not trained on."""
    emotions = {clip.emotion for clip in clips if clip.emotion}
    held_out = [name for name in UNSEEN if name in emotions][:N_UNSEEN]
    if len(held_out) < N_UNSEEN or len(emotions) - N_UNSEEN < _LEAST_TRAINED:
        raise EpisodeError(
            corpus,
            found=f"the emotions {', '.join(sorted(emotions))}",
            expected=f"{N_UNSEEN} of {', '.join(UNSEEN)} to hold out, and {_LEAST_TRAINED} others to train on",
            remedy="Ask this of a corpus with more emotions.",
        )
    return held_out


def _feasible(spec: EpisodeSpec, test: Clips) -> tuple[EpisodeSpec, tuple[str, ...]]:
    """Return the episodes nearest to those of the protocol that a corpus has clips for, and notes on what differs."""
    ways, queries = [spec.n_way], [spec.n_query]
    if spec.label == "emotion":
        n_emotions = len({clip.emotion for clip in test if clip.emotion})
        ways = [n_way for n_way in range(spec.n_way, 1, -1) if n_way == spec.n_way or n_way <= n_emotions < spec.n_way]
        queries = sorted({n for n in _QUERIES if n <= spec.n_query} | {spec.n_query}, reverse=True)
    first: EpisodeError | None = None
    for given in (replace(spec, n_way=n_way, n_query=n_query) for n_way in ways for n_query in queries):
        try:
            EpisodeSampler(test, given)
        except EpisodeError as error:
            first = first or error
        else:
            return given, tuple(_changes(spec, given))
    raise first or EpisodeError(str(spec), found="nothing", expected="two classes", remedy="Add clips.")


def _changes(wanted: EpisodeSpec, given: EpisodeSpec) -> Iterator[str]:
    if given.n_way < wanted.n_way:
        yield f"{given.n_way} ways instead of {wanted.n_way}: the corpus has no more emotions"
    if given.n_query < wanted.n_query:
        yield f"{given.n_query} queries a class instead of {wanted.n_query}: the corpus is small"
