"""Utterances as a data set of the Hugging Face library "datasets", which stores clips inside its tables."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import soundfile as sf

from ser_fewshot.audio import SAMPLE_RATE, load
from ser_fewshot.corpora._utterance import Utterance
from ser_fewshot.corpora.hf_dataset import OURS, package
from ser_fewshot.errors import CorpusError

if TYPE_CHECKING:
    import datasets


def to_dataset(utterances: Sequence[Utterance]) -> datasets.Dataset:
    """Return a data set with the columns id, audio, emotion, speaker, corpus, language, gender, text, split.

    A clip that is a whole file is that file, byte for byte. One that is part of a file is cut out of it as
    `audio.load` reads it: float32 mono at 16 kHz, untrimmed. Emotions are a `ClassLabel`, the rest is text.

    Raises:
        CorpusError: datasets is not installed, or there are no utterances.
        AudioError: a clip that has to be cut out cannot be read.
    """
    library = package()
    if not utterances:
        raise CorpusError("data set", found="no clips", expected="at least one", remedy="Pass utterances.")
    text = library.Value("string")
    emotions = sorted({clip.emotion for clip in utterances if clip.emotion is not None})
    # Not encoded as Audio, for which datasets asks for torchcodec: a struct of the same layout becomes one by a cast.
    kinds: dict[str, Any] = dict.fromkeys(OURS, text)
    kinds |= {"emotion": library.ClassLabel(names=emotions), "audio": {"bytes": library.Value("binary"), "path": text}}
    columns = {name: [getattr(clip, name, None) for clip in utterances] for name in OURS}
    columns["audio"] = [_sound(clip) for clip in utterances]
    made: datasets.Dataset = library.Dataset.from_dict(columns, features=library.Features(kinds))
    return made.cast_column("audio", library.Audio())


def _sound(clip: Utterance) -> dict[str, Any]:
    if clip.start is None and clip.end is None:
        return {"bytes": None, "path": str(clip.path.absolute())}
    cut, buffer = load(clip.path, start=clip.start, end=clip.end, trim=False), io.BytesIO()
    sf.write(buffer, cut.waveform, SAMPLE_RATE, format="WAV", subtype="FLOAT")
    return {"bytes": buffer.getvalue(), "path": f"{clip.path.stem}.wav"}
