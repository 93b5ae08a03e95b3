"""BAVED, the basic Arabic vocal emotions dataset: 61 speakers, seven words, three levels of emotional intensity.

File name `10-f-20-0-1-0`, in the folders 0 to 6 (the words): speaker, gender (m, f), age, word, level, record number.

    level 0 "low": tired or down, 1 "neutral": as in daily speech, 2 "high": strong emotion, positive or negative
"""

from __future__ import annotations

from ser_fewshot.corpora._coded import FileNames
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
    n_speakers=61,
    traps=(
        "The labels are levels of intensity (low, neutral, high), not kinds of emotion: joy and anger are both high.",
        "1935 clips of 45 male and 16 female speakers are published, without counts per level.",
    ),
)

NAMES = FileNames(
    r"(?P<speaker>\d+)-(?P<gender>[mf])-\d+-(?P<text>[0-6])-(?P<emotion>[0-2])-\d+",
    emotions={"0": "low", "1": "neutral", "2": "high"},
    describe=lambda code: {"gender": "male" if code["gender"] == "m" else "female"},
)
