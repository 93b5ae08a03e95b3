"""Corpora whose file names say who speaks which emotion: a pattern, a table of codes, one reader for all of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any

from ser_fewshot import plugins
from ser_fewshot.corpora._corpus import CorpusCard, Skipped
from ser_fewshot.corpora._files import Found, find_clips, foreign, is_foreign, require_folder
from ser_fewshot.corpora._utterance import Utterance, canonical_emotion
from ser_fewshot.errors import CorpusError

_TAIL = 4
"""How many parts of a path a pattern may look at: speaker/emotion/split/clip."""
_STRAYS = 10
"""So many clips of other names are tolerated anywhere under the root; more of them are another corpus."""

Code = Mapping[str, str]
"""The named groups of a pattern, in lower case; empty where a group took no part."""
Fields = Mapping[str, str | None]
"""Fields of an `Utterance`, and `name`: of the clip in every layout and format, by default the stem of its file."""


@dataclass(frozen=True)
class FileNames:
    r"""How a corpus names its files.

    Attributes:
        pattern: a regular expression for the end of a path, without the extension, with the named groups `emotion`,
            `speaker` and, where sentences are told apart, `text`. It may begin with folders:
            r"(?P<speaker>DC|JE)/(?P<emotion>a|d)(?P<text>\d\d)". Letter case does not count.
        emotions: code, in lower case -> noun; without it the codes are words that `canonical_emotion` knows.
        describe: from the groups to further fields, such as the gender, or other values of those three; or to the
            reason why such a file is skipped. By default a speaker is in upper case.
    """

    pattern: str
    emotions: Mapping[str, str] = field(default_factory=dict)
    describe: Callable[[Code], Fields | str] = lambda _: {}

    def parse(self, path: PurePath) -> Fields | str | None:
        """Return what a path says, the reason to skip it, or None if it is not named like a clip of this corpus."""
        tail = "/".join((*path.parts[-_TAIL:-1], path.stem))
        match = re.fullmatch(f"(?:.*/)?(?:{self.pattern})", tail, re.IGNORECASE | re.ASCII)
        if match is None:
            return None
        code = {name: (text or "").lower() for name, text in match.groupdict().items()}
        further = self.describe(code)
        if isinstance(further, str):
            return further
        emotion = self.emotions.get(code["emotion"]) or canonical_emotion(code["emotion"])
        return {"emotion": emotion, "speaker": code["speaker"].upper(), "text": code.get("text"), **further}


def read_coded(root: Path, names: FileNames, *, corpus: str, card: CorpusCard) -> Iterator[Utterance | Skipped]:
    """Yield every clip below a folder whose name the corpus explains, and everything else as skipped.

    Raises:
        CorpusError: the root is no folder, no clip is named as in this corpus, or it holds other corpora too.
    """
    require_folder(root, subject=card.title, layout=card.layout)
    found = find_clips(root)
    parsed = {path: names.parse(path) for path in (*found.clips, *found.foreign)}
    _check_root(root, found, parsed, card)
    yield from found.skipped
    for path, fields in parsed.items():
        if isinstance(fields, str):
            yield Skipped(path, fields)
        elif is_foreign(path):
            yield foreign(path)
        elif fields is None:
            yield Skipped(path, f"file name: not like {card.layout}")
        else:
            yield utterance(path, fields, corpus=corpus, card=card)


def utterance(path: Path, fields: Fields, *, corpus: str, card: CorpusCard) -> Utterance:
    """Return the clip that a file name describes."""
    values: dict[str, Any] = {"name": path.stem, "language": card.language, **fields}
    return Utterance(id=f"{corpus}/{values.pop('name')}", path=path, corpus=corpus, **values)


def looks_like(files: Collection[Path]) -> str | None:
    """Return the corpus whose file names more than half of the files have, None if there is none."""
    known = {name: file_names(name) for name in plugins.names("corpora")}
    fits = {name: sum(names.parse(path) is not None for path in files) for name, names in known.items() if names}
    best = max(fits, key=fits.__getitem__)
    return best if fits[best] > len(files) / 2 else None


def file_names(corpus: str) -> FileNames | None:
    """Return how a corpus names its files; None for a format, whose file names say nothing."""
    names = getattr(plugins.load("corpora", corpus), "NAMES", None)
    return names if isinstance(names, FileNames) else None


def _check_root(root: Path, found: Found, parsed: Mapping[Path, Fields | str | None], card: CorpusCard) -> None:
    """Refuse a root that holds no clip of the corpus, and one that holds the corpus beside others."""
    own = [path for path, fields in parsed.items() if fields is not None]
    expected = f"files such as {card.layout}"
    if not own:
        example = f", for instance {next(iter(parsed)).relative_to(root)}" if parsed else ""
        raise CorpusError(
            card.title,
            found=f"{len(parsed)} audio files below {root}, none named like its clips{example}",
            expected=expected,
            remedy="Give the folder of this corpus as it was unpacked, or choose the corpus that these files are of.",
        )
    branches = {path.relative_to(root).parts[0] for path in own}
    strays = [path for path in found.clips if parsed[path] is None and path.relative_to(root).parts[0] not in branches]
    if len(branches) == 1 and len(strays) > max(_STRAYS, len(own) // _STRAYS):
        branch = root / next(iter(branches))
        raise CorpusError(
            card.title,
            found=f"{len(own)} of its clips in {branch}, and beside that {len(strays)} audio files of something else",
            expected=expected,
            remedy=f"Give {branch} as the root.",
        )
