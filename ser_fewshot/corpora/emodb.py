"""Emo-DB, the Berlin database of emotional speech: ten actors, ten sentences without emotional content, German.

20 listeners judged all recordings; only those that at least 80 % of them recognised were published, which is why the
classes are uneven. File name `03a01Fa`: speaker 03, sentence a01, emotion F (Freude; the letters are German), take a.
"""

from __future__ import annotations

from ser_fewshot.corpora._coded import FileNames
from ser_fewshot.corpora._corpus import CorpusCard

CARD = CorpusCard(
    title="Emo-DB",
    language="deu",
    language_name="German",
    licence="free, cite the paper",
    commercial_use=None,
    citation="Burkhardt, Paeschke, Rolfes, Sendlmeier, Weiss (2005), A database of German emotional speech",
    url="https://doi.org/10.21437/Interspeech.2005-446",
    layout="wav/03a01Fa.wav",
    expected={"anger": 127, "boredom": 81, "disgust": 46, "fear": 69, "happiness": 71, "neutral": 79, "sadness": 62},
    n_speakers=10,
    traps=(
        "All speakers say the same ten sentences, so a random split has every sentence on both sides.",
        "The five EmoBox folds share all ten speakers between train and test.",
        "Only clips that listeners recognised were published: results are higher than on other acted corpora.",
    ),
)

_EMOTIONS = {
    "w": "anger",
    "l": "boredom",
    "e": "disgust",
    "a": "fear",
    "f": "happiness",
    "t": "sadness",
    "n": "neutral",
}
_MALE = {"03", "10", "11", "12", "15"}

NAMES = FileNames(
    r"(?P<speaker>03|08|09|1[0-6])(?P<text>[ab]\d\d)(?P<emotion>[WLEAFTN])[a-z]",
    emotions=_EMOTIONS,
    describe=lambda code: {"gender": "male" if code["speaker"] in _MALE else "female"},
)
