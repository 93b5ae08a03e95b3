"""One labelled clip, and the canonical labels."""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from ser_fewshot.errors import CorpusError

Seconds = float
Gender = Literal["female", "male"]
LabelKind = Literal["emotion", "speaker", "emotion_x_speaker"]
"""What an episode treats as a class."""

ALIASES: dict[str, tuple[str, ...]] = {
    "anger": ("angry", "ang", "wut", "rage", "rabbia"),
    "boredom": ("bored", "boredem", "bor"),
    "calm": ("cal",),
    "contempt": ("con",),
    "disgust": ("disgusted", "dis"),
    "fear": ("fearful", "fea", "afraid", "scared"),
    "frustration": ("frustrated", "fru"),
    "happiness": ("happy", "hap", "joy", "joyful"),
    "neutral": ("neu", "neutrality"),
    "sadness": ("sad",),
    "surprise": ("surprised", "sur", "ps", "pleasant surprise", "pleasant_surprise", "pleasant_surprised"),
}
"""The field's nouns, and the adjectives and codes that corpora use for them."""

_NOUN = {alias: noun for noun, aliases in ALIASES.items() for alias in (noun, *aliases)}


def canonical_emotion(label: str) -> str:
    """Return the field's noun for a label: "Angry" -> "anger"; an unknown label comes back lower-case and stripped.

    Other spellings of the same characters are one (Unicode NFKC): macOS writes file names with decomposed accents, and
    Japanese keyboards write Latin letters of full width.
    """
    cleaned = " ".join(unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", label).lower()).split())
    return _NOUN.get(cleaned, cleaned)


_GENDERS: dict[str, Gender] = {"female": "female", "f": "female", "male": "male", "m": "male"}


def canonical_gender(label: str | None) -> Gender | None:
    """Return "female" or "male" for a label such as "F"; None for everything else."""
    return _GENDERS.get((label or "").strip().lower())


@dataclass(frozen=True, slots=True)
class Utterance:
    """One labelled clip of a corpus; None where the corpus does not say.

    Attributes:
        id: unique within a manifest, for instance "emodb/03a01Fa".
        path: the audio file.
        corpus: the corpus it belongs to; speakers and sentences are told apart within a corpus.
        emotion: a canonical noun.
        speaker: the corpus's own name of the speaker.
        language: ISO 639-3 code.
        gender: "female" or "male".
        text: identifies the sentence spoken, not necessarily its words.
        start, end: the part of the file that is the clip, in s; None means from the beginning, to the end.
        split: "train", "valid" or "test" where the corpus publishes such a partition.
    """

    id: str
    path: Path
    corpus: str
    emotion: str | None = None
    speaker: str | None = None
    language: str | None = None
    gender: Gender | None = None
    text: str | None = None
    start: Seconds | None = None
    end: Seconds | None = None
    split: str | None = None

    @property
    def speaker_key(self) -> str | None:
        """The speaker, told apart from speakers of the same name in other corpora."""
        return None if self.speaker is None else f"{self.corpus}/{self.speaker}"

    @property
    def text_key(self) -> str | None:
        """The sentence, told apart from sentences of the same name in other corpora."""
        return None if self.text is None else f"{self.corpus}/{self.text}"

    @property
    def seed(self) -> int:
        """Seeds random choices about this clip, which then do not depend on others; below 2**63."""
        return int.from_bytes(hashlib.sha256(self.id.encode(errors="surrogatepass")).digest()[:8]) >> 1

    def label(self, kind: LabelKind) -> str | None:
        """Return the class of this clip under one kind of label, None where the corpus does not say.

        Raises:
            CorpusError: the kind is none of the three.
        """
        if kind == "emotion":
            return self.emotion
        if kind == "speaker":
            return self.speaker_key
        if kind == "emotion_x_speaker":
            known = self.emotion is not None and self.speaker is not None
            return f"{self.emotion} by {self.speaker_key}" if known else None
        raise CorpusError(
            "label", found=repr(kind), expected=" | ".join(get_args(LabelKind)), remedy="Choose one of these."
        )


def checked_utterances(utterances: object) -> tuple[Utterance, ...]:
    """Return utterances as a tuple; a table, or what was read of it as a whole, is easily passed by mistake.

    Raises:
        CorpusError: it is something else.
    """
    several = isinstance(utterances, Iterable) and not isinstance(utterances, str | bytes)
    items = tuple(utterances) if isinstance(utterances, Iterable) and several else ()
    if several and all(isinstance(item, Utterance) for item in items):
        return items
    remedy = "Pass those of a manifest: read_manifest(path).utterances."
    if hasattr(utterances, "utterances"):
        remedy = "Pass its attribute utterances."
    wrong = next((item for item in items if not isinstance(item, Utterance)), utterances)
    found = f"an object of type {type(wrong).__name__}"
    raise CorpusError("utterances", found=found, expected="a sequence of Utterance", remedy=remedy)
