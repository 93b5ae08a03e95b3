"""What the tests of the commands share: the demo clips, small episodes and a training of seconds."""

from __future__ import annotations

from pathlib import Path

from ser_fewshot.corpora import read_manifest
from ser_fewshot.quickstart import DEMO_MANIFEST

DEMO = DEMO_MANIFEST.parent
CLIPS = read_manifest(DEMO_MANIFEST).utterances
EPISODE = ("--n-way", "3", "--k-shot", "2", "--n-query", "2", "--episodes", "6")
TINY = """
[settings.encoder]
name = "mean"

[train]
epochs = 1
steps = 2
validation_episodes = 4
tasks = [{ n_way = 2, k_shot = 1, n_query = 1 }]
"""


def below(folder: Path) -> dict[Path, int]:
    """Every file and folder below another, with the time of its last change."""
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
