"""EmoSpeech, the Indian EmoSpeech command dataset: six keywords, four emotions, recorded in everyday places by an app.

Path `House/bacho-safe-angry-1562907046662-d14a028c....wav`: place, keyword, surroundings (safe, scream, glass break,
gunshots), emotion, time and user. The user d14a028c... stands for all people that are not known: such clips have no
speaker. The keyword "bacho" (save me) is Hindi, the others are English; "unknown" is any other word, in an unknown
language, and "background" is noise alone, which is skipped.
"""

from __future__ import annotations

from ser_fewshot.corpora._coded import Code, Fields, FileNames
from ser_fewshot.corpora._corpus import CorpusCard

CARD = CorpusCard(
    title="EmoSpeech",
    language="mul",
    language_name="Indian English and Hindi",
    licence="CC-BY-NC-SA-4.0",
    commercial_use=False,
    citation="Banga, Upadhyay, Agarwal, Sharma, Mukherjee (2019), Indian EmoSpeech command dataset: A dataset for "
    "emotion based speech recognition in the wild",
    url="https://arxiv.org/abs/1910.13801",
    layout="House/bacho-safe-angry-1562907046662-d14a028c2a3a2bc9476102bb288234c415a2b01f828ea62ac5b3e42f.wav",
    expected={"anger": 1_134, "calm": 2_945, "fear": 1_576, "happiness": 969},
    n_speakers=106,
    traps=(
        "The speaker is known for 2,023 of 6,625 clips, all in the folder webservice; others are one hash for many.",
        "50 of 106 speakers have all four emotions, 64 have ten clips or more, and one has 299.",
        "Keywords tell emotions: 47% of bacho and 42% of help are fear, 18% to 20% of go, no, stop and yes.",
        "Other words than the keywords are calm in 88% of their clips.",
        "Surroundings tell emotions: 66% of the clips with a scream are fear; Metro and Railway are calm throughout.",
        "1,116 clips of background noise have a label too, 880 of them calm; they are skipped: no command is in them.",
        "88 recordings are there more than once, most as safe and as scream, three under two emotions.",
        "There is calm, but no neutral. One clip has no emotion.",
        "One clip (bacho, 1563176322441) is silent and another (no, 20190730235906) nearly so; 373 of 7,741 are "
        "clipped.",
        "Clips last 2.0 to 3.8 s, most of them 3.0 s, for one word.",
    ),
)

_UNKNOWN_USER = "d14a028c2a3a2bc9476102bb288234c415a2b01f828ea62ac5b3e42f"
_EMOTIONS = {"angry": "anger", "calm": "calm", "fearful": "fear", "happy": "happiness", "none": None}


def _describe(code: Code) -> Fields | str:
    if code["keyword"] == "background":
        return "no speech: background noise without a keyword"
    known = code["keyword"] != "unknown"
    return {
        "emotion": _EMOTIONS[code["emotion"]],
        "speaker": None if code["speaker"] == _UNKNOWN_USER else code["speaker"],
        "language": ("hin" if code["keyword"] == "bacho" else "eng") if known else None,
        "text": code["keyword"] if known else None,
    }


NAMES = FileNames(
    r"(?P<keyword>background|bacho|go|help|no|stop|unknown|yes)-(?:safe|scream|glass break|gunshots)-"
    r"(?P<emotion>angry|calm|fearful|happy|none)-[^-/]+-(?P<speaker>[0-9a-f]{56})",
    describe=_describe,
)
