"""CaFE, the Canadian French emotional speech dataset: twelve actors, six sentences, seven emotions in two intensities.

File name `01-C-1-3`: actor (odd ones are men), emotion, intensity (1 weak, 2 strong; neutral has 1 only), sentence. The
folders (Colère/Faible, Neutre) are not needed; those of the intensities are no speakers.
"""

from __future__ import annotations

from ser_fewshot.corpora._coded import FileNames
from ser_fewshot.corpora._corpus import CorpusCard

CARD = CorpusCard(
    title="CaFE",
    language="fra",
    language_name="French",
    licence="CC-BY-NC-SA-4.0",
    commercial_use=False,
    citation="Gournay, Lahaie, Lefebvre (2018), A Canadian French emotional speech dataset",
    url="https://doi.org/10.1145/3204949.3208121",
    layout="Peur/Faible/01-P-1-3.wav",
    expected={
        "anger": 144,
        "disgust": 144,
        "fear": 144,
        "happiness": 144,
        "neutral": 72,
        "sadness": 144,
        "surprise": 144,
    },
    n_speakers=12,
    traps=(
        "Neutral has half the clips of the others: it has one intensity.",
        "All actors say the same six sentences in every emotion.",
    ),
)

NAMES = FileNames(
    r"(?P<speaker>0[1-9]|1[0-2])-(?P<emotion>[CDJNPST])-[12]-(?P<text>[1-6])",
    emotions={"c": "anger", "d": "disgust", "j": "happiness", "n": "neutral"}
    | {"p": "fear", "s": "surprise", "t": "sadness"},
    describe=lambda code: {"gender": "male" if int(code["speaker"]) % 2 else "female"},
)
