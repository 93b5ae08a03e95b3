"""What commands compute on: clips of manifests or corpora, a model, and the features of the clips."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from ser_fewshot import audio, corpora
from ser_fewshot.assets import DEFAULT_MODEL
from ser_fewshot.audio import Clip
from ser_fewshot.cli._console import counted, note, note_random, note_skipped, note_warnings, tracker
from ser_fewshot.compute import distributed
from ser_fewshot.corpora import Scan, Skipped, Utterance, read_manifest
from ser_fewshot.errors import CorpusError
from ser_fewshot.frontends import FeatureCache, FeatureSet, FrontEnd, Normalization, default_directory, extract
from ser_fewshot.learners import is_augmented
from ser_fewshot.models import Model, load_model, silence, under_conditions

if TYPE_CHECKING:
    from ser_fewshot.audio.conditions import Condition

CHECK_FILES = "check that the audio files stand where the manifest says"
"""What to do about clips that cannot be used."""


def read_manifests(paths: Sequence[Path]) -> Scan:
    """Read several manifests as one list of clips, with the rows that are none."""
    scans = [read_manifest(path) for path in paths]
    for path, found in zip(paths, scans, strict=True):
        note_warnings(found)
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
        note_skipped(skipped, rest="look for empty cells and times that are no numbers")
    return Scan("manifest", tuple(utterance for found in scans for utterance in found.utterances), skipped)


def read_model(folder: Path | None) -> Model:
    """Load a model, by default that of the package, and warn if some of its weights are random."""
    model = load_model(folder or DEFAULT_MODEL)
    note_random(model)
    return model


def load_clips(utterances: Sequence[Utterance], model: Model) -> list[Clip]:
    """Load clips as the model takes them, and print their warnings."""
    clips = []
    for one in utterances:
        part = None if one.start is None and one.end is None else one.id  # else named by its file
        clip = audio.load(one.path, name=part, start=one.start, end=one.end, trim=model.frontend.trim)
        for warning in clip.warnings:
            note(f"warning: {one.path}: {warning}")
        clips.append(clip)
    return clips


def features_of(
    model: Model,
    utterances: Sequence[Utterance],
    cache: Path | None,
    *,
    normalization: Normalization | None = None,
    device: torch.device | str = "cpu",
) -> FeatureSet:
    """Return the features of clips for a model, from the cache or computed on the device."""
    with moved(model.frontend, device):
        found = extract(
            model.frontend,
            utterances,
            cache=cache_of(model.frontend, cache),
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
        note_skipped(found.skipped, rest=CHECK_FILES)
    return found


def under_conditions_of(
    models: Iterable[Model],
    utterances: Sequence[Utterance],
    cache: Path | None,
    *,
    normalization: Normalization,
    device: torch.device | str,
) -> dict[Condition, FeatureSet]:
    """Return the features of clips under recording conditions, by a front-end that several models share.

    There are none where no model would enrol clips so: not where features are normalised per speaker either.
    """
    augmented = [one for one in models if is_augmented(one.learner, silence(one).x[0])]
    if not augmented or normalization == "speaker":
        return {}
    frontend = augmented[0].frontend
    with moved(frontend, device):
        return under_conditions(
            frontend,
            utterances,
            cache=cache_of(frontend, cache),
            normalization=normalization,
            track=tracker("recording conditions"),
        )


def cache_of(frontend: FrontEnd, directory: Path | None) -> FeatureCache:
    """Return the cache of the features of a front-end, in the user's cache by default."""
    return FeatureCache(directory or default_directory(), frontend.identity)


@contextmanager
def moved(frontend: FrontEnd, device: torch.device | str) -> Iterator[None]:
    """Move the network of a front-end, if it has one, to a device, and back to the CPU at the end."""
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
    """Return the clips with a speaker of every corpus and every manifest in a folder.

    A clip whose file is part of an earlier corpus too is left out, since it would not be new to a model. Where there is
    a manifest, folders that do not have the name of a corpus are not read: the manifest describes them.
    """
    manifests = sorted(root.glob("*.csv")) if root.is_dir() else []
    scans = [read_manifest(path) for path in manifests]
    if not manifests or corpora.named_folders(root):
        scans += corpora.scan_all(root, others=not manifests)
    for found in scans:
        note_warnings(found)
        note_skipped(found.skipped, rest=f"see 'ser-fewshot scan {found.corpus}'")
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
    copies = dict(_copies(known))
    skipped = [
        Skipped(clip.path, f"second copy: the sound of {copies[clip.id]}") for clip in known if clip.id in copies
    ]
    note_skipped(skipped, rest="give each corpus once")
    return tuple(clip for clip in known if clip.id not in copies)


def _copies(clips: Sequence[Utterance]) -> Iterator[tuple[str, str]]:
    """Yield the id of each clip that is the same part of the same file as one of an earlier corpus, and of that one."""
    sounds, known = corpora.sounds_of(clips), dict[Hashable, Utterance]()
    for clip in clips:
        first = known.setdefault(sounds[clip.id], clip)
        if first.corpus != clip.corpus:
            yield clip.id, first.id
