"""What train and evaluate both do before they begin: manifests in, features out."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch

from ser_fewshot import corpora
from ser_fewshot.cli._console import note, report_skipped, tracker, warn
from ser_fewshot.cli._text import counted
from ser_fewshot.compute import distributed
from ser_fewshot.corpora import Scan, Skipped, Utterance, read_manifest
from ser_fewshot.errors import CorpusError
from ser_fewshot.frontends import FeatureCache, FeatureSet, FrontEnd, Normalization, default_directory, extract
from ser_fewshot.models import Model

ELSEWHERE = "check that the audio files stand where the manifest says"
"""What to do about clips that cannot be used."""


def read_manifests(paths: Sequence[Path]) -> Scan:
    """Return the clips of several manifests, and the rows that are none, as one list.

    Raises:
        CorpusError: a manifest cannot be read, or none of its rows is a clip.
    """
    scans = [read_manifest(path) for path in paths]
    for path, found in zip(paths, scans, strict=True):
        warn(found)
        if not found.utterances:
            reason = f" ({found.skipped[0].reason})" if found.skipped else ""
            raise CorpusError(
                str(path),
                found=f"no clips{reason}",
                expected="one row a clip",
                remedy="Write the manifest with 'scan' again.",
            )
    skipped = tuple(item for found in scans for item in found.skipped)
    if distributed.is_main():
        report_skipped(skipped, rest="look for empty cells and times that are no numbers")
    return Scan("manifest", tuple(utterance for found in scans for utterance in found.utterances), skipped)


def features_of(
    model: Model,
    utterances: Sequence[Utterance],
    cache: Path | None,
    *,
    normalization: Normalization | None = None,
    device: torch.device | str = "cpu",
) -> FeatureSet:
    """Return the features of clips for a model, from the cache where it knows them; others are made on the device.

    Raises:
        CorpusError: not one of the clips can be used.
    """
    kept = cache_of(model.frontend, cache)
    with on(model.frontend, device):
        found = extract(
            model.frontend,
            utterances,
            cache=kept,
            normalization=normalization or model.config.normalization,
            track=tracker("features"),
        )
    if not len(found):
        raise CorpusError(
            "manifest",
            found=f"{len(found.skipped)} clips, none of which can be used ({found.skipped[0].reason})",
            expected="clips that can be read",
            remedy="Check that the audio files stand where the manifest says.",
        )
    if distributed.is_main():
        report_skipped(found.skipped, rest=ELSEWHERE)
    return found


def cache_of(frontend: FrontEnd, directory: Path | None) -> FeatureCache:
    """Return where the features of a front-end are kept, in the user's cache by default."""
    return FeatureCache(directory or default_directory(), frontend.identity)


@contextmanager
def on(frontend: FrontEnd, device: torch.device | str) -> Iterator[None]:
    """Let a front-end with a network compute on a device; it comes back to the CPU."""
    network = frontend.network
    if network is None:
        yield
        return
    network.to(device)
    try:
        yield
    finally:
        network.cpu()


def clips_of(root: Path) -> tuple[Utterance, ...]:
    """Return the clips of every corpus of a folder, and of every manifest that lies in it; each has a speaker.

    A clip whose sound another corpus has too is left out: what must be new to a model would not be.
    Where there is a manifest, it says what the folders under other names are: they are not read beside it.

    Raises:
        CorpusError: there is none, or two of them call a clip the same.
    """
    manifests = sorted(root.glob("*.csv")) if root.is_dir() else []
    scans = [corpora.read_manifest(path) for path in manifests]
    if not manifests or corpora.named_folders(root):
        scans += corpora.scan_all(root, others=not manifests)
    for found in scans:
        warn(found)
        report_skipped(found.skipped, rest=f"see 'ser-fewshot scan {found.corpus}'")
    clips = [clip for found in scans for clip in found.utterances]
    repeated = [name for name, times in Counter(clip.id for clip in clips).items() if times > 1]
    if repeated:
        raise CorpusError(
            str(root),
            found=f"{counted(len(repeated), 'clip')} twice, such as {repeated[0]}",
            expected="each once",
            remedy="Remove one of the manifests or folders that name the same clips.",
        )
    known = tuple(clip for clip in clips if clip.speaker is not None)
    if len(known) < len(clips):
        note(f"{counted(len(clips) - len(known), 'clip')} without a speaker left out: nothing could be kept apart")
    if not known:
        raise CorpusError(
            str(root),
            found=f"{counted(len(clips), 'clip')}, none of them with a speaker",
            expected="clips whose speakers are known",
            remedy="Put a folder per speaker into that of each emotion, or a column speaker into the manifest.",
        )
    copies = {clip.id: first for clip, first in _copies(known)}
    told = [Skipped(clip.path, f"second copy: the sound of {copies[clip.id]}") for clip in known if clip.id in copies]
    report_skipped(told, rest="give each corpus once")
    return tuple(clip for clip in known if clip.id not in copies)


def _copies(clips: Sequence[Utterance]) -> Iterator[tuple[Utterance, str]]:
    """Yield each clip whose very file, or part of it, stands in a corpus before its own, and the id that it has there.

    A file is read only if one of the same size stands in another corpus.
    """
    sizes: dict[int, set[str]] = {}
    size_of = {clip.path: _size(clip.path) for clip in clips}
    for clip in clips:
        sizes.setdefault(size_of[clip.path], set()).add(clip.corpus)
    seen: dict[tuple[bytes, float | None, float | None], Utterance] = {}
    for clip in clips:
        sound = _digest(clip.path) if len(sizes[size_of[clip.path]]) > 1 else b""
        first = seen.setdefault((sound, clip.start, clip.end), clip) if sound else clip
        if first.corpus != clip.corpus:
            yield clip, first.id


def _size(path: Path) -> int:
    """Return the size of a file, 0 of one that cannot be reached: that is said where it is read."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _digest(path: Path) -> bytes:
    """Return a digest of a file, nothing of one that cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    except OSError:
        return b""
