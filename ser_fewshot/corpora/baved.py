"""BAVED, the basic Arabic vocal emotions dataset: 61 speakers, seven words, three levels of emotional intensity.

Aouf (2019), Basic Arabic Vocal Emotions Dataset, https://github.com/40uf411/Basic-Arabic-Vocal-Emotions-Dataset.
Licence: none stated.

File name `10-f-20-0-1-0`, in the folders 0 to 6 (the words): speaker, gender (m, f), age, word, level, record number.

    level 0 "low": tired or down, 1 "neutral": as in daily speech, 2 "high": strong emotion, positive or negative
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from ser_fewshot.corpora._coded import Fields, FileNames, read_coded
from ser_fewshot.corpora._corpus import CorpusCard, Skipped
from ser_fewshot.corpora._utterance import Utterance

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

_LEVELS = {"0": "low", "1": "neutral", "2": "high"}


def _describe(code: Mapping[str, str]) -> Fields:
    return Fields(
        emotion=_LEVELS[code["level"]],
        speaker=code["speaker"],
        gender="male" if code["gender"] == "m" else "female",
        text=code["word"],
    )


NAMES = FileNames(
    r"(?P<speaker>\d+)-(?P<gender>[mf])-\d+-(?P<word>[0-6])-(?P<level>[0-2])-\d+",
    _describe,
)


def read(root: Path) -> Iterator[Utterance | Skipped]:
    """Yield the clips below a folder that holds the folders 0 to 6."""
    return read_coded(root, NAMES, corpus="baved", card=CARD)
