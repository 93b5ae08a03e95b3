"""EmoGator: vocal bursts (laughs, sighs, groans) of 357 contributors in 30 categories, three each, without words.

File name `000001-01-1`: contributor, category (01 to 30 in alphabetical order), take. The clips are MP3. What is not
among the field's nouns keeps the name of its category, and the two surprises stay apart.
"""

from __future__ import annotations

from ser_fewshot.corpora._coded import FileNames
from ser_fewshot.corpora._corpus import CorpusCard

_CATEGORIES = (
    *("adoration", "amusement", "anger", "awe", "confusion", "contempt", "contentment", "desire", "disappointment"),
    *("disgust", "distress", "ecstasy", "elation", "embarrassment", "fear", "guilt", "interest", "neutral", "pain"),
    *("pride", "realization", "relief", "romantic love", "sadness", "serenity", "shame", "negative surprise"),
    *("positive surprise", "sympathy", "triumph"),
)

CARD = CorpusCard(
    title="EmoGator",
    language="zxx",
    language_name="no language: vocal bursts",
    licence="Apache-2.0",
    commercial_use=True,
    citation="Buhl (2023), EmoGator: A new open source vocal burst dataset with baseline machine learning "
    "classification methodologies",
    url="https://arxiv.org/abs/2301.00508",
    layout="data/mp3/000001-01-1.mp3",
    expected=dict.fromkeys(_CATEGORIES, 1_071),
    n_speakers=357,
    traps=(
        "These are sounds without words: results do not compare with those on speech.",
        "Contributors recorded themselves with their own devices: levels and noise differ, 5% of the clips are stereo.",
        "There is no happiness, but amusement, contentment, ecstasy and elation; some categories are near synonyms.",
        "Surprise is two classes, positive and negative, which other corpora do not tell apart.",
        "Clips last 0.8 to 2.0 s, with silence before and after: the sound itself lasts 1.2 s on average.",
        "20 clips are byte for byte another take of the same contributor and category; some are nearly silent.",
        "Gender, age and language of the contributors are not published.",
    ),
)

NAMES = FileNames(
    r"(?P<speaker>000[0-3]\d\d)-(?P<emotion>0[1-9]|[12]\d|30)-[1-3]",
    emotions={f"{number:02}": noun for number, noun in enumerate(_CATEGORIES, start=1)},
)
