"""ESD, the emotional speech dataset: ten Mandarin and ten English speakers, 350 sentences each in five emotions.

Path `0001/Angry/0001_000351.wav`, in one release with a folder between: `0001/Angry/train/0001_000351.wav`, where the
others are `evaluation` (read as "valid") and `test`. Speakers 0001 to 0010 speak Mandarin, 0011 to 0020 English. Files
are numbered through: 1 to 350 neutral, 351 to 700 angry, 701 to 1050 happy, 1051 to 1400 sad, 1401 to 1750 surprise,
in the same order of sentences, so the number modulo 350 identifies the sentence. The emotion is taken from the folder.
"""

from __future__ import annotations

from ser_fewshot.corpora._coded import Code, FileNames
from ser_fewshot.corpora._corpus import CorpusCard

CARD = CorpusCard(
    title="ESD",
    language="mul",
    language_name="Mandarin Chinese and English",
    licence="research use, after signing a form",
    commercial_use=False,
    citation="Zhou, Sisman, Liu, Li (2022), Emotional voice conversion: Theory, databases and ESD",
    url="https://doi.org/10.1016/j.specom.2021.11.006",
    layout="0001/Angry/0001_000351.wav",
    expected={"anger": 7000, "happiness": 7000, "neutral": 7000, "sadness": 7000, "surprise": 7000},
    n_speakers=20,
    traps=(
        "The published split is by sentence: all twenty speakers stand in train, evaluation and test.",
        "All speakers of a language say the same 350 sentences in every emotion.",
        "The two languages are two sets of speakers: a split by speaker can be a split by language.",
    ),
)

_FEMALE = {"0001", "0002", "0003", "0007", "0009", "0015", "0016", "0017", "0018", "0019"}
_SENTENCES = 350
_SPLITS = {"train": "train", "evaluation": "valid", "test": "test", "": None}


def _describe(code: Code) -> dict[str, str | None]:
    language = "cmn" if int(code["speaker"]) <= 10 else "eng"
    sentence = (int(code["number"]) - 1) % _SENTENCES + 1
    return {
        "gender": "female" if code["speaker"] in _FEMALE else "male",
        "text": f"{language}-{sentence:03d}",
        "language": language,
        "split": _SPLITS[code["split"]],
    }


NAMES = FileNames(
    r"(?P<emotion>Angry|Happy|Neutral|Sad|Surprise)/(?:(?P<split>train|evaluation|test)/)?"
    r"(?P<speaker>00(?:0[1-9]|1\d|20))_(?P<number>\d{6})",
    describe=_describe,
)
