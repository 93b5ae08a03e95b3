"""Tell what is installed and works, what is missing, and what to do.

One function examines one part of the installation. Nothing of the library is imported before it is examined: it may
be what is broken.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.metadata
import io
import os
import platform
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from ser_fewshot import __version__
from ser_fewshot.cli._console import as_json, printable
from ser_fewshot.cli._options import add_shared
from ser_fewshot.optional import install_pair

State = Literal["ok", "missing", "broken"]

PACKAGE = "ser-fewshot"
PURPOSES = {
    "audformat": "reads and writes audformat databases",
    "bench": "baselines of the benchmark: openSMILE features and GE2E speaker embeddings",
    "datasets": "clips from and to data sets of the Hugging Face hub",
    "export": "writes a model as an ONNX graph that runs without torch",
    "finetune": "low-rank adapters for fine-tuning an encoder",
}
"""What each extra is for."""
_BROKEN = 1
_MODULES = {"webrtcvad-wheels": "webrtcvad"}  # packages that are imported by another name
_FORMATS = (("WAV", "PCM_16"), ("FLAC", "PCM_16"), ("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", "MPEG_LAYER_III"))
_RATE = 16_000
_REINSTALL = "Install it anew in a fresh environment: pip install --force-reinstall ser-fewshot"


@dataclass(frozen=True)
class Finding:
    """The state of one part: "missing" if it is optional, "broken" if the program cannot do without it."""

    name: str
    state: State
    found: str
    remedy: str = ""  # a sentence, where something needs to be done


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `doctor`."""
    add_shared(parser, "--json", "--cache")


def run(arguments: argparse.Namespace) -> None:
    """Print a line for each part, and leave with exit code 1 if the program cannot be used as it is."""
    found = []
    for finding in findings(arguments.cache):
        found.append(finding)
        if not arguments.json:
            remedy = f"\n{'':9}-> {printable(finding.remedy)}" if finding.remedy else ""
            sys.stdout.write(f"{finding.state:8} {printable(f'{finding.name}: {finding.found}')}{remedy}\n")
            sys.stdout.flush()
    broken = sum(finding.state == "broken" for finding in found)
    if arguments.json:
        answer = {"version": __version__, "usable": not broken, "findings": [asdict(finding) for finding in found]}
        sys.stdout.write(as_json(answer) + "\n")
    else:
        verdict = f"{broken} broken: see what to do above" if broken else "it can be used"
        sys.stdout.write(f"ser-fewshot {__version__}: {verdict}\n")
    if broken:
        raise SystemExit(_BROKEN)


def findings(cache: Path | None = None) -> Iterator[Finding]:
    """Examine part by part; whatever a check raises is a finding, too."""
    for name, check in _checks(cache):
        try:
            yield from check()
        except (Exception, SystemExit) as error:
            yield Finding(name, "broken", f"{type(error).__name__}: {error}", _REINSTALL)


def _checks(cache: Path | None) -> list[tuple[str, Callable[[], Iterator[Finding]]]]:
    return [
        ("Python", _python),
        ("packages", _packages),
        ("torch", _torch),
        ("device", _device),
        ("audio formats", _audio),
        ("default model", _model),
        ("cache", lambda: _cache(cache)),
        ("extras", _extras),
    ]


def _python() -> Iterator[Finding]:
    from packaging.specifiers import SpecifierSet  # which may be missing, as everything here

    wanted = importlib.metadata.metadata(PACKAGE)["Requires-Python"]
    found = f"{platform.python_version()} on {platform.platform()}"
    if platform.python_version() in SpecifierSet(wanted):
        yield Finding("Python", "ok", found)
    else:
        found += f", where {wanted} is needed"
        yield Finding("Python", "broken", found, "Make an environment with such a Python.")


def _packages() -> Iterator[Finding]:
    wanted = [requirement for extra, requirement in _requirements() if extra is None]
    faults = {str(requirement): fault for requirement in wanted if (fault := _fault(requirement))}
    if not faults:
        yield Finding("packages", "ok", f"all {len(wanted)} that are needed, in versions that fit")
    for requirement, fault in faults.items():
        yield Finding(f"package {requirement}", "broken", fault, f"Install it: pip install '{requirement}'")


def _extras() -> Iterator[Finding]:
    extras = importlib.metadata.metadata(PACKAGE).get_all("Provides-Extra") or []
    for extra in sorted(extras):
        faults = [
            f"{requirement.name}: {fault}"
            for name, requirement in _requirements()
            if name == extra and (fault := _fault(requirement) or _import_fault(requirement.name))
        ]
        purpose = PURPOSES.get(extra, "")
        if faults:
            remedy = f"Only if you need it: pip install '{PACKAGE}[{extra}]'"
            yield Finding(f"extra {extra}", "missing", f"{purpose} ({'; '.join(faults)})", remedy)
        else:
            yield Finding(f"extra {extra}", "ok", purpose)


def _requirements() -> Iterator[tuple[str | None, Any]]:
    """Yield the requirements that hold on this machine, each with the extra that it belongs to."""
    from packaging.requirements import Requirement  # which may be missing, as everything here

    extras = importlib.metadata.metadata(PACKAGE).get_all("Provides-Extra") or []
    for text in importlib.metadata.requires(PACKAGE) or []:
        requirement = Requirement(text)
        for extra in (None, *extras):
            if requirement.marker is None or requirement.marker.evaluate({"extra": extra or ""}):
                requirement.marker = None
                yield extra, requirement
                break


def _fault(requirement: Any) -> str:
    """Return what is wrong with an installed package; nothing if it fits."""
    try:
        version = importlib.metadata.version(requirement.name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
    return "" if requirement.specifier.contains(version, prereleases=True) else f"version {version} does not fit"


def _import_fault(name: str) -> str:
    """Return why an installed package cannot be imported; nothing if it can."""
    try:
        with warnings.catch_warnings(action="ignore"):
            importlib.import_module(_MODULES.get(name, name))
    except (Exception, SystemExit) as error:
        return f"{type(error).__name__}: {error!s:.200}"
    return ""


def _torch() -> Iterator[Finding]:
    versions = {}
    for name in ("torch", "torchaudio"):
        try:
            versions[name] = str(importlib.import_module(name).__version__)
        except Exception as error:
            yield Finding(name, "broken", f"{type(error).__name__}: {error}", f"Install the pair: {install_pair()}")
    if len(versions) < 2:
        return
    numbers = {name: version.partition("+")[0] for name, version in versions.items()}
    found = f"torch {versions['torch']} with torchaudio {versions['torchaudio']}"
    if numbers["torch"] == numbers["torchaudio"]:
        yield Finding("torch", "ok", found)
    else:
        yield Finding("torch", "broken", f"{found}, which are no pair", f"Install the pair: {install_pair()}")


def _device() -> Iterator[Finding]:
    torch = importlib.import_module("torch")
    threads = f"{torch.get_num_threads()} threads of {os.cpu_count()} processors"
    limit = os.environ.get("OMP_NUM_THREADS")
    yield Finding("processor", "ok", f"{threads}{f', as OMP_NUM_THREADS={limit} says' if limit else ''}")
    if torch.cuda.is_available():
        cards = [torch.cuda.get_device_properties(number) for number in range(torch.cuda.device_count())]
        names = ", ".join(f"{card.name} with {card.total_memory / 2**30:.0f} GiB" for card in cards)
        yield Finding("GPU", "ok", f"{names}; CUDA {torch.version.cuda}")
    elif torch.version.cuda and Path("/proc/driver/nvidia").exists():
        yield Finding("GPU", "missing", "one that torch cannot use", "Bring its driver up to the CUDA of this torch.")
    else:
        yield Finding("GPU", "ok", "none, and none is needed: everything runs on the processor")


def _audio() -> Iterator[Finding]:
    numpy, sf = importlib.import_module("numpy"), importlib.import_module("soundfile")
    audio, errors = (importlib.import_module(f"ser_fewshot.{name}") for name in ("audio", "errors"))
    wave = 0.3 * numpy.sin(2 * numpy.pi * 220 * numpy.arange(_RATE) / _RATE)
    decoded, failed = [], []
    for container, subtype in _FORMATS:
        name = subtype.capitalize() if container == "OGG" else container
        try:
            buffer = io.BytesIO()
            sf.write(buffer, wave, _RATE, format=container, subtype=subtype)
            audio.load(buffer.getvalue())
            decoded.append(name)
        except (sf.LibsndfileError, errors.AudioError) as error:  # whatever else is raised is no matter of formats
            failed.append(f"{name} ({error})")
    library = f"libsndfile {sf.__libsndfile_version__}"
    yield Finding("audio formats", "ok" if "WAV" in decoded else "broken", f"{', '.join(decoded)}, by {library}")
    if failed:
        newer = "Install a newer libsndfile: pip install --upgrade soundfile"
        yield Finding("audio formats", "missing" if decoded else "broken", f"not {', '.join(failed)}", newer)


def _model() -> Iterator[Finding]:
    numpy = importlib.import_module("numpy")
    classifier = importlib.import_module("ser_fewshot.classifier").FewShotClassifier.from_pretrained()
    time = numpy.arange(_RATE) / _RATE
    clips = {f"{pitch} Hz": [(_RATE, 0.3 * numpy.sin(2 * numpy.pi * pitch * time))] for pitch in (150, 900)}
    classifier.enroll(clips)
    wrong = [label for label, (clip,) in clips.items() if classifier.predict(clip).label != label]
    state: State = "broken" if wrong else "ok"
    result = "takes two clips it just enrolled for each other" if wrong else "loads, enrols and recognises"
    yield Finding("default model", state, result, _REINSTALL if wrong else "")


def _cache(chosen: Path | None) -> Iterator[Finding]:
    frontends = importlib.import_module("ser_fewshot.frontends")
    directory = chosen or frontends.default_directory()
    elsewhere = "Choose another folder with --cache or SER_FEWSHOT_CACHE, or clear it: ser-fewshot cache --clear"
    try:
        entries, size = frontends.size(directory)
        _try_to_write(directory)
    except Exception as error:
        yield Finding("cache", "broken", f"{directory}: {error}", elsewhere)
        return
    yield Finding("cache", "ok", f"{directory}: {entries} clips, {size / 1e6:.1f} MB; it can be written")


def _try_to_write(directory: Path) -> None:
    """Write a file where the cache is, or would be made, and take it away again."""
    files = importlib.import_module("ser_fewshot.storage.files")
    place = next(folder for folder in (directory, *directory.absolute().parents) if folder.exists())
    probe = place / f".ser-fewshot-doctor-{os.getpid()}{files.TEMPORARY}"
    files.write_atomically(probe, b"", durable=False)
    files.remove(probe)
