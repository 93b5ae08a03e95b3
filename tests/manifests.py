"""Manifests without audio, for what looks at labels, speakers and sentences alone."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from pathlib import Path

from hypothesis import strategies as st

from ser_fewshot.corpora import Utterance

EMOTIONS = ("anger", "fear", "joy", "sadness", "neutral")


def utterance(
    number: int, emotion: str | None, speaker: str | None, text: str | None = None, corpus: str = "c"
) -> Utterance:
    return Utterance(
        id=f"{corpus}/{number:05d}", path=Path("x.wav"), corpus=corpus, emotion=emotion, speaker=speaker, text=text
    )


def grid(
    *, corpora: Sequence[str] = ("c",), emotions: int = 5, speakers: int = 6, texts: int = 4, takes: int = 2
) -> tuple[Utterance, ...]:
    """A manifest in which everyone says everything in every emotion: emotions x speakers x texts x takes clips."""
    cells = itertools.product(corpora, range(emotions), range(speakers), range(texts), range(takes))
    return tuple(
        utterance(number, f"e{emotion}", f"s{speaker}", f"t{text}", corpus)
        for number, (corpus, emotion, speaker, text, _) in enumerate(cells)
    )


@st.composite
def manifests(draw: st.DrawFn, *, corpora: int = 3, speakers: int = 6, texts: int = 5) -> list[Utterance]:
    """Clips of unequal classes, in any order; some have no emotion, no speaker or no text."""
    rng = random.Random(draw(st.integers(0, 2**32)))
    found: list[Utterance] = []
    for corpus in range(draw(st.integers(1, corpora))):
        n_speakers, n_texts = rng.randint(1, speakers), rng.randint(1, texts)
        missing = rng.choice((0.0, 0.0, 0.1, 0.9))
        for emotion in (*EMOTIONS[: rng.randint(2, 5)], None):
            for _ in range(rng.choice((0, 3, 10, 30)) if emotion else 2):
                who = None if rng.random() < missing else f"s{rng.randrange(n_speakers)}"
                what = None if rng.random() < missing else f"t{rng.randrange(n_texts)}"
                found.append(utterance(len(found), emotion, who, what, f"c{corpus}"))
    rng.shuffle(found)
    return found
