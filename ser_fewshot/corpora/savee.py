"""SAVEE: four men, 120 sentences each, seven emotions, British English.

Haq and Jackson (2009), Speaker-dependent audio-visual emotion recognition, AVSP,
http://kahlan.eps.surrey.ac.uk/savee. Licence: for research, on registration.

Two layouts are in use: `DC/a01.wav` (the original) and `DC_a01.wav` (one folder). Speakers DC, JE, JK, KL, then the
emotion and the number of the sentence within the emotion:

    a anger, d disgust, f fear, h happiness, n neutral (30 sentences, the others 15), sa sadness, su surprise
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from ser_fewshot.corpora._coded import Fields, FileNames, read_coded
from ser_fewshot.corpora._corpus import CorpusCard, Skipped
from ser_fewshot.corpora._utterance import Utterance

CARD = CorpusCard(
    title="SAVEE",
    language="eng",
    language_name="English",
    licence="research use, on registration",
    commercial_use=False,
    citation="Haq, Jackson (2009), Speaker-dependent audio-visual emotion recognition",
    url="http://kahlan.eps.surrey.ac.uk/savee",
    layout="DC/a01.wav or DC_a01.wav",
    expected={
        "anger": 60,
        "disgust": 60,
        "fear": 60,
        "happiness": 60,
        "neutral": 120,
        "sadness": 60,
        "surprise": 60,
    },
    n_speakers=4,
    traps=(
        "All speakers are men.",
        "Neutral has twice the clips of the others.",
        "Sentences are numbered within an emotion; some are said in several emotions under different numbers.",
    ),
)

_EMOTIONS = {
    "a": "anger",
    "d": "disgust",
    "f": "fear",
    "h": "happiness",
    "n": "neutral",
    "sa": "sadness",
    "su": "surprise",
}


def _describe(code: Mapping[str, str]) -> Fields:
    return Fields(
        emotion=_EMOTIONS[code["emotion"]],
        speaker=code["speaker"].upper(),
        gender="male",
        text=code["text"],
        name=f"{code['speaker'].upper()}_{code['text']}",
    )


NAMES = FileNames(r"(?P<speaker>DC|JE|JK|KL)[/_](?P<text>(?P<emotion>sa|su|a|d|f|h|n)\d\d)", _describe)


def read(root: Path) -> Iterator[Utterance | Skipped]:
    """Yield the clips below a folder, in either layout."""
    return read_coded(root, NAMES, corpus="savee", card=CARD)
