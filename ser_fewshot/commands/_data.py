"""What train and evaluate both do before they begin: manifests in, features out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch

from ser_fewshot import corpora, distributed
from ser_fewshot.checkpoints import Model
from ser_fewshot.commands._console import note, report_skipped, tracker
from ser_fewshot.commands._text import counted
from ser_fewshot.corpora import Scan, Utterance, read_manifest
from ser_fewshot.errors import CorpusError
from ser_fewshot.frontends import FeatureCache, FeatureSet, FrontEnd, Normalization, default_directory, extract

ELSEWHERE = "check that the audio files stand where the manifest says"
"""What to do about clips that cannot be used."""


def read_manifests(paths: Sequence[Path]) -> Scan:
    """Return the clips of several manifests, and the rows that are none, as one list.

    Raises:
        CorpusError: a manifest cannot be read, or none of its rows is a clip.
    """
    scans = [read_manifest(path) for path in paths]
    for path, found in zip(paths, scans, strict=True):
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

    Where there is a manifest, it says what the folders under other names are: they are not read beside it.

    Raises:
        CorpusError: there is none, or two of them call a clip the same.
    """
    manifests = sorted(root.glob("*.csv")) if root.is_dir() else []
    scans = [corpora.read_manifest(path) for path in manifests]
    if not manifests or corpora.named_folders(root):
        scans += corpora.scan_all(root, others=not manifests)
    for found in scans:
        report_skipped(found.skipped, rest=f"see 'ser-fewshot scan {found.corpus}'")
    clips = [clip for found in scans for clip in found.utterances]
    known = tuple(clip for clip in clips if clip.speaker is not None)
    if len(known) < len(clips):
        note(f"{counted(len(clips) - len(known), 'clip')} without a speaker left out: nothing could be kept apart")
    if not known:
        raise CorpusError(
            str(root), found="no clip with a speaker", expected="corpora", remedy="Give the folder that holds them."
        )
    return known
