"""ShEMO, the Sharif emotional speech database: 87 speakers in Persian radio plays, six emotions.

File name `F01A01`, in the folders female and male: gender and speaker (F01), emotion, number of the clip.
"""

from __future__ import annotations

from ser_fewshot.corpora._coded import FileNames
from ser_fewshot.corpora._corpus import CorpusCard

CARD = CorpusCard(
    title="ShEMO",
    language="fas",
    language_name="Persian",
    licence="free for academic purposes",
    commercial_use=False,
    citation="Mohamad Nezami, Jamshid Lou, Karami (2019), ShEMO: a large-scale validated database for Persian speech "
    "emotion detection",
    url="https://doi.org/10.1007/s10579-018-9427-x",
    layout="female/F01A01.wav",
    expected={"anger": 1059, "fear": 38, "happiness": 201, "neutral": 1028, "sadness": 449, "surprise": 225},
    n_speakers=87,
    traps=(
        "F in the first place is female, F in the fourth is fear.",
        "Fear has 38 clips: too few for most episodes.",
        "Some clips are shorter than half a second.",
        "Sentences differ from clip to clip, so words may give the emotion away.",
    ),
)

NAMES = FileNames(
    r"(?P<speaker>[FM]\d\d)(?P<emotion>[AFHNSW])\d{2,3}",
    emotions={"a": "anger", "f": "fear", "h": "happiness", "n": "neutral", "s": "sadness", "w": "surprise"},
    describe=lambda code: {"gender": "female" if code["speaker"].startswith("f") else "male"},
)
