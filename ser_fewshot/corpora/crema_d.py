"""CREMA-D: 91 actors, twelve sentences, six emotions, American English.

File name `1001_DFA_ANG_XX`: actor, sentence, emotion, level (LO low, MD medium, HI high; XX unspecified, as in all
sentences but IEO). The emotion is the one that the actor meant, not the one that listeners chose. Genders are from
VideoDemographics.csv.
"""

from __future__ import annotations

from ser_fewshot.corpora._coded import FileNames
from ser_fewshot.corpora._corpus import CorpusCard

CARD = CorpusCard(
    title="CREMA-D",
    language="eng",
    language_name="English",
    licence="ODbL-1.0",
    commercial_use=True,
    citation="Cao, Cooper, Keutmann, Gur, Nenkova, Verma (2014), CREMA-D: Crowd-sourced emotional multimodal actors "
    "dataset",
    url="https://doi.org/10.1109/TAFFC.2014.2336244",
    layout="AudioWAV/1001_DFA_ANG_XX.wav",
    expected={"anger": 1271, "disgust": 1271, "fear": 1271, "happiness": 1271, "neutral": 1087, "sadness": 1271},
    n_speakers=91,
    traps=(
        "Listeners who only hear the voice agree with the actor's label in 40 % of their votes.",
        "One file has a short level: 1040_ITH_SAD_X.",
        "1076_MTI_SAD_XX is silent: its header is sound, its samples are not.",
        "The archive holds every clip as AudioWAV and as AudioMP3; the WAV file is taken.",
        "Clones without Git LFS hold text files of a few bytes instead of sound.",
    ),
)

# fmt: off
_FEMALE = {
    1002, 1003, 1004, 1006, 1007, 1008, 1009, 1010, 1012, 1013, 1018, 1020, 1021, 1024, 1025, 1028, 1029, 1030, 1037,
    1043, 1046, 1047, 1049, 1052, 1053, 1054, 1055, 1056, 1058, 1060, 1061, 1063, 1072, 1073, 1074, 1075, 1076, 1078,
    1079, 1082, 1084, 1089, 1091,
}
# fmt: on

NAMES = FileNames(
    r"(?P<speaker>10\d\d)_(?P<text>[A-Z]{3})_(?P<emotion>ANG|DIS|FEA|HAP|NEU|SAD)_(?:LO|MD|HI|XX?)",
    describe=lambda code: {
        "gender": "female" if int(code["speaker"]) in _FEMALE else "male",
        "text": code["text"].upper(),
    },
)
