"""Freeze the episodes that default models are measured on: 600 of each protocol that a corpus can give.

    uv run python recipes/freeze_episodes.py --corpora ../shared/corpora

EmoGator, which holds no speech, has protocols of its own, on the test part of its split (`_emogator.py`).

The lists are committed in recipes/episodes; the command writes them again, and without a change to the corpora or the
sampler they are the same. `ser-fewshot evaluate --replay LIST` scores any model on one.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

import _emogator
from _protocols import PROTOCOLS, list_of

from ser_fewshot import audio, corpora
from ser_fewshot.corpora import Utterance
from ser_fewshot.episodes import EpisodeSampler, EpisodeSpec
from ser_fewshot.episodes.frozen import episodes_hash, save_episodes
from ser_fewshot.errors import AudioError, EpisodeError


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpora", type=Path, required=True, help="folder with one folder a corpus, named as it")
    parser.add_argument("--episodes", type=int, default=600)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    for scan in corpora.scan_all(arguments.corpora):
        clips = [clip for clip in scan.utterances if usable(clip)]
        protocols = {name: (clips, spec) for name, spec in PROTOCOLS.items()}
        if scan.corpus == _emogator.CORPUS:
            protocols = _emogator.protocols(_emogator.Split.read(), clips)
        freeze(scan.corpus, protocols, arguments.episodes, arguments.seed)


def freeze(
    corpus: str, protocols: Mapping[str, tuple[list[Utterance], EpisodeSpec]], n_episodes: int, seed: int
) -> None:
    """Write the list of every protocol that a corpus has enough clips for, and print which it has not."""
    for name, (clips, spec) in protocols.items():
        try:
            episodes = EpisodeSampler(clips, spec, seed=seed).draw_many(n_episodes)
        except EpisodeError as error:
            print(f"{corpus}: {name}: none: {error.found}", flush=True)
            continue
        save_episodes(list_of(corpus, name), episodes, spec, seed=seed)
        print(f"{corpus}: {name}: {len(episodes)} episodes {episodes_hash(episodes)[:12]}", flush=True)


def usable(clip: Utterance) -> bool:
    try:
        audio.load(clip.path, start=clip.start, end=clip.end)
    except AudioError:
        return False
    return True


if __name__ == "__main__":
    main()
