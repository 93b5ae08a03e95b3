"""BAVED, the basic Arabic vocal emotions dataset: 61 speakers, seven words, three levels of emotional intensity.

File name `10-f-20-0-1-0`, in the folders 0 to 6 (the words): speaker, gender (m, f), age, word, level, record number.

    level 0 "low": tired or down, 1 "neutral": as in daily speech, 2 "high": strong emotion, positive or negative

The clips of speaker 53 are those of speaker 46 under other names, so both are speaker 46.
"""

from __future__ import annotations

from ser_fewshot.corpora._coded import Code, FileNames
from ser_fewshot.corpora._corpus import CorpusCard

CARD = CorpusCard(
    title="BAVED",
    language="ara",
    language_name="Arabic",
    licence="none stated",
    commercial_use=None,
    citation="Aouf (2019), Basic Arabic Vocal Emotions Dataset",
    url="https://github.com/40uf411/Basic-Arabic-Vocal-Emotions-Dataset",
    layout="0/10-f-20-0-1-0.wav",
    expected={"high": 678, "low": 585, "neutral": 672},
    n_speakers=59,
    traps=(
        "The labels are levels of intensity (low, neutral, high), not kinds of emotion: joy and anger are both high.",
        "43 of 59 speakers have clips of one level only, 214 clips in all: the level gives the speaker away.",
        "Clips are spread unevenly: 3 to 349 for a speaker, and half of all from three speakers.",
        "61 speakers are listed, but 52 has no clip, and the 21 clips of 53 are those of 46, so 59 are told apart.",
        "27 recordings are there twice; six of them are takes of one speaker.",
        "One clip, 49-m-23-6-1-201, lies in the folder of word 0; its name, which says word 6, is followed.",
    ),
)

_COPIES = {"53": "46"}


def _describe(code: Code) -> dict[str, str]:
    speaker = _COPIES.get(code["speaker"], code["speaker"])
    return {"speaker": speaker, "gender": "male" if code["gender"] == "m" else "female"}


NAMES = FileNames(
    r"(?P<speaker>\d+)-(?P<gender>[mf])-\d+-(?P<text>[0-6])-(?P<emotion>[0-2])-\d+",
    emotions={"0": "low", "1": "neutral", "2": "high"},
    describe=_describe,
)
