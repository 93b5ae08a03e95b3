"""TurEV-DB, the Turkish emotion voice database: six speakers, 82 single words, four emotions.

Path `Sound Source/Angry/1157_kz_acik.wav`: the emotion is the folder; then the speaker, an abbreviation of the Turkish
name of the emotion (kz angry, sk calm, ...), and the word.
"""

from __future__ import annotations

from ser_fewshot.corpora._coded import FileNames
from ser_fewshot.corpora._corpus import CorpusCard

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

NAMES = FileNames(r"(?P<emotion>Angry|Calm|Happy|Sad)/(?P<speaker>\d+)_[a-z]+_(?P<text>[^/_]+)")
