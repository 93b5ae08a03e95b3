"""Read a corpus and write its manifest."""

from __future__ import annotations

import argparse

from ser_fewshot import corpora
from ser_fewshot.cli._console import report_skipped, say, say_json, warn
from ser_fewshot.cli._outputs import require_new
from ser_fewshot.cli._text import counted, words
from ser_fewshot.errors import CorpusError


def run(arguments: argparse.Namespace) -> None:
    """Print what was read and what was not, and write one row a clip to the manifest.

    More than 1 lost clip of 20, labels that contradict each other and the like are warned of on stderr.

    Raises:
        CorpusError: the corpus cannot be read, or not one of its clips can be used.
        SettingsError: something is there already where the manifest goes.
    """
    require_new("--out", arguments.out, arguments)
    found = corpora.scan(
        arguments.corpus,
        arguments.root,
        check_audio=not arguments.no_check,
        audio_root=arguments.audio_root,
        fold=arguments.fold,
    )
    if not found.utterances:
        first = f" ({found.skipped[0].path}: {found.skipped[0].reason})" if found.skipped else ""
        raise CorpusError(
            str(arguments.root),
            found=f"no clip that can be used, {counted(len(found.skipped), 'file')} skipped{first}",
            expected=f"clips like {corpora.card(arguments.corpus).layout}",
            remedy="Check the folder and the name of the corpus.",
        )
    if arguments.out:
        corpora.write_manifest(arguments.out, found.utterances)
    warn(found)
    n_speakers = len({utterance.speaker_key for utterance in found.utterances} - {None})
    nameless = found.without("speaker")
    if arguments.json:
        say_json(
            {
                "corpus": found.corpus,
                "clips": len(found.utterances),
                "speakers": n_speakers,
                "without_speaker": nameless,
                "emotions": found.counts("emotion"),
                "per_speaker": found.by_speaker(),
                "deviations": found.deviations,
                "warnings": found.warnings,
                "skipped": [{"file": str(item.path), "reason": item.reason} for item in found.skipped],
                "manifest": str(arguments.out) if arguments.out else None,
            }
        )
        return
    clips, speakers = counted(len(found.utterances), "clip"), counted(n_speakers, "speaker")
    speakers += f" ({nameless} without a speaker)" if nameless else ""
    say(f"{clips} by {speakers}: {words(found.counts('emotion'))}")
    for sentence in found.deviations:
        say(f"differs from the published counts: {sentence}")
    report_skipped(found.skipped, rest="--json lists them all")
    if arguments.out:
        say(f"manifest: {arguments.out}")
