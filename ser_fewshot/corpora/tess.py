"""TESS, the Toronto emotional speech set: two actresses, 200 words in "Say the word ...", seven emotions, English.

Pichora-Fuller and Dupuis (2020), Toronto emotional speech set (TESS), Borealis, https://doi.org/10.5683/SP2/E8H2MF.
Licence: CC BY-NC-ND 4.0.

File name `OAF_back_angry`: speaker (OAF 64 years old, YAF 26 years old), word, emotion: angry, disgust, fear, happy,
neutral, ps (pleasant surprise), sad. The folders (OAF_angry, OAF_Pleasant_surprise, YAF_pleasant_surprised, ...) are
spelled differently for the two speakers and are not needed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from ser_fewshot.corpora._coded import Fields, FileNames, read_coded
from ser_fewshot.corpora._corpus import CorpusCard, Skipped
from ser_fewshot.corpora._utterance import Utterance, canonical_emotion

CARD = CorpusCard(
    title="TESS",
    language="eng",
    language_name="English",
    licence="CC-BY-NC-ND-4.0",
    commercial_use=False,
    citation="Pichora-Fuller, Dupuis (2020), Toronto emotional speech set (TESS)",
    url="https://doi.org/10.5683/SP2/E8H2MF",
    layout="OAF_angry/OAF_back_angry.wav",
    expected={
        "anger": 400,
        "disgust": 400,
        "fear": 400,
        "happiness": 400,
        "neutral": 400,
        "sadness": 400,
        "surprise": 400,
    },
    n_speakers=2,
    traps=(
        "There are two speakers: speaker-independent means to train on one and to test on the other.",
        "One file is misnamed: OA_bite_neutral is spoken by OAF.",
        "Some copies hold every clip twice, in a second folder of the same name inside the first.",
        "Both speakers are women, both say the same words, and every clip begins with the same three words.",
        "The EmoBox split shares both speakers and 195 words between train and test.",
    ),
)


def _describe(code: Mapping[str, str]) -> Fields:
    speaker = "OAF" if code["speaker"] == "oa" else code["speaker"].upper()
    return Fields(
        emotion=canonical_emotion(code["emotion"]),
        speaker=speaker,
        gender="female",
        text=code["text"],
        name=f"{speaker}_{code['text']}_{code['emotion']}",
    )


NAMES = FileNames(
    r"(?P<speaker>OAF|OA|YAF)_(?P<text>[a-z]+)_(?P<emotion>angry|disgust|fear|happy|neutral|ps|sad)",
    _describe,
)


def read(root: Path) -> Iterator[Utterance | Skipped]:
    """Yield the clips below a folder, whether they lie in folders per emotion or in one."""
    return read_coded(root, NAMES, corpus="tess", card=CARD)
