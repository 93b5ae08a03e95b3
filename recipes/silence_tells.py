"""Measure how well the length of a file alone predicts the emotion: a check of corpora for leaks.

Ridge regression gets two numbers of a clip, its length in seconds and its length without the silence at both ends.
Episodes are 4-way 5-shot, speakers of support and query disjoint. A score far above chance shows how a corpus was
recorded and cut, which a model of untrimmed clips can learn.

    uv run python recipes/silence_tells.py --corpora ../shared/corpora
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import torch

from ser_fewshot import audio, corpora
from ser_fewshot.audio import SAMPLE_RATE
from ser_fewshot.corpora import Utterance
from ser_fewshot.episodes import EpisodeSampler, EpisodeSpec
from ser_fewshot.evaluation import evaluate
from ser_fewshot.frontends import FeatureSet
from ser_fewshot.learners import build_learner
from ser_fewshot.storage.files import write_atomically

RESULTS = Path(__file__).parent / "results" / "silence_tells.json"
SPEC = EpisodeSpec(n_way=4, k_shot=5, n_query=10)
INPUTS = {"length": [0], "length when trimmed": [1], "both": [0, 1]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpora", type=Path, required=True, help="folder with one folder a corpus, named as it")
    parser.add_argument("--episodes", type=int, default=600)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    result: dict[str, Any] = {
        "command": f"uv run python recipes/silence_tells.py --corpora DIR --episodes {arguments.episodes}"
        f" --seed {arguments.seed}",
        "corpora": {},
    }
    for scan in corpora.scan_all(arguments.corpora):
        values = torch.stack([lengths(clip) for clip in scan.utterances])  # (clips, 2)
        values = (values - values.mean(0)) / values.std(0)
        episodes = EpisodeSampler(scan.utterances, SPEC, seed=arguments.seed).draw_many(arguments.episodes)
        rows = {}
        for name, columns in INPUTS.items():
            clips = FeatureSet(scan.utterances, tuple(values[:, None, columns]))
            learner = build_learner("ridge", len(columns), {"encoder": {"name": "mean"}, "penalty": 0.1})
            found = evaluate(learner, clips, episodes, spec=SPEC).as_dict()
            rows[name] = {key: found[key] for key in ("protocol", "episodes", "episodes_sha256", "chance", "uar")}
        result["corpora"][scan.utterances[0].corpus] = rows
    write_atomically(RESULTS, json.dumps(result, indent=1) + "\n")


def lengths(clip: Utterance) -> torch.Tensor:
    """Return the length of a clip before and after trimming, in s, (2,)."""
    samples = (audio.load(clip.path, start=clip.start, end=clip.end, trim=trim).waveform for trim in (False, True))
    return torch.tensor([len(wave) / SAMPLE_RATE for wave in samples])


if __name__ == "__main__":
    main()
