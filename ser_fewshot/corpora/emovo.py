"""EMOVO: six actors, 14 sentences, seven emotions, Italian.

File name `rab-f1-b1`, in the folders f1 to f3 and m1 to m3: emotion, actor (f female, m male), sentence (b short,
l long, n nonsense, d question).
"""

from __future__ import annotations

from ser_fewshot.corpora._coded import FileNames
from ser_fewshot.corpora._corpus import CorpusCard

CARD = CorpusCard(
    title="EMOVO",
    language="ita",
    language_name="Italian",
    licence="none stated, cite the paper",
    commercial_use=None,
    citation="Costantini, Iaderola, Paoloni, Todisco (2014), EMOVO corpus: an Italian emotional speech database",
    url="http://www.lrec-conf.org/proceedings/lrec2014/summaries/591.html",
    layout="f1/rab-f1-b1.wav",
    expected=dict.fromkeys(("anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise"), 84),
    n_speakers=6,
    traps=("All speakers say the same 14 sentences, so a random split has every sentence on both sides.",),
)

NAMES = FileNames(
    r"(?P<emotion>dis|gio|neu|pau|rab|sor|tri)-(?P<speaker>[fm][123])-(?P<text>[bdln]\d)",
    emotions={"gio": "happiness", "pau": "fear", "rab": "anger", "sor": "surprise", "tri": "sadness"},
    describe=lambda code: {
        "gender": "female" if code["speaker"].startswith("f") else "male",
        "speaker": code["speaker"],
    },
)
