"""RAVDESS, the spoken part: 24 actors, two sentences, eight emotions in two intensities, North American English.

File name `03-01-06-01-02-01-12`, seven fields of two digits:

    modality     01 sound and film, 02 film only, 03 sound only
    channel      01 speech, 02 song
    emotion      01 to 08
    intensity    01 normal, 02 strong (never for neutral)
    sentence     01 "Kids are talking by the door", 02 "Dogs are sitting by the door"
    repetition   01, 02
    actor        01 to 24; odd numbers are male, even ones female

Songs and silent films are skipped. The modality is no part of a clip's id, so the sound of a film and the sound file
of the same take are one clip.
"""

from __future__ import annotations

from ser_fewshot.corpora._coded import Code, FileNames
from ser_fewshot.corpora._corpus import CorpusCard

CARD = CorpusCard(
    title="RAVDESS (speech)",
    language="eng",
    language_name="English",
    licence="CC-BY-NC-SA-4.0",
    commercial_use=False,
    citation="Livingstone, Russo (2018), The Ryerson Audio-Visual Database of Emotional Speech and Song",
    url="https://doi.org/10.1371/journal.pone.0196391",
    layout="Actor_12/03-01-06-01-02-01-12.wav",
    expected={
        "anger": 192,
        "calm": 192,
        "disgust": 192,
        "fear": 192,
        "happiness": 192,
        "neutral": 96,
        "sadness": 192,
        "surprise": 192,
    },
    n_speakers=24,
    traps=(
        "There are only two sentences, so the same words stand in support and query.",
        "Neutral has half the clips of the others: it has no strong intensity.",
        "Some copies hold every clip twice, in Actor_NN and in audio_speech_actors_01-24/Actor_NN.",
        "The song archive has the same file names but for the second field, and no disgust and no surprise.",
    ),
)

_EMOTIONS = ("neutral", "calm", "happiness", "sadness", "anger", "fear", "disgust", "surprise")


def _describe(code: Code) -> dict[str, str] | str:
    if code["channel"] == "02":
        return "song: only speech is read"
    if code["modality"] == "02":
        return "film only: it has no sound"
    return {"gender": "male" if int(code["speaker"]) % 2 else "female", "name": f"03-{code['take']}"}


NAMES = FileNames(
    r"(?P<modality>0[123])-(?P<take>(?P<channel>0[12])-(?P<emotion>0[1-8])-0[12]-(?P<text>0[12])-0[12]"
    r"-(?P<speaker>0[1-9]|1\d|2[0-4]))",
    emotions={f"{number:02}": emotion for number, emotion in enumerate(_EMOTIONS, start=1)},
    describe=_describe,
)
