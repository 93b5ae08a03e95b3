"""Corpora and formats: one file each, read in their native folders and file names.

A corpus is a module of this folder with a `CARD`, and `NAMES` (how its file names say who speaks which emotion) or a
function `read(root)` that yields clips, and everything that it could not read as `Skipped`. Adding one means adding a
file.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ser_fewshot.corpora import _manifest
from ser_fewshot.corpora._audformat_out import write_audformat
from ser_fewshot.corpora._coded import looks_like
from ser_fewshot.corpora._copies import sounds_of
from ser_fewshot.corpora._corpus import CorpusCard, Scan, Skipped
from ser_fewshot.corpora._hf_dataset_out import to_dataset
from ser_fewshot.corpora._manifest import segment_suffix
from ser_fewshot.corpora._scan import card, folder_of, from_dataset, names, permissive, scan, scan_of
from ser_fewshot.corpora._scan_all import named_folders, scan_all
from ser_fewshot.corpora._utterance import (
    ALIASES,
    Gender,
    LabelKind,
    Utterance,
    canonical_emotion,
    checked_utterances,
)

__all__ = [
    "ALIASES",
    "CorpusCard",
    "Gender",
    "LabelKind",
    "Scan",
    "Skipped",
    "Utterance",
    "canonical_emotion",
    "card",
    "checked_utterances",
    "from_dataset",
    "looks_like",
    "named_folders",
    "names",
    "permissive",
    "read_manifest",
    "scan",
    "scan_all",
    "segment_suffix",
    "sounds_of",
    "to_dataset",
    "write_audformat",
    "write_manifest",
]


def read_manifest(path: Path | str) -> Scan:
    """Return the clips of a manifest, or of any table with the columns `file, emotion, speaker`, in their order.

    Nothing is asked of the audio files: they may have moved away since.

    Raises:
        CorpusError: the file is missing, not UTF-8, not CSV, or lacks a required column.
    """
    manifest = folder_of(path)
    return scan_of(manifest.stem, _manifest.read(manifest), content=False)


def write_manifest(path: Path | str, utterances: Iterable[Utterance]) -> None:
    """Write clips to a CSV file that `read_manifest` and the format "table" read; a crash leaves no half of it.

    Clips below the folder of the manifest are written as relative paths, others as absolute ones.

    Raises:
        CorpusError: an id occurs twice, a field is an empty text, a name is not valid Unicode, or the file cannot be
            written.
    """
    _manifest.write(folder_of(path), checked_utterances(utterances))
