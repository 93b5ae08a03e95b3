"""URDU: spontaneous speech cut from Urdu talk shows, four emotions.

File name `SM1_F19_A019`: speaker SM1 (SM male, SF female), clip 19 of that speaker, emotion letter and a running number
within the emotion.
"""

from __future__ import annotations

from ser_fewshot.corpora._coded import FileNames
from ser_fewshot.corpora._corpus import CorpusCard

CARD = CorpusCard(
    title="URDU",
    language="urd",
    language_name="Urdu",
    licence="research use",
    commercial_use=False,
    citation="Latif, Qayyum, Usman, Qadir (2018), Cross lingual speech emotion recognition: Urdu vs. Western languages",
    url="https://doi.org/10.1109/FIT.2018.00023",
    layout="Angry/SM1_F19_A019.wav",
    expected={"anger": 100, "happiness": 100, "neutral": 100, "sadness": 100},
    n_speakers=29,
    traps=(
        "The file names tell 29 speakers apart (11 female, 18 male); the paper counts 38.",
        "The numbers of female and male speakers overlap: SF1 and SM1 are two people.",
        "26 of the 29 speakers have one emotion only: who knows the speaker knows the emotion.",
        "There is real noise and music in the background, and no two clips say the same sentence.",
        "In the EmoBox fold 18 of the 19 test speakers also stand in train.",
    ),
)

NAMES = FileNames(
    r"(?P<speaker>S[MF]\d+)_F\d+_(?P<emotion>[AHNS])\d+",
    emotions={"a": "anger", "h": "happiness", "n": "neutral", "s": "sadness"},
    describe=lambda code: {"gender": "male" if code["speaker"].startswith("sm") else "female"},
)
