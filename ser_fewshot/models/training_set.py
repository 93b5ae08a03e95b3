"""The training set of a model: its corpora, and short keys of their clips, by which copies of a clip are found.

A clip is known by the bytes of its file, and by the name and the length of its file: so it is found where its corpus
goes by another name, and in another format or rate too. A copy that was renamed and encoded anew is not found.
The record is stored beside the weights, as a string in the header of their file, so that the two cannot be parted.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ser_fewshot import audio
from ser_fewshot.corpora import Utterance, segment_suffix
from ser_fewshot.errors import AudioError, CheckpointError, SerFewshotError
from ser_fewshot.storage.hub_card import CARD, corpora_of, read_card

RECORD = "training_set"
"""Key of the string in the header."""
_BYTES = 6  # of a key: by chance, one clip in 10^10 has a key of ten thousand others
_TICKS = 100  # a second: lengths are compared to 10 ms, since a resampler may add or drop some samples
_COMMON = 0.1  # share of a corpus whose clips are equally long: their length says nothing, and their names must
_CODED = 5  # runs of letters or digits in a name that says which clip it is: SM1_F19_A019 has six, take_1 has two
_LEAST_NAMED = 0.05  # share of a corpus that names must match: names such as 0001 recur, now and then of equal length


@dataclass(frozen=True, kw_only=True)
class Part:
    """One corpus of a training set.

    Attributes:
        clips: how many, of training and validation; None where it was not recorded.
        labelled: whether their labels took part.
        files: keys of the bytes of their files.
        names: keys of the names and lengths of their files, of those that tell a clip from others.
    """

    clips: int | None = None
    labelled: bool = True
    files: frozenset[bytes] = frozenset()
    names: frozenset[bytes] = frozenset()

    @classmethod
    def of(cls, clips: Sequence[Utterance], *, labelled: bool) -> Part:
        """Return the record of some clips; one that cannot be read has no keys."""
        names = frozenset(_name_key(clip, ticks) for clip, ticks in _distinctive(clips))
        files = frozenset(key for clip in clips if (key := _file_key(clip)) is not None)
        return cls(clips=len(clips), labelled=labelled, files=files, names=names)

    def __or__(self, other: Part) -> Part:
        """Return the record of both, whose clips may be the same ones."""
        files = self.files | other.files
        clips = None if self.clips is None or other.clips is None else max(len(files), self.clips, other.clips)
        return Part(clips=clips, labelled=self.labelled or other.labelled, files=files, names=self.names | other.names)


@dataclass(frozen=True, kw_only=True)
class TrainingSet:
    """The training set of a model.

    Attributes:
        corpora: by their names.
        complete: whether that is all; not where an encoder was trained elsewhere, or the record began later.
    """

    corpora: Mapping[str, Part] = field(default_factory=dict)
    complete: bool = True

    @classmethod
    def of(cls, utterances: Iterable[Utterance], *, labelled: bool = True) -> TrainingSet:
        """Return the record of clips that a model is trained, or selected, on."""
        return cls(corpora={name: Part.of(clips, labelled=labelled) for name, clips in by_corpus(utterances).items()})

    def __or__(self, other: TrainingSet) -> TrainingSet:
        """Return the record of a model that was trained on both."""
        both = {name: self.corpora[name] | other.corpora[name] for name in self.corpora.keys() & other.corpora.keys()}
        corpora = dict(sorted({**self.corpora, **other.corpora, **both}.items()))
        return TrainingSet(corpora=corpora, complete=self.complete and other.complete)

    @property
    def labelled(self) -> tuple[str, ...]:
        """The corpora whose labels took part."""
        return tuple(name for name, part in self.corpora.items() if part.labelled)

    def overlap(self, utterances: Iterable[Utterance]) -> Overlap:
        """Return which of some clips, and of their corpora, a model of this record was trained on."""
        files = {key: name for name, part in self.corpora.items() for key in part.files}
        names = {key: name for name, part in self.corpora.items() for key in part.names}
        corpora, found = by_corpus(utterances), Counter[str]()
        for clips in corpora.values() if files or names else ():
            by_file = {clip: name for clip in clips if (name := files.get(_file_key(clip) or b""))}
            rest = [clip for clip in clips if clip not in by_file]
            by_name = [name for clip in rest if (name := _first(names, _name_keys(clip)))]
            found.update(by_file.values())
            found.update(by_name if len(by_name) >= _LEAST_NAMED * len(rest) else ())
        same = tuple(sorted({*corpora} & {*self.corpora}))
        return Overlap(training_set=self, n_clips=sum(map(len, corpora.values())), clips=dict(found), same_name=same)

    def as_text(self) -> str:
        """Return what is stored."""
        corpora = {
            name: {
                "clips": part.clips,
                "labelled": part.labelled,
                "files": base64.b64encode(b"".join(sorted(part.files))).decode(),
                "names": base64.b64encode(b"".join(sorted(part.names))).decode(),
            }
            for name, part in self.corpora.items()
        }
        return json.dumps({"complete": self.complete, "corpora": corpora})


UNKNOWN = TrainingSet(complete=False)
"""The record of a model that was saved before there were any."""


@dataclass(frozen=True, kw_only=True)
class Overlap:
    """Which of some clips a model was trained on.

    Attributes:
        training_set: that of the model.
        n_clips: how many clips were looked for.
        clips: how many were found, by the name of their corpus in the training set.
        same_name: corpora of the clips whose names the training set has too.
    """

    training_set: TrainingSet
    n_clips: int
    clips: Mapping[str, int]
    same_name: tuple[str, ...]

    @property
    def found(self) -> bool:
        """Whether scores on these clips must be marked: the model was trained on some, or on their corpus."""
        return bool(self.clips or self.same_name)

    @property
    def sentence(self) -> str:
        """What a reader must know beside a score on these clips, in one line."""
        n, parts = self.n_clips, self.training_set.corpora
        if self.clips:
            return (
                f"Trained on {', '.join(sorted(self.clips))}: {sum(self.clips.values())} of these {n} clips were in "
                "the training set, so this score is not one for unseen speakers."
            )
        if unrecorded := [name for name in self.same_name if parts[name].clips is None or not parts[name].files]:
            return (
                f"Trained on {', '.join(unrecorded)}; which of the clips were in the training set is not recorded, so "
                "this score is not one for unseen speakers."
            )
        if self.same_name:
            return (
                f"Trained on other clips of {', '.join(self.same_name)}, so this score is not one for an unseen "
                f"corpus; none of these {n} clips was in the training set."
            )
        if self._unrecorded:
            return (
                f"Trained on {', '.join(self._unrecorded)}; which clips is not recorded, so nobody knows whether these "
                f"{n} are among them."
            )
        if not parts and not self.training_set.complete:
            return "What this model was trained on is not recorded, so nobody knows whether these clips were among it."
        rest = "" if self.training_set.complete else "; a part of the model was trained on what is not recorded"
        return f"None of these {n} clips was in the training set ({_listed(self.training_set)}){rest}."

    @property
    def _unrecorded(self) -> list[str]:
        """The labelled corpora of which nobody wrote down the clips, as in models of version 0.1.0."""
        return [name for name, part in self.training_set.corpora.items() if part.labelled and part.clips is None]

    def as_dict(self) -> dict[str, Any]:
        """Return the same as JSON values."""
        parts = self.training_set.corpora
        return {
            "corpora": {name: {"clips": part.clips, "labelled": part.labelled} for name, part in parts.items()},
            "complete": self.training_set.complete,
            "unrecorded": self._unrecorded,
            "found": self.found,
            "clips_found": dict(self.clips),
            "corpora_of_same_name": list(self.same_name),
            "note": self.sentence,
        }


def parsed(text: str, *, origin: str) -> TrainingSet:
    """Return the record that `as_text` wrote; `origin` says where it stood.

    Raises:
        CheckpointError: it was damaged.
    """
    try:
        record = json.loads(text)
        corpora = {str(name): _part(part) for name, part in record["corpora"].items()}
        return TrainingSet(corpora=corpora, complete=record["complete"] is True)
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise CheckpointError(
            origin,
            found=f"a record of the training set that cannot be read: {type(error).__name__}",
            expected="one as this program writes it",
            remedy="Take the file from its source again.",
        ) from error


def by_card(folder: Path) -> TrainingSet:
    """Return what the card of a model without a record says: the names of corpora, or nothing."""
    try:
        names = corpora_of(read_card(folder / CARD))
    except SerFewshotError:
        return UNKNOWN
    return TrainingSet(corpora={name: Part() for name in names}, complete=False)


def _part(record: Mapping[str, Any]) -> Part:
    def keys(kind: str) -> frozenset[bytes]:
        content = base64.b64decode(record[kind], validate=True)
        return frozenset(content[at : at + _BYTES] for at in range(0, len(content), _BYTES))

    clips = None if record["clips"] is None else int(record["clips"])
    return Part(clips=clips, labelled=record["labelled"] is True, files=keys("files"), names=keys("names"))


def _listed(training_set: TrainingSet) -> str:
    """Return the corpora of a training set for people: "emodb, urdu; without labels 12 others"."""
    rest = len(training_set.corpora) - len(training_set.labelled)
    words = (", ".join(training_set.labelled), f"without labels {rest} others" if rest else "")
    return "; ".join(filter(None, words)) or "which is empty"


def by_corpus(utterances: Iterable[Utterance]) -> dict[str, list[Utterance]]:
    """Return the clips of each corpus, by its name."""
    found: dict[str, list[Utterance]] = {}
    for clip in utterances:
        found.setdefault(clip.corpus, []).append(clip)
    return dict(sorted(found.items()))


def _distinctive(clips: Sequence[Utterance]) -> Iterator[tuple[Utterance, int]]:
    """Yield the clips whose name and length are no other clip's, in this corpus or elsewhere, with their lengths."""
    ticks = {clip: found for clip in clips if (found := _length(clip)) is not None}
    times, equal = Counter(map(_name, clips)), Counter(ticks.values())
    for clip, length in ticks.items():
        coded = len(re.findall(r"[^\W\d_]+|\d+", clip.path.stem)) >= _CODED
        if times[_name(clip)] == 1 and (coded or equal[length] <= max(1, _COMMON * len(clips))):
            yield clip, length


def _first(names: Mapping[bytes, str], keys: Iterable[bytes]) -> str | None:
    return next((names[key] for key in keys if key in names), None)


def _name(clip: Utterance) -> str:
    """Return the name of a clip's file without its ending, and the part of it that the clip is."""
    return unicodedata.normalize("NFC", clip.path.stem).casefold() + segment_suffix(clip.start, clip.end)


def _name_keys(clip: Utterance) -> Iterator[bytes]:
    ticks = _length(clip)
    yield from () if ticks is None else (_name_key(clip, at) for at in (ticks, ticks - 1, ticks + 1))


def _name_key(clip: Utterance, ticks: int) -> bytes:
    return hashlib.sha256(f"{_name(clip)} {ticks}".encode(errors="surrogatepass")).digest()[:_BYTES]


def _length(clip: Utterance) -> int | None:
    """Return the length of a clip's file in ticks; None of one that cannot be read, or does not say."""
    try:
        seconds = audio.length(clip.path)
    except AudioError:
        return None
    return None if seconds is None else round(seconds * _TICKS)


def _file_key(clip: Utterance) -> bytes | None:
    """Return the key of the bytes of a clip's file; None of one that cannot be read.

    It is not `audio.content_key`, which changes whenever the same bytes are to give other samples.
    """
    try:
        with clip.path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256")
    except OSError:
        return None
    digest.update(segment_suffix(clip.start, clip.end).encode())
    return digest.digest()[:_BYTES]
