"""CASIA, the Chinese emotional speech corpus: four speakers of Mandarin, 50 sentences, six emotions.

Path `liuchanhg/angry/201.wav`: speaker, emotion, sentence. The part that circulates freely holds sentences 201 to 250
of the 300 that all speakers of the full corpus read in every emotion. Two speakers are women: the median F0 of their
neutral clips is 242 and 254 Hz, that of the two men 114 and 132 Hz.
"""

from __future__ import annotations

from ser_fewshot.corpora._coded import Code, FileNames
from ser_fewshot.corpora._corpus import CorpusCard

CARD = CorpusCard(
    title="CASIA",
    language="cmn",
    language_name="Mandarin Chinese",
    licence="none stated in the free part; the full corpus is licensed by the Chinese LDC",
    commercial_use=None,
    citation="Institute of Automation, Chinese Academy of Sciences (2005), CASIA Chinese emotional speech corpus",
    url="http://www.chineseldc.org/resource_info.php?rid=76",
    layout="liuchanhg/angry/201.wav",
    expected=dict.fromkeys(("anger", "fear", "happiness", "neutral", "sadness", "surprise"), 200),
    n_speakers=4,
    traps=(
        "The file name is the sentence alone, so every name is there 24 times: speaker and emotion are the folders.",
        "All speakers say the same 50 sentences in every emotion.",
        "With one man and one woman to test on, a speaker-independent result rests on two people.",
        "Copies hold two clips at the top, 201 and 202, of unknown speaker and emotion; they are skipped, and 202 is "
        "liuchanhg/fear/202.",
        "The folder ZhaoZuoxiang begins with a capital, those of the other speakers do not; liuchanhg is the spelling.",
        "The time-aligned labels (.lab) are incomplete: five are missing, many stop before the end of the sentence.",
        "The full corpus has 9,600 clips: results on the 1,200 of the free part are not comparable with those on it.",
    ),
)

_FEMALE = {"liuchanhg", "zhaoquanyin"}


def _describe(code: Code) -> dict[str, str]:
    return {
        "speaker": code["speaker"],
        "gender": "female" if code["speaker"] in _FEMALE else "male",
        "name": f"{code['speaker']}_{code['emotion']}_{code['text']}",
    }


NAMES = FileNames(
    r"(?P<speaker>liuchanhg|wangzhe|zhaoquanyin|zhaozuoxiang)/(?P<emotion>angry|fear|happy|neutral|sad|surprise)/"
    r"(?P<text>[0-2]\d\d|300)",
    describe=_describe,
)
