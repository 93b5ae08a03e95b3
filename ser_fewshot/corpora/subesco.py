"""SUBESCO, the SUST Bangla emotional speech corpus: twenty actors, ten sentences, seven emotions, five takes each.

File name `F_02_MONIKA_S_1_NEUTRAL_5`: gender, number of the actor within the gender, name, sentence, emotion, take.
"""

from __future__ import annotations

from ser_fewshot.corpora._coded import FileNames
from ser_fewshot.corpora._corpus import CorpusCard

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

NAMES = FileNames(
    r"(?P<speaker>[FM]_(?:0[1-9]|10))_[A-Z]+_S_(?P<text>[1-9]|10)"
    r"_(?P<emotion>ANGRY|DISGUST|FEAR|HAPPY|NEUTRAL|SAD|SURPRISE)_[1-5]",
    describe=lambda code: {"gender": "female" if code["speaker"].startswith("f") else "male"},
)
