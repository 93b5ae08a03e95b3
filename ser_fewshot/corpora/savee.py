"""SAVEE: four men, 120 sentences each, seven emotions, British English.

Two layouts are in use: `DC/a01.wav` (the original) and `DC_a01.wav` (one folder). Speakers DC, JE, JK, KL, then the
emotion and the number of the sentence within the emotion: 30 of neutral, 15 of each of the others.
"""

from __future__ import annotations

from ser_fewshot.corpora._coded import FileNames
from ser_fewshot.corpora._corpus import CorpusCard

CARD = CorpusCard(
    title="SAVEE",
    language="eng",
    language_name="English",
    licence="research use, on registration",
    commercial_use=False,
    citation="Haq, Jackson (2009), Speaker-dependent audio-visual emotion recognition",
    url="http://kahlan.eps.surrey.ac.uk/savee",
    layout="DC/a01.wav or DC_a01.wav",
    expected={"anger": 60, "disgust": 60, "fear": 60, "happiness": 60, "neutral": 120, "sadness": 60, "surprise": 60},
    n_speakers=4,
    traps=(
        "All speakers are men.",
        "Neutral has twice the clips of the others.",
        "Sentences are numbered within an emotion; some are said in several emotions under different numbers.",
    ),
)

NAMES = FileNames(
    r"(?P<speaker>DC|JE|JK|KL)[/_](?P<text>(?P<emotion>sa|su|a|d|f|h|n)\d\d)",
    emotions={"a": "anger", "d": "disgust", "f": "fear", "h": "happiness", "n": "neutral"}
    | {"sa": "sadness", "su": "surprise"},
    describe=lambda code: {"gender": "male", "name": f"{code['speaker'].upper()}_{code['text']}"},
)
