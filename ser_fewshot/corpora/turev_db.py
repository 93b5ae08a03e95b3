"""TurEV-DB, the Turkish emotion voice database: six speakers, 82 single words, four emotions.

Canpolat, Ormanoğlu, Zeyrek (2020), Turkish emotion voice database (TurEV-DB), SLTU,
https://aclanthology.org/2020.sltu-1.52. Licence: none stated, cite the paper.

Path `Sound Source/Angry/1157_kz_acik.wav`: the emotion is the folder (Angry, Calm, Happy, Sad); then the speaker, an
abbreviation of the Turkish name of the emotion (kz angry, sk calm, ...), and the word.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from ser_fewshot.corpora._coded import Fields, FileNames, read_coded
from ser_fewshot.corpora._corpus import CorpusCard, Skipped
from ser_fewshot.corpora._utterance import Utterance, canonical_emotion

CARD = CorpusCard(
    title="TurEV-DB",
    language="tur",
    language_name="Turkish",
    licence="none stated, cite the paper",
    commercial_use=None,
    citation="Canpolat, Ormanoğlu, Zeyrek (2020), Turkish emotion voice database (TurEV-DB)",
    url="https://aclanthology.org/2020.sltu-1.52",
    layout="Sound Source/Angry/1157_kz_acik.wav",
    expected={"anger": 487, "calm": 408, "happiness": 357, "sadness": 483},
    n_speakers=6,
    traps=(
        "Clips are single words of about one second.",
        "There is calm, but no neutral.",
        "All speakers say the same words in every emotion.",
        "The EmoBox split shares all speakers and nearly all words between train and test.",
    ),
)


def _describe(code: Mapping[str, str]) -> Fields:
    return Fields(emotion=canonical_emotion(code["emotion"]), speaker=code["speaker"], text=code["text"])


NAMES = FileNames(r"(?P<emotion>Angry|Calm|Happy|Sad)/(?P<speaker>\d+)_[a-z]+_(?P<text>[^/_]+)", _describe)


def read(root: Path) -> Iterator[Utterance | Skipped]:
    """Yield the clips below a folder: a clone of the repository or its folder Sound Source."""
    return read_coded(root, NAMES, corpus="turev_db", card=CARD)
