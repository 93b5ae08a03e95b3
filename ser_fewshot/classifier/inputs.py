"""Checks of the model, labels and clips that a user enrols with; labels that look misspelt."""

from __future__ import annotations

import difflib
import os
import re
import unicodedata
import warnings
from collections.abc import Collection, Iterable, Mapping, Sequence

import numpy as np

from ser_fewshot.audio import Clip, Source
from ser_fewshot.corpora import ALIASES, canonical_emotion
from ser_fewshot.encoders import View
from ser_fewshot.errors import DataWarning, EnrollmentError
from ser_fewshot.models import Model
from ser_fewshot.settings import check_is

_CLOSE = 0.8  # of difflib's ratio: "agner" to "anger"
_SHORTEST = 4  # letters: codes such as "dis" are like too many words
_WORDS = tuple(word for noun, aliases in ALIASES.items() for word in (noun, *aliases) if len(word) >= _SHORTEST)
_LONGEST_NAME = 255  # characters, as in file systems
_CONTROLS = ("Cc", "Cs", "Zl", "Zp")  # Unicode categories that break a line, or a terminal, or UTF-8


def check_model(model: object) -> None:
    """Refuse a model that cannot recognise a single clip.

    Raises:
        EnrollmentError: it is no model, or was trained on features normalised per speaker.
    """
    remedy = "Open a saved one with FewShotClassifier.from_pretrained(folder)."
    check_is(model, Model, name="model", remedy=remedy, error=EnrollmentError)
    if isinstance(model, Model) and model.config.normalization == "speaker":
        raise EnrollmentError(
            "model",
            found="per-speaker normalisation",
            expected="a model that needs no other clips of a speaker to recognise one",
            remedy="Train with normalisation 'none' or 'clip'.",
        )


def misspelt(labels: Iterable[str], enrolled: Collection[str] = ()) -> dict[str, str]:
    """Return those of some new labels that look misspelt, each with the label that was probably meant.

    Each is compared with what is enrolled, with the labels before it, and with the known emotions; an emotion that is
    known itself, under another of its names, is only compared with the same emotion.
    """
    known = list(enrolled)
    found: dict[str, str] = {}
    for label in labels:
        if class_key(label) not in map(class_key, known):
            if (meant := _meant(label, known)) is not None:
                found[label] = meant
            known.append(label)
    return found


def warn_of_misspelt(labels: Iterable[str], enrolled: Collection[str] = (), *, view: View | None) -> None:
    """Warn of each label that looks misspelt, unless it is the name of somebody: those may differ by a letter."""
    for label, meant in misspelt(labels, enrolled).items() if view != "speaker" else ():
        warnings.warn(question(label, meant), DataWarning, stacklevel=3)


def question(label: str, meant: str) -> str:
    """Return what to ask about a label that looks misspelt."""
    return f"{label!r} is enrolled as a class of its own: did you mean {meant!r}?"


def _meant(label: str, known: Iterable[str]) -> str | None:
    noun = canonical_emotion(label)
    by_noun = {canonical_emotion(other): other for other in known}  # in lower case, where it is no emotion
    if noun in by_noun:
        return by_noun[noun]
    if noun in ALIASES:
        return None
    for word in difflib.get_close_matches(noun, [*by_noun, *_WORDS], cutoff=_CLOSE):
        # Typing errors rarely change the first letter, and "take 1" is not "take 2".
        if word[:1] == noun[:1] and re.sub(r"\D", "", word) == re.sub(r"\D", "", noun):
            return by_noun.get(word, word)
    return None


def checked_label(label: object) -> str:
    """Return the name of a class: one line, without the white space around it, accents composed (Unicode NFC).

    Raises:
        EnrollmentError: it is no text, empty, too long, or holds control characters.
    """
    name = unicodedata.normalize("NFC", label).strip() if isinstance(label, str) else ""
    visible = any(char.isprintable() and not char.isspace() for char in name)
    if not visible or one_line(name) != name:
        raise EnrollmentError(
            "label",
            found=f"{label!a:.80}",
            expected=f"a name in one line of 1 to {_LONGEST_NAME} characters",
            remedy="Give the emotion a name.",
        )
    return name


def class_key(label: str) -> str:
    """Return what is the same for all spellings of a class: "Anger", " anger " and letters of full width."""
    return " ".join(unicodedata.normalize("NFKC", label).casefold().split())


def checked_classes(clips: object) -> dict[str, list[Source | Clip]]:
    """Return the classes of an enrolment by their checked labels, each with a list of at least one clip.

    Raises:
        EnrollmentError: no mapping, fewer than two classes, one without clips, or a label that is empty or there twice.
    """
    if not isinstance(clips, Mapping):
        raise EnrollmentError(
            "enrolment",
            found=f"an object of type {type(clips).__name__}",
            expected="a mapping from each label to a list of its clips",
            remedy='Pass for instance {"anger": ["a1.wav", "a2.wav"], "neutral": ["n1.wav", "n2.wav"]}.',
        )
    sources: dict[str, list[Source | Clip]] = {}
    for given, members in clips.items():
        label = checked_label(given)
        if twin := next((known for known in sources if class_key(known) == class_key(label)), None):
            found = f"{label!r} twice" if twin == label else f"{twin!r} and {label!r}, which are one class"
            raise EnrollmentError("enrolment", found=found, expected="labels that differ", remedy="Merge the two.")
        sources[label] = checked_sources(label, members)
    if len(sources) < 2:
        raise EnrollmentError(
            "enrolment",
            found=f"{len(sources)} class{'es' if len(sources) != 1 else ''}: {', '.join(sources) or 'none'}",
            expected="at least two to tell apart",
            remedy="Enrol another emotion, for instance neutral.",
        )
    return sources


def checked_sources(label: str, clips: object, *, least: int = 1) -> list[Source | Clip]:
    """Return several clips as a list; a single one, which is easily passed by mistake, is refused.

    Raises:
        EnrollmentError: it is one clip, nothing that clips can be taken from, or holds fewer than `least`.
    """
    samples = isinstance(clips, tuple) and any(isinstance(part, np.ndarray) for part in clips)
    single = isinstance(clips, str | bytes | os.PathLike | Clip | np.ndarray | Mapping) or hasattr(clips, "read")
    several = list(clips) if isinstance(clips, Iterable) and not single and not samples else None
    if several is None or len(several) < least:
        raise EnrollmentError(
            f"clips {label!r}",
            found="none" if several is not None else f"a single {type(clips).__name__}",
            expected=f"a list of at least {least}" if least else "a list of clips",
            remedy="Pass a list of clips; five are a good number.",
        )
    return several


def one_line(text: str) -> str:
    """Return a name that can be printed: control characters replaced, and not too long."""
    kept = text[:_LONGEST_NAME]
    return "".join("\N{REPLACEMENT CHARACTER}" if unicodedata.category(c) in _CONTROLS else c for c in kept)


def checked_speakers(label: str, clips: Sequence[object], speakers: object) -> list[str | None]:
    """Return who speaks in each clip of a class, of one name for all, one a clip, or None.

    Raises:
        EnrollmentError: there is not one speaker a clip, or one is no name.
    """
    if speakers is None:
        return [None] * len(clips)
    if isinstance(speakers, str):
        return [checked_label(speakers)] * len(clips)
    if not isinstance(speakers, Sequence) or len(speakers) != len(clips):
        found = f"{len(speakers)} names" if isinstance(speakers, Sequence) else f"a {type(speakers).__name__}"
        raise EnrollmentError(
            f"speakers of {label}",
            found=f"{found} for {len(clips)} clips",
            expected="one name, or a list of one name a clip, None where a speaker is not known",
            remedy="Name the speaker of every clip, or leave the speakers out.",
        )
    return [None if name is None else checked_label(name) for name in speakers]


def speakers_of_classes(classes: Mapping[str, Sequence[object]], speakers: object) -> dict[str, list[str | None]]:
    """Return who speaks in each clip of each class; see `checked_speakers`.

    Raises:
        EnrollmentError: as there, or speakers are named of a class that has no clips.
    """
    if speakers is not None and not isinstance(speakers, Mapping):
        raise EnrollmentError(
            "speakers",
            found=f"an object of type {type(speakers).__name__}",
            expected="a mapping from labels to the speakers of their clips",
            remedy='Pass for instance {"anger": ["anna", "ben"]}.',
        )
    named = {checked_label(label): names for label, names in (speakers or {}).items()}
    if strange := [label for label in named if label not in classes]:
        raise EnrollmentError(
            "speakers", found=f"the class {strange[0]!r}", expected=" | ".join(classes), remedy="Correct the label."
        )
    return {label: checked_speakers(label, clips, named.get(label)) for label, clips in classes.items()}
