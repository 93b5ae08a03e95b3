"""nEMO: nine actors, 90 sentences, six emotions, Polish.

File name `samples/EB0_anger_1.wav`: speaker, emotion, sentence. Beside the folder lies `data.tsv` with the columns
file_id, emotion, raw_text, normalized_text, speaker_id, gender, age; genders are taken from it, and where it is missing
from the table of speakers below.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from ser_fewshot.corpora._coded import FileNames, read_coded
from ser_fewshot.corpora._corpus import CorpusCard, Skipped
from ser_fewshot.corpora._utterance import Gender, Utterance, canonical_gender

CARD = CorpusCard(
    title="nEMO",
    language="pol",
    language_name="Polish",
    licence="CC-BY-NC-SA-4.0",
    commercial_use=False,
    citation="Christop (2024), nEMO: Dataset of emotional speech in Polish",
    url="https://arxiv.org/abs/2404.06292",
    layout="samples/EB0_anger_1.wav",
    expected={"anger": 749, "fear": 736, "happiness": 749, "neutral": 809, "sadness": 769, "surprise": 669},
    n_speakers=9,
    traps=(
        "In data.tsv the speakers are preceded by spaces, and quotation marks are part of the text.",
        "Not every actor has every sentence in every emotion.",
        "EmoBox has another Polish corpus, of 450 clips and three emotions.",
    ),
)

_GENDERS: dict[str, Gender] = {
    **dict.fromkeys(("EB0", "IC0", "KD0", "MK0"), "female"),
    **dict.fromkeys(("KS0", "MP0", "SM0", "TP0", "WR0"), "male"),
}

NAMES = FileNames(
    r"(?P<speaker>[A-Z]{2}\d)_(?P<emotion>anger|fear|happiness|neutral|sadness|surprised?)_(?P<text>\d+)",
    describe=lambda code: {"gender": _GENDERS.get(code["speaker"].upper())},
)


def read(root: Path) -> Iterator[Utterance | Skipped]:
    """Yield the clips below a folder: a clone of the repository or its folder samples."""
    genders = _genders(root)
    for clip in read_coded(root, NAMES, corpus="nemo", card=CARD):
        if isinstance(clip, Utterance) and clip.speaker in genders:
            yield replace(clip, gender=genders[clip.speaker])
        else:
            yield clip


def _genders(root: Path) -> dict[str, Gender]:
    """Return the gender of each speaker that data.tsv, in the root or beside it, names."""
    table = next((path for path in (root / "data.tsv", root.parent / "data.tsv") if path.is_file()), None)
    text = "" if table is None else table.read_text(encoding="utf-8-sig", errors="replace")
    # Lines end with \n alone, and quotation marks are part of the text: no table of the csv module.
    header, *rows = ([cell.strip() for cell in line.split("\t")] for line in text.split("\n"))
    named = (dict(zip(header, row, strict=False)) for row in rows)
    pairs = ((row.get("speaker_id", ""), canonical_gender(row.get("gender"))) for row in named)
    return {speaker: gender for speaker, gender in pairs if gender is not None}
