"""SUBESCO, the SUST Bangla emotional speech corpus: twenty actors, ten sentences, seven emotions, five takes each.

Sultana, Rahman, Selim, Iqbal (2021), SUST Bangla Emotional Speech Corpus (SUBESCO): An audio-only emotional speech
corpus for Bangla, PLoS ONE 16(4), https://doi.org/10.1371/journal.pone.0250173. Licence: CC BY 4.0.

File name `F_02_MONIKA_S_1_NEUTRAL_5`: gender, number of the actor within the gender, name, sentence, emotion, take.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from ser_fewshot.corpora._coded import Fields, FileNames, read_coded
from ser_fewshot.corpora._corpus import CorpusCard, Skipped
from ser_fewshot.corpora._utterance import Utterance, canonical_emotion

CARD = CorpusCard(
    title="SUBESCO",
    language="ben",
    language_name="Bangla",
    licence="CC-BY-4.0",
    commercial_use=True,
    citation="Sultana, Rahman, Selim, Iqbal (2021), SUST Bangla Emotional Speech Corpus (SUBESCO)",
    url="https://doi.org/10.1371/journal.pone.0250173",
    layout="F_02_MONIKA_S_1_NEUTRAL_5.wav",
    expected=dict.fromkeys(("anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise"), 1_000),
    n_speakers=20,
    traps=(
        "The numbers of women and men overlap: F_01 and M_01 are two people.",
        "All actors say the same ten sentences in every emotion, five times each.",
    ),
)


def _describe(code: Mapping[str, str]) -> Fields:
    return Fields(
        emotion=canonical_emotion(code["emotion"]),
        speaker=code["speaker"].upper(),
        gender="female" if code["speaker"].startswith("f") else "male",
        text=code["text"],
    )


NAMES = FileNames(
    r"(?P<speaker>[FM]_(?:0[1-9]|10))_[A-Z]+_S_(?P<text>[1-9]|10)"
    r"_(?P<emotion>ANGRY|DISGUST|FEAR|HAPPY|NEUTRAL|SAD|SURPRISE)_[1-5]",
    _describe,
)


def read(root: Path) -> Iterator[Utterance | Skipped]:
    """Yield the clips below a folder."""
    return read_coded(root, NAMES, corpus="subesco", card=CARD)
