"""EMOVO: six actors, 14 sentences, seven emotions, Italian.

Costantini, Iaderola, Paoloni, Todisco (2014), EMOVO corpus: an Italian emotional speech database, LREC,
http://www.lrec-conf.org/proceedings/lrec2014/summaries/591.html. Licence: none stated, cite the paper.

File name `rab-f1-b1`, in the folders f1 to f3 and m1 to m3: emotion, actor (f female, m male), sentence (b short,
l long, n nonsense, d question).

    dis disgust, gio happiness (gioia), neu neutral, pau fear (paura), rab anger (rabbia), sor surprise (sorpresa),
    tri sadness (tristezza)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from ser_fewshot.corpora._coded import Fields, FileNames, read_coded
from ser_fewshot.corpora._corpus import CorpusCard, Skipped
from ser_fewshot.corpora._utterance import Utterance

CARD = CorpusCard(
    title="EMOVO",
    language="ita",
    language_name="Italian",
    licence="none stated, cite the paper",
    commercial_use=None,
    citation="Costantini, Iaderola, Paoloni, Todisco (2014), EMOVO corpus: an Italian emotional speech database",
    url="http://www.lrec-conf.org/proceedings/lrec2014/summaries/591.html",
    layout="f1/rab-f1-b1.wav",
    expected={
        "anger": 84,
        "disgust": 84,
        "fear": 84,
        "happiness": 84,
        "neutral": 84,
        "sadness": 84,
        "surprise": 84,
    },
    n_speakers=6,
    traps=("All speakers say the same 14 sentences, so a random split has every sentence on both sides.",),
)

_EMOTIONS = {
    "dis": "disgust",
    "gio": "happiness",
    "neu": "neutral",
    "pau": "fear",
    "rab": "anger",
    "sor": "surprise",
    "tri": "sadness",
}


def _describe(code: Mapping[str, str]) -> Fields:
    return Fields(
        emotion=_EMOTIONS[code["emotion"]],
        speaker=code["speaker"],
        gender="female" if code["speaker"].startswith("f") else "male",
        text=code["text"],
    )


NAMES = FileNames(r"(?P<emotion>dis|gio|neu|pau|rab|sor|tri)-(?P<speaker>[fm][123])-(?P<text>[bdln]\d)", _describe)


def read(root: Path) -> Iterator[Utterance | Skipped]:
    """Yield the clips below a folder that holds the folders f1 to f3 and m1 to m3."""
    return read_coded(root, NAMES, corpus="emovo", card=CARD)
