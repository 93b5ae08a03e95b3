"""Records of made-up cells, for the tests of tables and of the report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from ser_fewshot.benchmark.record import (
    Audit,
    Bin,
    Licence,
    OpenSet,
    Origin,
    Portion,
    Record,
    Reliability,
    Score,
    Split,
)
from ser_fewshot.episodes import EpisodeSpec
from ser_fewshot.evaluation import interval

LABELS = ("anger", "fear", "happiness", "sadness")
PROMISED = ("support_query_clips", "support_query_speakers", "train_test_clips")


def record(
    method: str = "protonet",
    *,
    protocol: str = "cross-corpus-5-shot",
    corpus: str = "emodb",
    seed: int = 0,
    level: float = 0.6,
    k_shot: int = 5,
    labels: tuple[str, ...] = LABELS,
    episodes: int = 40,
    speakers: Sequence[str] = ("03", "08", "09"),
    shared: int = 0,
    scores: Sequence[float] | None = None,
    **changes: Any,
) -> Record:
    """A finished cell with plausible values, which depend on the arguments alone; `scores` are its UAR per episode."""
    rng = np.random.default_rng(seed)
    spec = EpisodeSpec(n_way=4, k_shot=k_shot, n_query=10)
    uar = np.round(np.clip(level + 0.1 * rng.normal(size=episodes), 0, 1), 6) if scores is None else np.array(scores)
    episodes = len(uar)
    score = Score.of(interval(uar))
    confusion = rng.integers(5, 30, (len(labels), len(labels))) + np.diag(np.full(len(labels), round(100 * level)))
    bins = tuple(Bin(count=60 + 9 * i, confidence=0.05 + i / 10, accuracy=0.1 + 0.07 * i) for i in range(10))
    x = tuple(np.round(np.linspace(0, 1, 50), 4).tolist())
    done = Record(
        key=f"{protocol}/{corpus}/{method}",
        protocol=protocol,
        corpus=corpus,
        method=method,
        kind="learner",
        status="done",
        origin=origin(f"{protocol}/{corpus}/{method}"),
        spec=asdict(spec),
        words=f"{spec}, 10 queries",
        episodes=episodes,
        episodes_sha256=f"{k_shot:02x}" * 32,
        split=Split(name=f"without-{corpus}", train=(), test=(_portion(corpus, labels),), sha256="cd" * 32),
        chance=0.25,
        uar=score,
        accuracy=score,
        uar_per_episode=tuple(uar.tolist()),
        labels=labels,
        confusion=tuple(map(tuple, confusion.tolist())),
        recall=dict.fromkeys(labels, level),
        tallies={
            "speaker": {name: [40 + 7 * i % 55, 100] for i, name in enumerate(speakers)},
            "gender": {"female": [130, 200], "male": [55, 100]},
            "language": {"deu": [185, 300]},
        },
        reliability=Reliability(ece=0.041, calibrated=True, bins=bins),
        open_set=OpenSet(
            episodes=episodes,
            calibrated=False,
            auroc=0.71,
            fpr95=0.8,
            oscr=0.45,
            accepted_unknown=x,
            named_known=tuple(round(level * v**0.5, 4) for v in x),
        ),
        audit=Audit(
            support_query_clips=0,
            support_query_speakers=0,
            support_query_sentences=77,
            train_test_clips=0,
            train_test_speakers=shared,
            train_test_sentences=0,
            promised=(*PROMISED, "train_test_speakers"),
        ),
        licences=(licence(corpus),),
    )
    return replace(done, **changes)


def unfinished(method: str, *, status: str, reason: str, **where: str) -> Record:
    """A cell that has no number."""
    at = {"protocol": "cross-corpus-5-shot", "corpus": "emodb", **where}
    key = "/".join([*at.values(), method])
    return Record(key=key, **at, method=method, kind="learner", status=status, reason=reason, origin=origin(key))


def origin(key: str) -> Origin:
    return Origin(
        command=f"ser-fewshot benchmark --corpora CORPORA --out OUT --only {key}",
        seed=0,
        device="cpu",
        threads=1,
        versions={"ser-fewshot": "0.1.0", "numpy": "2.4.6", "no-such-package": "1"},
        minutes_to_train=1.5,
        minutes_to_score=0.25,
        finished="2026-01-02T03:04:05Z",
    )


def licence(corpus: str) -> Licence:
    return Licence(
        corpus=corpus,
        title=f"The {corpus} corpus",
        language="deu",
        licence="free, cite the paper",
        commercial_use=None,
        citation="Somebody (2005), A database",
        url="https://doi.org/10.0/x",
    )


def _portion(corpus: str, labels: tuple[str, ...]) -> Portion:
    return Portion(corpus=corpus, clips=100, speakers=3, emotions=labels)
