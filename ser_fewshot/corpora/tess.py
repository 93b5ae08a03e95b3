"""TESS, the Toronto emotional speech set: two actresses, 200 words in "Say the word ...", seven emotions, English.

File name `OAF_back_angry`: speaker (OAF 64 years old, YAF 26 years old), word, emotion (ps is pleasant surprise). The
folders are spelled differently for the two speakers and are not needed. Copies that are split into train and test
rename the clips of the test part to `289testOAF_such_fear7`; these are the same clips and have the same ids.
"""

from __future__ import annotations

from ser_fewshot.corpora._coded import Code, FileNames
from ser_fewshot.corpora._corpus import CorpusCard

CARD = CorpusCard(
    title="TESS",
    language="eng",
    language_name="English",
    licence="CC-BY-NC-ND-4.0",
    commercial_use=False,
    citation="Pichora-Fuller, Dupuis (2020), Toronto emotional speech set (TESS)",
    url="https://doi.org/10.5683/SP2/E8H2MF",
    layout="OAF_angry/OAF_back_angry.wav",
    expected=dict.fromkeys(("anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise"), 400),
    n_speakers=2,
    traps=(
        "There are two speakers: speaker-independent means to train on one and to test on the other.",
        "One file is misnamed: OA_bite_neutral is spoken by OAF.",
        "Some copies hold every clip twice, in a second folder of the same name inside the first.",
        "One clip, OAF_food_fear, is sampled at 96 kHz, the others at 24.4 kHz.",
        "The split that copies call train and testnew is not the publishers', and it shares both speakers.",
        "Both speakers are women, both say the same words, and every clip begins with the same three words.",
        "The EmoBox split shares both speakers and 195 words between train and test.",
    ),
)


def _describe(code: Code) -> dict[str, str]:
    speaker = "OAF" if code["speaker"] == "oa" else code["speaker"].upper()
    return {"speaker": speaker, "gender": "female", "name": f"{speaker}_{code['text']}_{code['emotion']}"}


NAMES = FileNames(
    r"(?P<part>\d+test)?(?P<speaker>OAF|OA|YAF)_(?P<text>[a-z]+)_(?P<emotion>angry|disgust|fear|happy|neutral|ps|sad)"
    r"(?(part)\d+)",
    describe=_describe,
)
