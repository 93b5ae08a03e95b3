"""One ONNX graph says what the classifier says, at any length, without torch; or it is not written."""

from __future__ import annotations

import importlib.util
import json
import logging
import math
import subprocess
import sys
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from conftest import tone
from synthetic import CALIBRATION, small_model, with_voices
from tolerance import assert_near

from ser_fewshot import audio
from ser_fewshot.audio import Clip
from ser_fewshot.classifier import FewShotClassifier
from ser_fewshot.classifier import onnx as export
from ser_fewshot.classifier.onnx import TOLERANCE, export_onnx, voice_offset
from ser_fewshot.cli import main as cli
from ser_fewshot.errors import EnrollmentError, SettingsError
from ser_fewshot.frontends import analyse, stack
from ser_fewshot.frontends.logmel import LogMel, Settings
from ser_fewshot.learners import names
from ser_fewshot.learners.ridge import Ridge
from ser_fewshot.models import Model, ModelConfig, build_model

ROOT = Path(__file__).resolve().parents[2]
DEMO = ROOT / "ser_fewshot" / "assets" / "demo"
RECIPE = ROOT / "recipes" / "onnx_predict.py"
PITCHES = {"гнев": 120, 'a "b", c': 300, "neutral": 800}

TINY: dict[str, Any] = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "conv_dim": [8] * 7,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 2,
}
ENCODERS: dict[str, dict[str, Any]] = {
    "wav2vec2 with group norm": {"model_type": "wav2vec2", **TINY},
    "wav2vec2 with layer norm": {
        "model_type": "wav2vec2",
        **TINY,
        "feat_extract_norm": "layer",
        "do_stable_layer_norm": True,
    },
    "hubert": {"model_type": "hubert", **TINY},
    "wavlm": {"model_type": "wavlm", **TINY},
    "data2vec": {"model_type": "data2vec-audio", **TINY},
    "unispeech-sat": {"model_type": "unispeech-sat", **TINY},
    "sew": {"model_type": "sew", **TINY, "conv_dim": [8] * 13},
    "whisper": {
        "model_type": "whisper",
        "d_model": 16,
        "encoder_layers": 2,
        "encoder_attention_heads": 2,
        "encoder_ffn_dim": 32,
    },
}
slow = pytest.mark.slow
HEADED = {"channels": 8, "blocks": 2, "width": 8}
"""Sizes that "transformer" can have."""


def enrolled(model: Model) -> FewShotClassifier:
    """Three classes of two tones each."""
    classifier = FewShotClassifier(model)
    classifier.enroll(
        {
            label: [(16_000, tone(0.7, hertz=hertz)), (16_000, tone(0.8, hertz=1.3 * hertz))]
            for label, hertz in PITCHES.items()
        }
    )
    return classifier


def speech(seconds: float) -> Clip:
    """A demo clip that the export did not compare on, repeated to a length."""
    clip = audio.load(DEMO / "fear_en-m7_2.ogg")
    return Clip(np.resize(clip.waveform, round(seconds * 16_000)), clip.name)


def probabilities_of(path: Path, clip: Clip) -> dict[str, float]:
    """What onnxruntime says of a clip, by label."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    labels = json.loads(session.get_modelmeta().custom_metadata_map["labels"])
    (probabilities,) = session.run(None, {"waveform": clip.waveform[None]})
    assert probabilities.shape == (1, len(labels))
    return dict(zip(labels, probabilities[0].tolist(), strict=True))


def assert_same(path: Path, classifier: FewShotClassifier, *, longest: float = 10.0) -> None:
    for seconds in (0.1, 0.31415, 1.7, longest):
        clip = speech(seconds)
        expected = classifier.predict(clip).probabilities
        assert probabilities_of(path, clip) == pytest.approx(expected, abs=TOLERANCE), seconds


@pytest.fixture(scope="module")
def classifier() -> FewShotClassifier:
    return enrolled(small_model("maml", encoder="dense", normalization="clip", calibration=CALIBRATION))


@pytest.fixture(scope="module")
def exported(classifier, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("exported") / "folder" / "model.onnx"
    export_onnx(classifier, path)
    return path


@pytest.fixture(scope="module")
def recipe() -> ModuleType:
    spec = importlib.util.spec_from_file_location("onnx_predict", RECIPE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# What the graph says


def test_a_graph_says_what_the_classifier_says_at_any_length(exported, classifier):
    assert_same(exported, classifier, longest=60.0)
    assert len(set(probabilities_of(exported, speech(1.7)).values())) == 3


def test_a_graph_divides_by_the_temperature_of_the_calibration(exported):
    plain = enrolled(small_model("maml", encoder="dense", normalization="clip")).predict(speech(1.7)).probabilities
    assert probabilities_of(exported, speech(1.7)) != pytest.approx(plain, abs=10 * TOLERANCE)


def test_a_graph_takes_the_offset_of_a_voice_or_has_one_by_default(tmp_path):
    import onnxruntime

    classifier = enrolled(with_voices(small_model("nearest", encoder="mean")))
    voice, other = (classifier.listen([speech(1.0 + seconds), speech(2.0)]) for seconds in (0.0, 0.5))
    clip, path = speech(1.7), tmp_path / "model.onnx"
    assert classifier.predict(clip, voice=voice).probabilities != classifier.predict(clip).probabilities
    for default in (None, voice):
        export_onnx(classifier, path, voice=default)
        assert probabilities_of(path, clip) == pytest.approx(
            classifier.predict(clip, voice=default).probabilities, abs=TOLERANCE
        )
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        told = session.get_modelmeta().custom_metadata_map
        assert ("optional" in told["offset"], told.get("voice_clips")) == (True, default and "2")
        (found,) = session.run(None, {"waveform": clip.waveform[None], "offset": voice_offset(classifier, other)})
        assert found[0] == pytest.approx(
            list(classifier.predict(clip, voice=other).probabilities.values()), abs=TOLERANCE
        )
    for encoder, complaint in (("mean", "without statistics of speakers"), ("dense", "another model")):
        with pytest.raises(EnrollmentError, match=complaint):
            export_onnx(enrolled(small_model("nearest", encoder=encoder)), tmp_path / "none.onnx", voice=voice)
    assert not (tmp_path / "none.onnx").exists()


def test_an_encoder_that_was_taught_is_exported_with_functionals_and_directions_beside_it(tmp_path):
    beside = {"functionals": 0.5, "discriminant": 2, "view": "speaker"}
    model = small_model("ridge", encoder="transformer", beside={**HEADED, **beside})
    inner = model.learner.encoder.inner
    inner.mean.fill_(0.25)
    inner.scale.fill_(0.5)
    generator = torch.Generator().manual_seed(0)
    for directions in (model.learner.encoder.emotion, model.learner.encoder.speaker):
        directions.copy_(torch.randn(directions.shape, generator=generator))
    classifier = enrolled(model)
    export_onnx(classifier, tmp_path / "model.onnx")
    assert_same(tmp_path / "model.onnx", classifier, longest=30.0)
    for frames in (40, 41, 42, 43):  # its blocks see every second one
        clip = speech(frames / 100)
        found = probabilities_of(tmp_path / "model.onnx", clip)
        assert found == pytest.approx(classifier.predict(clip).probabilities, abs=TOLERANCE), frames


def test_the_file_says_how_to_use_it(exported, classifier):
    import onnx

    proto = onnx.load(exported)
    onnx.checker.check_model(proto, full_check=True)
    told = {entry.key: entry.value for entry in proto.metadata_props}
    assert json.loads(told["labels"]) == list(classifier.labels) == list(PITCHES)
    assert (told["sample_rate"], told["trim_db"]) == ("16000", "40")
    assert (told["min_seconds"], told["max_seconds"]) == ("0.1", "60")
    assert (told["learner"], told["frontend"]) == ("maml", "logmel")
    assert "mean of the channels" in told["waveform"]
    shapes = {
        value.name: [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in (*proto.graph.input, *proto.graph.output)
    }
    assert shapes == {"waveform": [1, "samples"], "probabilities": [1, 3]}


def test_the_file_says_nothing_of_the_machine_that_wrote_it(exported):
    content = exported.read_bytes()
    assert not any(word in content for word in (str(ROOT).encode(), b"site-packages", b"stack_trace", b".py"))


def test_log_mel_is_traced_with_the_same_values():
    frontend = LogMel()
    waveform = torch.from_numpy(speech(2.0).waveform)
    difference = frontend.traceable()(waveform[None])[0] - frontend.analyse([waveform])[0]
    assert difference.abs().mean() < 1e-5
    assert difference.abs().max() < 5e-3  # where a band is as silent as rounding is


def test_log_mel_is_traced_with_any_window_and_length(subtests):
    for settings in (Settings(window=401, n_fft=512), Settings(window=399, n_fft=401, hop=7, n_mels=20)):
        frontend = LogMel(settings)
        for samples in (4_800, 4_801, 4_959, 4_960):
            with subtests.test(f"window {settings.window}, {samples} samples"):
                waveform = torch.randn(samples, generator=torch.Generator().manual_seed(0))
                traced = frontend.traceable()(waveform[None])[0]
                assert_near(traced, frontend.analyse([waveform])[0], relative=0.001)


def test_the_log_mel_of_whisper_is_traced_with_the_same_values(monkeypatch):
    family = pretrained_model(ENCODERS["whisper"], layer=1, pooling="mean").frontend.family
    waveform = torch.from_numpy(speech(2.0).waveform)
    expected = family.signal(waveform)
    monkeypatch.setattr(torch.compiler, "is_exporting", lambda: True)
    monkeypatch.setattr(torch, "stft", None)
    assert_near(family.signal(waveform), expected)


@pytest.mark.parametrize(
    ("learner", "encoder"),
    [
        ("siamese", "mean"),  # a distance that the exporter does not know
        *(
            pytest.param(name, encoder, marks=slow)
            for name in names()
            for encoder in ("mean", "dense", "conv", "transformer")
        ),
    ],
)
def test_every_learner_is_exported_without_a_word(learner, encoder, tmp_path, capfd):
    beside = HEADED if encoder == "transformer" else {}
    classifier = enrolled(small_model(learner, encoder=encoder, beside=beside))
    level = logging.getLogger("torch").level
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        export_onnx(classifier, tmp_path / "model.onnx")
    assert capfd.readouterr() == ("", "")
    assert logging.getLogger("torch").level == level
    assert_same(tmp_path / "model.onnx", classifier)


@pytest.mark.parametrize(
    ("encoder", "layer", "pooling"),
    [
        ("wav2vec2 with group norm", "weighted", "mean_std"),
        *(
            pytest.param(name, layer, pooling, marks=slow)
            for name in ENCODERS
            for layer, pooling in (("weighted", "mean"), (1, "frames"), (2, "mean_std"))
        ),
    ],
)
def test_a_pretrained_encoder_is_exported_with_what_was_enrolled(encoder, layer, pooling, tmp_path):
    classifier = enrolled(pretrained_model(ENCODERS[encoder], layer=layer, pooling=pooling, chunk=12.0))
    done = export_onnx(classifier, tmp_path / "model.onnx")
    assert done.longest == pytest.approx(12.0, abs=0.1)  # longer clips are cut in pieces, which a graph is not
    assert_same(tmp_path / "model.onnx", classifier)


def pretrained_model(architecture: dict[str, Any], **settings: Any) -> Model:
    """A random encoder of an architecture, scaled to some sounds."""
    encoder = {"name": "mean" if settings["pooling"] == "frames" else "statistics"}
    config = ModelConfig(
        learner="ridge",
        settings={"encoder": encoder},
        frontend="pretrained",
        frontend_settings={"architecture": architecture, **settings},
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = build_model(config, seed=3)
    waves = [torch.from_numpy(audio.load(path).waveform) for path in sorted(DEMO.glob("*.ogg"))[::10]]
    model.learner.fit_scale(stack(analyse(model.frontend, waves)))
    return model


# What is refused


@pytest.fixture
def small() -> FewShotClassifier:
    """A classifier that is exported in little time."""
    return enrolled(small_model("ridge", encoder="mean"))


def assert_refused(classifier: FewShotClassifier, path: Path, *, match: str) -> None:
    path.write_text("what was there")
    with pytest.raises(SettingsError, match=match) as caught:
        export_onnx(classifier, path)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 700
    assert path.read_text() == "what was there"


def test_a_missing_package_is_named_with_its_remedy(small, tmp_path, monkeypatch):
    for package in ("onnx", "onnxscript", "onnxruntime"):
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, package, None)
            assert_refused(small, tmp_path / "m.onnx", match=rf"found no package {package};.* 'ser-fewshot\[export\]'")


def test_a_graph_that_gives_other_probabilities_or_none_is_not_written(small, tmp_path, monkeypatch):
    def off_by_2e_4(_model: Model, _content: bytes, waveforms: list[Any], _feed: Any) -> list[Any]:
        predictions = small.predict([Clip(waveform, "clip") for waveform in waveforms])
        return [np.add(list(prediction.probabilities.values()), [0, 0, 2e-4]) for prediction in predictions]

    monkeypatch.setattr(export, "_content", lambda *_, **__: b"no graph")
    assert_refused(small, tmp_path / "m.onnx", match="cannot express")
    monkeypatch.setattr(export, "_run", off_by_2e_4)
    assert_refused(small, tmp_path / "m.onnx", match=r"differ by 0\.0002")
    monkeypatch.setattr(
        export, "_run", lambda _model, _content, waveforms, _feed: [np.full(3, np.nan) for _ in waveforms]
    )
    assert_refused(small, tmp_path / "m.onnx", match="differ by nan")


def test_a_learner_that_cannot_be_traced_is_refused_with_those_that_can(small, tmp_path, monkeypatch):
    def fit_head(self: Ridge, z: torch.Tensor, y: torch.Tensor, n_way: int) -> Any:
        return lambda query: query[:, :n_way] if query.sum() > 0 else -query[:, :n_way]

    monkeypatch.setattr(Ridge, "fit_head", fit_head)
    assert_refused(
        enrolled(small.model),
        tmp_path / "m.onnx",
        match=r"learner 'ridge'.* found .*data-dependent.*; expected .*protonet",
    )


def test_a_front_end_that_cannot_be_traced_is_refused(small, tmp_path, monkeypatch):
    monkeypatch.delattr(LogMel, "traceable")
    assert_refused(small, tmp_path / "m.onnx", match="the front-end 'logmel' does; expected .* log-mel")


def test_a_front_end_that_cuts_every_clip_in_pieces_is_refused(tmp_path):
    model = pretrained_model(ENCODERS["hubert"], layer=1, pooling="mean", chunk=0.1, overlap=0.05)
    assert_refused(enrolled(model), tmp_path / "m.onnx", match=r"in pieces of 0\.1 s")


def test_a_model_that_is_too_large_for_a_file_is_refused(small, tmp_path, monkeypatch):
    monkeypatch.setattr(export, "_MOST_BYTES", 1_000)
    assert_refused(small, tmp_path / "m.onnx", match=r"a model of 0\.0 GB")


def test_less_than_two_classes_are_refused(tmp_path):
    with pytest.raises(EnrollmentError, match="at least two"):
        export_onnx(FewShotClassifier(small_model()), tmp_path / "m.onnx")
    assert list(tmp_path.iterdir()) == []


# The command, and the script that needs no torch


def test_the_command_writes_a_graph_of_an_enrolment_file(small, tmp_path, capsys):
    small.save(tmp_path / "mine.ser")
    out = tmp_path / "mine.onnx"
    assert cli.main(["export", str(tmp_path / "mine.ser"), "--format", "onnx", "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert 'exported 3 emotions: гнев, a "b", c, neutral; clips of up to 60 s' in said
    assert str(out) in said
    assert_same(out, small)


def test_a_mistake_gives_one_line_and_exit_code_2(tmp_path, monkeypatch, run):
    monkeypatch.chdir(tmp_path)
    for line, complaint in (
        (["gone.ser", "--out", "m.onnx"], "no such file"),
        (["gone.ser"], "required: --out"),
        (["gone.ser", "--format", "tflite", "--out", "m"], "invalid choice: 'tflite'"),
    ):
        code, _, error = run("export", *line)
        assert (code, error.count("\n")) == (2, 1)
        assert complaint in error.lower()
    assert list(tmp_path.iterdir()) == []


def stereo(path: Path) -> Path:
    """Speech between silences, louder on the left, at 44.1 kHz, with an offset."""
    wave = np.pad(np.repeat(speech(1.5).waveform, 3)[:60_000], 20_000)
    soundfile.write(path, np.stack([wave, 0.5 * wave], axis=1) + 0.01, 44_100)
    return path


def test_the_script_reads_clips_as_the_package_does(recipe, tmp_path):
    for clip in (stereo(tmp_path / "stereo.wav"), *sorted(DEMO.glob("*.ogg"))[::20]):
        for trim in (True, False):
            found = recipe.load(clip, rate=16_000, trim_db=40.0 if trim else math.inf)
            assert_near(found, audio.load(clip, trim=trim).waveform, message=clip.name)


def test_the_script_needs_neither_torch_nor_this_package(exported, classifier, tmp_path):
    clip = stereo(tmp_path / "stereo.wav")
    blocked = "".join(f"sys.modules[{name!r}] = None; " for name in ("torch", "ser_fewshot", "librosa", "onnx"))
    code = f"import sys, runpy; {blocked}sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"
    done = subprocess.run(
        [sys.executable, "-c", code, RECIPE, exported, clip], capture_output=True, text=True, check=True, timeout=60
    )
    name, label, *rest = done.stdout.rstrip("\n").split("\t")
    prediction = classifier.predict(clip)
    assert (name, label) == (str(clip), prediction.label)
    assert rest == [f"{label}={value:.3f}" for label, value in prediction.probabilities.items()]


def test_the_script_says_what_is_wrong_with_a_clip(recipe, exported, tmp_path):
    soundfile.write(tmp_path / "short.wav", tone(0.05), 16_000)
    with pytest.raises(SystemExit, match=r"found 0\.05 s of sound; expected 0\.1 to 60 s"):
        recipe.Model(exported).predict(tmp_path / "short.wav")
    with pytest.raises(SystemExit, match=r"none\.wav: found no audio that can be read"):
        recipe.Model(exported).predict(tmp_path / "none.wav")
    soundfile.write(tmp_path / "silent.wav", np.zeros(16_000), 16_000)
    with pytest.raises(SystemExit, match="silence"):
        recipe.Model(exported).predict(tmp_path / "silent.wav")
