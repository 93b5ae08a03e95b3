"""ASED, the Amharic speech emotion dataset: 65 volunteers, read sentences, five emotions.

File name `a5-03-01-02-50`: emotion, sentence, repetition, gender (01 female, 02 male), speaker.
"""

from __future__ import annotations

from ser_fewshot.corpora._coded import Code, FileNames
from ser_fewshot.corpora._corpus import CorpusCard

CARD = CorpusCard(
    title="ASED",
    language="amh",
    language_name="Amharic",
    licence="none stated, cite the paper",
    commercial_use=None,
    citation="Retta, Almekhlafi, Sutcliffe, Mhamed, Ali, Feng (2023), A new Amharic speech emotion dataset and "
    "classification benchmark",
    url="https://doi.org/10.1145/3529759",
    layout="05Angry/a5-03-01-02-50.wav",
    expected={"anger": 486, "fear": 510, "happiness": 486, "neutral": 522, "sadness": 470},
    n_speakers=65,
    traps=(
        "One file begins with a capital: S4-04-02-01-29.",
        "Five female speakers (09, 15, 21, 23, 25) have one file each that says male: a speaker is the number alone.",
        "It is not published whether sentence 03 of anger is sentence 03 of fear, so they count as one sentence.",
        "The EmoBox split shares speakers and sentences between train and test.",
    ),
)

_MISLABELLED_FEMALE = {"09", "15", "21", "23", "25"}


def _describe(code: Code) -> dict[str, str]:
    female = code["gender"] == "01" or code["speaker"] in _MISLABELLED_FEMALE
    return {"gender": "female" if female else "male"}


NAMES = FileNames(
    r"(?P<emotion>n1|f2|h3|s4|a5)-(?P<text>\d\d)-\d\d-(?P<gender>0[12])-(?P<speaker>\d\d)",
    emotions={"n1": "neutral", "f2": "fear", "h3": "happiness", "s4": "sadness", "a5": "anger"},
    describe=_describe,
)
