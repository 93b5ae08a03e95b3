"""Export to ONNX: one graph from a waveform to the probabilities of the enrolled classes, which runs without torch.

Front-end, encoder, adapted classifier and temperature are traced for clips of any length; the novelty is not in the
graph. Nothing is written before onnxruntime has given the same probabilities as `FewShotClassifier.predict`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ser_fewshot import __version__, audio, plugins
from ser_fewshot.assets import DEMO
from ser_fewshot.audio import MAX_SECONDS, MIN_SECONDS, SAMPLE_RATE, TRIM_DB, Clip
from ser_fewshot.classifier import FewShotClassifier
from ser_fewshot.classifier._onnx_graph import Graph, TraceableFrontEnd, Waveform, traced
from ser_fewshot.classifier.voice import Voice
from ser_fewshot.errors import EnrollmentError, SettingsError
from ser_fewshot.models import Model
from ser_fewshot.models.training_set import RECORD
from ser_fewshot.optional import not_installed
from ser_fewshot.storage.files import write_atomically

TOLERANCE = 1e-4
"""Largest difference allowed between a probability of the graph and that of PyTorch."""

WAVEFORM = f"float32 of shape (1, samples), full scale 1, at {SAMPLE_RATE} Hz: the mean of the channels"
"""Input of the graph: what `audio.load` returns for a clip."""
TRIMMED = (
    "without the silence at both ends, which is frames of 25 ms, one every 10 ms, whose level, once the mean of all "
    f"samples is subtracted, lies {TRIM_DB:g} dB or more below that of the loudest"
)
UNTRIMMED = "with the silence at both ends"
OFFSET = "float32 of shape (width,), subtracted from the embedding: what a voice adds to it; optional"
"""Second input of the graph of a model with statistics of speakers: what `voice_offset` returns."""

_MOST_BYTES = 2_000_000_000  # of one file; protobuf ends at 2 GiB
_SECONDS = (MIN_SECONDS, 1.7, 10.0)
_EMOTIONS = ("anger", "boredom", "sadness")
_LONGEST_REASON = 200  # characters


@dataclass(frozen=True)
class Exported:
    """An exported file.

    Attributes:
        labels: the classes, in the order of the probabilities.
        size: of the file, in bytes.
        deviation: largest difference of a probability from that of PyTorch, on the clips that were compared.
        longest: the longest clip that it is for, in s.
    """

    labels: tuple[str, ...]
    size: int
    deviation: float
    longest: float


def export_onnx(classifier: FewShotClassifier, path: Path | str, *, voice: Voice | None = None) -> Exported:
    """Write model and enrolled classes as one ONNX file, if it gives the same probabilities.

    Its input `waveform` is (1, samples), see `WAVEFORM`; its output `probabilities` is (1, n_way). A model with
    statistics of speakers has a second, optional input `offset`, see `OFFSET`; the offsets of enrolled speakers are
    subtracted already. Its metadata hold the labels, as a JSON list, and what else is needed to run it.

    Args:
        classifier: with at least two classes.
        path: the file.
        voice: whose offset `offset` is by default; no voice's by default.

    Raises:
        EnrollmentError: fewer than two classes are enrolled, or the voice is of another model.
        SettingsError: the extra "export" is not installed; ONNX cannot express the model, or its file would be too
            large; onnxruntime gives other probabilities than PyTorch; the file cannot be written.
    """
    _check_installed()
    model = classifier.model
    if not isinstance(model.frontend, TraceableFrontEnd):
        raise _inexpressible(model, f"what the front-end {model.config.frontend!r} does")
    longest = min(MAX_SECONDS, model.frontend.traceable_seconds)
    if longest <= MIN_SECONDS:
        raise _inexpressible(model, f"that every clip is analysed in pieces of {longest:g} s")
    sounds = _sounds(longest)
    waveforms = [sound.waveform for sound in sounds]
    voices = _voices(classifier, voice, sounds)
    expected = [[list(one.probabilities.values()) for one in classifier.predict(sounds, voice=v)] for v, _ in voices]
    content = _content(classifier, Graph(model.frontend, classifier), voice, like=waveforms[-1], longest=longest)
    found = [_run(model, content, waveforms, feed) for _, feed in voices]
    deviation = float(np.abs(np.subtract(found, expected)).max())
    if not deviation <= TOLERANCE:  # NaN too
        raise SettingsError(
            "ONNX",
            found=f"probabilities that differ by {deviation:.1g} between onnxruntime and PyTorch",
            expected=f"at most {TOLERANCE:g}",
            remedy="Nothing was written: enrol with another learner, and report this one.",
        )
    write_atomically(Path(path), content)
    return Exported(classifier.labels, len(content), deviation, longest)


def voice_offset(classifier: FewShotClassifier, voice: Voice) -> NDArray[np.float32]:
    """Return what a voice adds to every embedding, (width,) float32: the input `offset` of an exported graph.

    It is relative to what is enrolled, so it is for a graph of this enrolment alone.

    Raises:
        EnrollmentError: the voice is of another model, or nothing can be estimated of it.
    """
    classifier.predict([], voice=voice)  # refuses one of another model
    offset = classifier._state.offset(voice)
    if offset is None:
        raise EnrollmentError(
            "voice",
            found="a model without statistics of speakers, or fewer than two classes",
            expected="an enrolment that voices can be compared with",
            remedy="Export without a voice, or enrol with the model of the package.",
        )
    values: NDArray[np.float32] = offset.numpy()
    return values


def _voices(
    classifier: FewShotClassifier, voice: Voice | None, sounds: Sequence[Clip]
) -> list[tuple[Voice | None, dict[str, Waveform]]]:
    """Return the voices to compare with, each with what the graph is given for it beside a waveform."""
    if classifier.model.speakers is None or len(classifier.labels) < 2:
        return [(voice, {})]
    other = classifier.listen(sounds[: len(_EMOTIONS)])
    return [(voice, {}), (other, {"offset": voice_offset(classifier, other)})]


def _content(
    classifier: FewShotClassifier, graph: Graph, voice: Voice | None, *, like: Waveform, longest: float
) -> bytes:
    """Return the file: the graph, traced on a waveform (samples,), and its metadata.

    Raises:
        SettingsError: ONNX cannot express the model, or it is too large.
    """
    from onnx.helper import set_model_props  # noqa: PLC0415 - it may not be installed
    from onnx.numpy_helper import from_array  # noqa: PLC0415

    default = np.zeros(graph.width or 0, np.float32) if voice is None else voice_offset(classifier, voice)
    size = sum(tensor.nbytes for tensor in graph.state_dict().values())
    if size > _MOST_BYTES:
        raise SettingsError(
            "ONNX",
            found=f"a model of {size / 1e9:.1f} GB",
            expected=f"at most {_MOST_BYTES / 1e9:g} GB, the limit of one file",
            remedy="Choose a smaller encoder, or an earlier layer.",
        )
    try:
        proto = traced(graph, like=like, longest=longest)
    except torch.onnx.OnnxExporterError as error:
        raise _inexpressible(classifier.model, _reason(error)) from error
    proto.producer_name, proto.producer_version = "ser-fewshot", __version__
    if graph.width is not None:
        proto.graph.initializer.append(from_array(default, "offset"))  # of the name of an input: its default
    set_model_props(proto, _metadata(classifier, voice, longest=longest))
    content: bytes = proto.SerializeToString()
    return content


def _metadata(classifier: FewShotClassifier, voice: Voice | None, *, longest: float) -> dict[str, str]:
    config, trim = classifier.model.config, classifier.model.frontend.trim
    return {
        "labels": json.dumps(classifier.labels, ensure_ascii=False),
        "waveform": f"{WAVEFORM}, {TRIMMED if trim else UNTRIMMED}",
        "sample_rate": f"{SAMPLE_RATE}",
        "trim_db": f"{TRIM_DB:g}" if trim else "inf",
        "min_seconds": f"{MIN_SECONDS:g}",
        "max_seconds": f"{longest:g}",
        "learner": config.learner,
        "frontend": config.frontend,
        RECORD: classifier.model.training_set.as_text(),
        **({} if classifier.model.speakers is None else {"offset": OFFSET}),
        **({} if voice is None else {"voice_clips": f"{voice.n_clips}"}),
    }


def _run(
    model: Model, content: bytes, waveforms: Sequence[Waveform], feed: Mapping[str, Waveform] = {}
) -> list[Waveform]:
    """Return the probabilities (n_way,) that onnxruntime gives for each waveform (samples,) and other inputs.

    Raises:
        SettingsError: it cannot run the graph.
    """
    import onnxruntime  # type: ignore[import-untyped]  # noqa: PLC0415 - it may not be installed

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors
    try:
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        return [session.run(["probabilities"], {"waveform": waveform[None], **feed})[0][0] for waveform in waveforms]
    except Exception as error:  # its errors have no other parent
        raise _inexpressible(model, _reason(error)) from error


def _sounds(longest: float) -> list[Clip]:
    """Return speech to compare on, of several lengths up to `longest` s: demo clips of the package, cut or repeated.

    Noise would not do: it is so far from all enrolled clips that probabilities are 0 and 1.
    """
    lengths = [round(min(seconds, longest) * SAMPLE_RATE) for seconds in _SECONDS]
    spoken = [audio.load(DEMO / f"{emotion}_en-f1_1.ogg") for emotion in _EMOTIONS]
    return [Clip(np.resize(clip.waveform, length), clip.name) for length in lengths for clip in spoken]


def _check_installed() -> None:
    try:
        import onnx  # noqa: F401, PLC0415 - it may not be installed
        import onnxruntime  # noqa: F401, PLC0415
        import onnxscript  # noqa: F401, PLC0415
    except ImportError as error:
        raise not_installed(error, extra="export", subject="ONNX") from error


def _inexpressible(model: Model, reason: str) -> SettingsError:
    return SettingsError(
        f"ONNX, learner {model.config.learner!r}, front-end {model.config.frontend!r}",
        found=f"what a graph cannot express: {reason}",
        expected=f"the learner {' | '.join(plugins.names('learners'))}, on log-mel or on an encoder such as wav2vec2 "
        "or Whisper",
        remedy="Enrol again with a model of these.",
    )


def _reason(error: BaseException) -> str:
    """Return the first line of the error at the root of a chain."""
    while error.__cause__ is not None:
        error = error.__cause__
    return f"{next(iter(str(error).splitlines()), '') or type(error).__name__:.{_LONGEST_REASON}}"
