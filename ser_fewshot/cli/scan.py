"""Read a corpus folder and write its manifest, one row a clip."""

from __future__ import annotations

import argparse
from pathlib import Path

from ser_fewshot import plugins
from ser_fewshot.cli._console import counted, note_skipped, note_warnings, say, say_json, words
from ser_fewshot.cli._options import add_shared, require_new, seed
from ser_fewshot.errors import CorpusError


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `scan`."""
    add = parser.add_argument
    add("corpus", metavar="CORPUS", help=" | ".join(plugins.names("corpora")))
    add("root", metavar="ROOT", type=Path, help="its folder (or file, for a table)")
    add("--out", type=Path, help="the manifest, a CSV table")
    add_shared(parser, "--force")
    add("--audio-root", type=Path, help="where relative paths begin (emobox, table) or clips are unpacked (hf_dataset)")
    add("--fold", type=seed, help="one fold of several (emobox)")
    add("--no-check", action="store_true", help="do not open each clip to see whether it can be read")
    add_shared(parser, "--json")


def run(arguments: argparse.Namespace) -> None:
    """Print what was read and what was not, with warnings such as that more than 5 % of the clips are lost."""
    from ser_fewshot import corpora

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
    note_warnings(found)
    n_clips, n_speakers = len(found.utterances), len({clip.speaker_key for clip in found.utterances} - {None})
    nameless, emotions = found.without("speaker"), found.counts("emotion")
    if arguments.json:
        say_json(
            {
                "corpus": found.corpus,
                "clips": n_clips,
                "speakers": n_speakers,
                "without_speaker": nameless,
                "emotions": emotions,
                "per_speaker": found.by_speaker(),
                "deviations": found.deviations,
                "warnings": found.warnings,
                "skipped": [{"file": str(item.path), "reason": item.reason} for item in found.skipped],
                "manifest": str(arguments.out) if arguments.out else None,
            }
        )
        return
    without = f" ({nameless} without a speaker)" if nameless else ""
    say(f"{counted(n_clips, 'clip')} by {counted(n_speakers, 'speaker')}{without}: {words(emotions)}")
    for sentence in found.deviations:
        say(f"differs from the published counts: {sentence}")
    note_skipped(found.skipped, rest="--json lists them all")
    if arguments.out:
        say(f"manifest: {arguments.out}")
