"""What a scan of a corpus returns, and what a corpus says about itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ser_fewshot.corpora._utterance import LabelKind, Utterance

_NOT_LOST = frozenset({"song", "film only", "no speech", "second copy", "hidden file", "link"})
"""Kinds of what is skipped on purpose: nobody wanted it as a clip."""
_MOST_LOST = 0.05
"""Share of the clips that may be lost before a scan warns of it."""


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file, or a row of a table, that is no utterance.

    Attributes:
        path: the file; for a row of a table, the table.
        reason: a kind and, after a colon, the details: "song: only speech is read".
    """

    path: Path
    reason: str

    @property
    def kind(self) -> str:
        """The part of the reason that is the same for all files that were skipped for it."""
        return self.reason.partition(":")[0]


@dataclass(frozen=True, kw_only=True)
class CorpusCard:
    """What the publishers of a corpus say about it.

    Attributes:
        title: its usual name.
        language: ISO 639-3; "mul" is several, "und" is unknown, "zxx" is none.
        language_name: the same for people.
        licence: an SPDX identifier, or words where there is none.
        commercial_use: whether the licence allows it; None where it does not say.
        citation: authors, year, title.
        url: where it is described, a DOI where it has one.
        layout: the path of one clip below the root.
        expected: published number of clips per emotion; empty where none is published.
        n_speakers: published number of speakers, None where none is published.
        traps: what goes wrong for those who do not know it, one sentence each.
    """

    title: str
    language: str
    language_name: str
    licence: str
    commercial_use: bool | None
    citation: str
    url: str
    layout: str
    expected: Mapping[str, int] = field(default_factory=dict)
    n_speakers: int | None = None
    traps: tuple[str, ...] = ()

    @classmethod
    def of_format(cls, title: str, *, url: str, layout: str, traps: tuple[str, ...]) -> CorpusCard:
        """Return the card of a format, whose languages and licences are those of the data."""
        of_data = "that of the data"
        return cls(
            title=title,
            language="und",
            language_name=of_data,
            licence=of_data,
            commercial_use=None,
            citation=of_data,
            url=url,
            layout=layout,
            traps=traps,
        )


@dataclass(frozen=True)
class Scan:
    """What was read under a root, and what was not.

    Attributes:
        corpus: the plug-in that read it.
        utterances: the usable clips, each id once, in an order that depends on nothing but the names.
        skipped: everything else that looks like a clip, with the reason.
        deviations: how the usable clips differ from the published counts, one sentence each.
        doubts: what else makes the clips or their labels doubtful, one sentence each.
    """

    corpus: str
    utterances: tuple[Utterance, ...]
    skipped: tuple[Skipped, ...] = ()
    deviations: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()

    @property
    def warnings(self) -> tuple[str, ...]:
        """What should be looked at before the clips are used: that more than 1 of 20 is lost, and the doubts."""
        lost = Counter(item.kind for item in self.skipped if item.kind not in _NOT_LOST)
        n_lost, n_all = lost.total(), lost.total() + len(self.utterances)
        if n_lost <= _MOST_LOST * n_all:
            return self.doubts
        kinds = ", ".join(f"{kind} {count}" for kind, count in lost.most_common())
        return (f"{n_lost} of {n_all} clips ({n_lost / n_all:.0%}) are lost: {kinds}", *self.doubts)

    def without(self, kind: LabelKind) -> int:
        """Return the number of clips of which the corpus does not say that label."""
        return sum(clip.label(kind) is None for clip in self.utterances)

    def counts(self, kind: LabelKind = "emotion") -> dict[str, int]:
        """Return the number of clips per label, sorted by label; clips without that label count as "unknown"."""
        found = Counter(clip.label(kind) or "unknown" for clip in self.utterances)
        return dict(sorted(found.items()))

    def by_speaker(self) -> dict[str, dict[str, int]]:
        """Return the number of clips per emotion of each speaker: the rows of a table, both sorted."""
        table: dict[str, Counter[str]] = {}
        for clip in self.utterances:
            table.setdefault(clip.speaker_key or "unknown", Counter())[clip.emotion or "unknown"] += 1
        return {speaker: dict(sorted(row.items())) for speaker, row in sorted(table.items())}

    def skipped_kinds(self) -> dict[str, int]:
        """Return how many files were skipped for each kind of reason, most frequent first."""
        return dict(Counter(item.kind for item in self.skipped).most_common())


def deviations(utterances: Iterable[Utterance], card: CorpusCard) -> tuple[str, ...]:
    """Return how the clips differ from the published counts, one sentence for each emotion and one for the speakers."""
    clips = tuple(utterances)
    found = Counter(clip.emotion for clip in clips if clip.emotion is not None)
    emotions = sorted({*found, *card.expected}) if card.expected else []
    differences = [
        f"{emotion}: {found[emotion]} clips are usable, {card.expected.get(emotion, 0)} are published."
        for emotion in emotions
        if found[emotion] != card.expected.get(emotion, 0)
    ]
    n_speakers = len({clip.speaker_key for clip in clips} - {None})
    if card.n_speakers is not None and n_speakers != card.n_speakers:
        differences.append(f"speakers: {n_speakers} were found, {card.n_speakers} are published.")
    return tuple(differences)
