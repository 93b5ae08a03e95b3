"""EmoGator's emotions and speakers, parted once and for all, and the protocols on the test part.

30 categories of vocal bursts by 357 speakers: 18 for meta-training, 4 for meta-validation, 8 for meta-test, and three
fifths, one fifth and one fifth of the speakers. `parted` drew them once from all clips; the file SPLIT holds them,
whatever clips are there later.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from _protocols import EPISODES

from ser_fewshot.corpora import Utterance
from ser_fewshot.episodes import EpisodeSpec

CORPUS = "emogator"
SPLIT = EPISODES / "emogator_split.json"
PARTS = ("train", "validation", "test")
N_CLASSES = (18, 4, 8)
SPEAKER_SHARES = (0.6, 0.8)  # up to which the speakers are of the first part, and of the second

UNSEEN = {
    "new_emotions_5_way_1_shot": EpisodeSpec(n_way=5, k_shot=1, n_query=5),
    "new_emotions_5_way_5_shot": EpisodeSpec(n_way=5, k_shot=5, n_query=5),
}
"""Protocols on the emotions and speakers of the test part."""

ALL_EMOTIONS = {"emotions_20_way_5_shot": EpisodeSpec(n_way=20, k_shot=5, n_query=5)}
"""Protocols on all emotions, because they ask for 20, of the speakers of the test part."""


@dataclass(frozen=True)
class Split:
    """The emotions and the speakers of each part."""

    emotions: dict[str, tuple[str, ...]]
    speakers: dict[str, tuple[str, ...]]

    @classmethod
    def read(cls, path: Path = SPLIT) -> Split:
        kept = json.loads(path.read_text(encoding="utf-8"))
        emotions, speakers = ({part: tuple(kept[name][part]) for part in PARTS} for name in ("emotions", "speakers"))
        return cls(emotions, speakers)

    def clips(self, part: str, utterances: Sequence[Utterance], *, every_emotion: bool = False) -> list[Utterance]:
        """Return the clips of a part's speakers, of its emotions or of every one."""
        speakers, emotions = set(self.speakers[part]), set(self.emotions[part])
        return [clip for clip in utterances if clip.speaker in speakers and (every_emotion or clip.emotion in emotions)]


def parted(utterances: Sequence[Utterance], *, seed: int = 0) -> Split:
    """Draw the split of all clips of the corpus."""
    emotions, speakers = (
        np.random.default_rng(seed).permutation(sorted(names)).tolist()
        for names in ({str(clip.emotion) for clip in utterances}, {str(clip.speaker) for clip in utterances})
    )
    first, second = (round(share * len(speakers)) for share in SPEAKER_SHARES)
    classes = np.cumsum(N_CLASSES)[:2]
    return Split(
        *(
            {part: tuple(sorted(names)) for part, names in zip(PARTS, (of[:a], of[a:b], of[b:]), strict=True)}
            for of, (a, b) in ((emotions, classes), (speakers, (first, second)))
        )
    )


def protocols(split: Split, utterances: Sequence[Utterance]) -> dict[str, tuple[list[Utterance], EpisodeSpec]]:
    """Return each protocol with the clips that its episodes are drawn from."""
    unseen, every = (split.clips("test", utterances, every_emotion=every) for every in (False, True))
    return {name: (unseen, spec) for name, spec in UNSEEN.items()} | {
        name: (every, spec) for name, spec in ALL_EMOTIONS.items()
    }
