"""`ser-fewshot doctor`: what works and what does not, with a remedy, whatever is broken, and without a traceback."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from ser_fewshot.cli import doctor
from ser_fewshot.cli.doctor import PURPOSES, findings
from ser_fewshot.errors import AudioError
from ser_fewshot.optional import install_pair


@pytest.fixture
def quick(monkeypatch):
    """Leave out what takes longest; the tests that are about it put it back."""
    monkeypatch.setattr(doctor, "_model", lambda: iter(()))
    monkeypatch.setattr(doctor, "_import_fault", lambda name: "")


def found(cache: Path) -> dict[str, doctor.Finding]:
    return {finding.name: finding for finding in findings(cache)}


def test_what_is_installed_here_is_found_to_work(run, tmp_path, monkeypatch):
    monkeypatch.setattr(doctor, "_import_fault", lambda name: "")  # half a minute; the fresh program below has it
    code, printed, noted = run("doctor", "--cache", tmp_path)
    assert (code, noted) == (0, "")
    lines = printed.splitlines()
    assert all(re.match(r"(ok|missing) +\w|         -> |ser-fewshot ", line) for line in lines)
    for part in ("Python", "packages", "torch", "processor", "GPU", "audio formats", "default model", "cache"):
        assert any(line.startswith(f"ok       {part}: ") for line in lines), part
    assert f"torch {importlib.metadata.version('torch')}" in printed
    assert "WAV, FLAC, Vorbis, Opus, MP3, by libsndfile " in printed
    assert lines[-1].endswith(": it can be used")
    assert list(tmp_path.iterdir()) == []


def test_as_json_it_says_the_same_for_a_program(run, quick, tmp_path):
    code, printed, _ = run("doctor", "--json", "--cache", tmp_path)
    told = json.loads(printed)
    assert (code, told["usable"]) == (0, True)
    assert {row["name"]: row["state"] for row in told["findings"]}["torch"] == "ok"
    assert all(row["remedy"] for row in told["findings"] if row["state"] != "ok")
    extras = importlib.metadata.metadata("ser-fewshot").get_all("Provides-Extra")
    assert set(extras) == set(PURPOSES)
    found = {row["name"]: row["found"] for row in told["findings"]}
    assert all(PURPOSES[extra] in found[f"extra {extra}"] for extra in extras)


def test_an_extra_that_is_missing_breaks_nothing(quick, tmp_path, monkeypatch, run):
    version = importlib.metadata.version

    def without(name: str) -> str:
        if name == "audformat":
            raise importlib.metadata.PackageNotFoundError(name)
        return "0.0.1" if name == "peft" else version(name)

    monkeypatch.setattr(importlib.metadata, "version", without)
    told = found(tmp_path)
    assert told["extra audformat"].state == "missing"
    assert "pip install 'ser-fewshot[audformat]'" in told["extra audformat"].remedy
    assert "version 0.0.1 does not fit" in told["extra finetune"].found
    assert run("doctor", "--cache", tmp_path)[0] == 0


def test_an_extra_that_is_installed_but_does_not_import_is_missing(monkeypatch):
    for error in (OSError("libonnx.so: cannot open"), SystemExit("no licence"), ImportError("?")):
        tried = []

        def failing(module: str, error: BaseException = error, tried: list[str] = tried):
            tried.append(module)
            if module == "onnx":
                raise error

        monkeypatch.setattr(doctor, "importlib", SimpleNamespace(import_module=failing, metadata=importlib.metadata))
        told = {finding.name: finding for finding in doctor._extras()}
        assert told["extra export"].state == "missing"
        assert f"onnx: {type(error).__name__}: {error}" in told["extra export"].found
        assert told["extra bench"].state == "ok"
        assert all(importlib.util.find_spec(module) for module in tried)


def test_a_part_that_leaves_the_program_is_broken(tmp_path, monkeypatch):
    def leaving():
        raise SystemExit("no licence")

    monkeypatch.setattr(doctor, "_checks", lambda cache: [("part", leaving)])
    assert found(tmp_path)["part"].state == "broken"


def test_what_is_no_fault_of_a_format_is_not_put_down_to_libsndfile(quick, tmp_path, monkeypatch):
    from ser_fewshot import audio

    def failing(source):
        raise ImportError("packaging is broken")

    monkeypatch.setattr(audio, "load", failing)
    told = found(tmp_path)["audio formats"]
    assert (told.state, told.found) == ("broken", "ImportError: packaging is broken")
    assert "libsndfile" not in told.remedy


def test_a_package_that_is_missing_is_broken(quick, tmp_path, monkeypatch, run):
    version = importlib.metadata.version

    def without(name: str) -> str:
        if name == "soxr":
            raise importlib.metadata.PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr(importlib.metadata, "version", without)
    code, printed, noted = run("doctor", "--cache", tmp_path)
    assert (code, noted) == (1, "")
    assert "broken   package soxr" in printed
    assert "-> Install it: pip install 'soxr>=" in printed
    assert printed.splitlines()[-1].endswith("1 broken: see what to do above")


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("torch", OSError("libcudart.so.13: cannot open")),
        ("soundfile", RuntimeError("?")),
        ("packaging", ImportError("no module")),
    ],
)
def test_whatever_does_not_import_is_said_without_a_traceback(quick, tmp_path, monkeypatch, run, name, error):
    load = importlib.import_module

    def failing(module: str, package: str | None = None):
        if module == name:
            raise error
        return load(module, package)

    monkeypatch.setattr(doctor, "importlib", SimpleNamespace(import_module=failing, metadata=importlib.metadata))
    if name == "packaging":
        monkeypatch.setitem(sys.modules, "packaging.specifiers", None)
        monkeypatch.setitem(sys.modules, "packaging.requirements", None)
    code, printed, noted = run("doctor", "--cache", tmp_path)
    assert (code, noted) == (1, "")
    assert re.search(r"^broken .*(libcudart|\?|packaging)", printed, re.MULTILINE)
    assert "Traceback" not in printed


def test_two_that_are_no_pair_are_named(quick, tmp_path, monkeypatch):
    import torchaudio

    monkeypatch.setattr(torchaudio, "__version__", "2.11.1+cpu")
    told = found(tmp_path)["torch"]
    assert told.state == "broken"
    assert "torchaudio 2.11.1+cpu, which are no pair" in told.found
    assert re.search(r"pip install .*torch==2\.11\.0 torchaudio==2\.11\.0$", told.remedy)


def test_a_pair_that_is_there_already_is_installed_by_force(monkeypatch):
    """The versions are of the package's own metadata; to install again what is there would do nothing."""
    for installed, force in (("2.11.1", ""), ("2.11.0", "--force-reinstall "), (None, "")):
        versions = {"torch": "2.11.0+cpu", "torchaudio": installed}
        there = {name: [SimpleNamespace(name=name, version=x)] if x else [] for name, x in versions.items()}
        monkeypatch.setattr(importlib.metadata, "distributions", lambda name, there=there: there[name])
        assert install_pair() == f"pip install {force}torch==2.11.0 torchaudio==2.11.0"


def test_a_model_that_does_not_load_is_broken(tmp_path, monkeypatch):
    monkeypatch.setattr(doctor, "_checks", lambda cache: [("default model", doctor._model)])
    from ser_fewshot.classifier import few_shot

    monkeypatch.setattr(few_shot, "DEFAULT_MODEL", tmp_path / "gone")
    told = found(tmp_path)["default model"]
    assert told.state == "broken"
    assert "config.json" in told.found


def test_a_cache_that_cannot_be_written_is_broken(quick, tmp_path):
    (tmp_path / "file").write_text("no folder")
    told = found(tmp_path / "file")["cache"]
    assert told.state == "broken"
    assert "SER_FEWSHOT_CACHE" in told.remedy


def test_a_format_that_cannot_be_decoded_is_missing(quick, tmp_path, monkeypatch):
    from ser_fewshot import audio

    load = audio.load

    def without_mp3(source):
        if b"LAME" in source or source[:2] == b"\xff\xfb":
            raise AudioError("clip", found="no MP3 here", expected="a sound", remedy="?")
        return load(source)

    monkeypatch.setattr(audio, "load", without_mp3)
    states = [(finding.state, finding.found) for finding in findings(tmp_path) if finding.name == "audio formats"]
    assert [state for state, _ in states] == ["ok", "missing"]
    assert "no MP3 here" in states[1][1]


@pytest.mark.slow
def test_a_torchaudio_that_breaks_at_its_import_is_told_by_a_fresh_program(tmp_path):
    (tmp_path / "torchaudio.py").write_text("raise OSError('libtorchaudio.so: undefined symbol: _ZN3c10')\n")
    environment = os.environ | {"PYTHONPATH": str(tmp_path), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "ser_fewshot", "doctor", "--cache", str(tmp_path / "cache")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert (done.returncode, done.stderr) == (1, "")
    assert "broken   torchaudio: OSError: libtorchaudio.so: undefined symbol" in done.stdout
    assert "Install the pair: pip install " in done.stdout
    assert "ok       extra datasets: " in done.stdout
    # transformers imports it wherever it is installed.
    command[3:] = ["import", "some/encoder", "--out", "out"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 2
    assert re.fullmatch(r"ser-fewshot: torchaudio: found .*undefined symbol.* pip install .*\n", done.stderr)
