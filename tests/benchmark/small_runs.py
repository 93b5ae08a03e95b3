"""Two small corpora of tones, and runs over them that take a second or two."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from conftest import tone

from ser_fewshot import corpora
from ser_fewshot.benchmark.grid import Plan
from ser_fewshot.benchmark.methods import methods_of
from ser_fewshot.benchmark.protocols import PROTOCOLS
from ser_fewshot.benchmark.record import Record
from ser_fewshot.benchmark.store import read_results
from ser_fewshot.corpora import Utterance

EMOTIONS = ("anger", "happiness", "neutral", "sadness")
RATE = 16_000


def make_corpora(root: Path, names: tuple[str, ...] = ("one", "two")) -> Path:
    """Write manifests with clips: four emotions by ten speakers, three times each, with a pitch of its own."""
    rng = np.random.default_rng(0)
    for name in names:
        clips = []
        for emotion, word in enumerate(EMOTIONS):
            for speaker in range(10):
                for take in range(3):
                    path = root / name / f"{word}-{speaker}-{take}.wav"
                    path.parent.mkdir(parents=True, exist_ok=True)
                    hertz = 110 + 60 * emotion + 5 * speaker + float(rng.uniform(0, 30))
                    soundfile.write(path, tone(0.4, hertz=hertz, peak=0.2 + 0.05 * emotion), RATE)
                    clips.append(
                        Utterance(f"{name}/{path.stem}", path, name, word, f"s{speaker}", "deu", text=f"t{take}")
                    )
        corpora.write_manifest(root / f"{name}.csv", clips)
    return root


def clips_of(root: Path) -> tuple[Utterance, ...]:
    return tuple(clip for path in sorted(root.glob("*.csv")) for clip in corpora.read_manifest(path).utterances)


def protocols(*names: str) -> Any:
    return tuple(protocol for protocol in PROTOCOLS if protocol.name in names)


def plan(root: Path, out: Path, *, learners: tuple[str, ...] = ("nearest",), **changes: Any) -> Plan:
    values: dict[str, Any] = {
        "utterances": clips_of(root),
        "methods": methods_of(learners, baselines=False, default_model=False),
        "protocols": protocols("cross-corpus-1-shot", "cross-corpus-5-shot"),
        "out": out,
        "cache": root / "cache",
        "episodes": 4,
        "smoke": True,
    }
    return Plan(**{**values, **changes})


def results(out: Path) -> dict[str, Record]:
    return {one.key: one for one in read_results(out)}
