"""What train and evaluate both do before they begin: manifests in, features out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ser_fewshot.checkpoints import Model
from ser_fewshot.commands._console import report_skipped, tracker
from ser_fewshot.corpora import Scan, Utterance, read_manifest
from ser_fewshot.errors import CorpusError
from ser_fewshot.frontends import FeatureCache, FeatureSet, Normalization, default_directory, extract


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
    report_skipped(skipped, rest="look for empty cells and times that are no numbers")
    return Scan("manifest", tuple(utterance for found in scans for utterance in found.utterances), skipped)


def features_of(
    model: Model, utterances: Sequence[Utterance], cache: Path | None, *, normalization: Normalization | None = None
) -> FeatureSet:
    """Return the features of clips for a model, from the cache where it knows them.

    Raises:
        CorpusError: not one of the clips can be used.
    """
    kept = FeatureCache(cache or default_directory(), model.frontend.identity)
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
    report_skipped(found.skipped, rest="check that the audio files stand where the manifest says")
    return found
