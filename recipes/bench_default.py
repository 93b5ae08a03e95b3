"""How fast and how large is the default model? Against the first layers of a pretrained encoder, in the same run.

1. Clips a second from audio in memory to embeddings, all clips in one call and one clip a call, as a microphone gives
   them. The two models take turns, because machines are noisy.
2. The files of both.
3. `FewShotClassifier.from_pretrained()` in a new process, after the imports.

    uv run ser-fewshot import ../shared/models/whisper-base-encoder --layer 3 --out runs/whisper-3
    uv run python recipes/bench_default.py --reference runs/whisper-3 --corpora ../shared/corpora
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from _bench import machine, options, ratios, seconds, write
from bench_frontends import describe, mixed
from torch import Tensor

from ser_fewshot import audio
from ser_fewshot.assets import DEFAULT_MODEL
from ser_fewshot.frontends import analyse, normalize
from ser_fewshot.learners import embed_clips
from ser_fewshot.models import Model, ModelConfig, load_model

RESULTS = Path(__file__).parent / "results" / "default" / "speed.json"
ROUNDS = 5
SINGLE = 40  # clips that are embedded one a call
LOADING = """
import json, pathlib, sys, time
from ser_fewshot import plugins
from ser_fewshot.classifier import FewShotClassifier
config = json.loads(pathlib.Path(sys.argv[1], "config.json").read_text(encoding="utf-8"))
plugins.load("frontends", config["frontend"])
plugins.load("learners", config["learner"])
start = time.perf_counter()
FewShotClassifier.from_pretrained(sys.argv[1])
print(time.perf_counter() - start)
"""


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--model", type=Path, default=DEFAULT_MODEL)
    parser.add_argument("--reference", type=Path, required=True, help="folder of an imported encoder")
    parser.add_argument("--corpora", type=Path, required=True, help="folder with one folder a corpus, named as it")
    parser.add_argument("--clips", type=int, default=100, help="clips, as many of each corpus")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    models = {"default": load_model(arguments.model), "reference": load_model(arguments.reference)}
    clips = [torch.from_numpy(audio.load(clip.path).waveform) for clip in mixed(arguments.corpora, arguments.clips)]
    result = {
        "command": f"uv run python recipes/bench_default.py --reference DIR --corpora DIR --clips {arguments.clips}"
        f" --threads {arguments.threads}",
        "machine": machine(),
        "threads": torch.get_num_threads(),
        "reference": name_of(models["reference"].config),
        "clips": describe(clips),
        "all_at_once": compared(models, clips, together),
        "one_at_a_time": compared(models, clips[: min(SINGLE, len(clips))], one_by_one),
        "megabytes": {"default": megabytes(arguments.model), "reference": megabytes(arguments.reference)},
        "seconds_to_load": {"default": loading(arguments.model), "reference": loading(arguments.reference)},
    }
    write(arguments.out, result)


def name_of(config: ModelConfig) -> str:
    """Return the front-end of a model, such as "whisper, the first 3 of 6 layers"."""
    if config.frontend != "pretrained":
        return config.frontend
    architecture = config.frontend_settings["architecture"]
    total = architecture.get("encoder_layers", architecture.get("num_hidden_layers"))
    return f"{architecture['model_type']}, the first {config.frontend_settings['layer']} of {total} layers"


def together(model: Model, clips: Sequence[Tensor]) -> list[Tensor]:
    """(samples,) each -> (width,) each."""
    return embed_clips(model.learner, normalize(analyse(model.frontend, clips), model.config.normalization))


def one_by_one(model: Model, clips: Sequence[Tensor]) -> list[Tensor]:
    """(samples,) each -> (width,) each, in as many calls."""
    return [together(model, [clip])[0] for clip in clips]


def compared(
    models: dict[str, Model], clips: Sequence[Tensor], embed: Callable[[Model, Sequence[Tensor]], list[Tensor]]
) -> dict[str, Any]:
    """Time two models in turn, in clips a second."""
    taken: dict[str, list[float]] = {name: [] for name in models}
    with torch.no_grad():
        for model in models.values():
            embed(model, clips[:4])
        for _ in range(ROUNDS):
            for name, model in models.items():
                taken[name].append(seconds(lambda: embed(model, clips)))  # noqa: B023
    return {
        "clips": len(clips),
        "rounds": ROUNDS,
        "clips_per_second": {name: len(clips) / statistics.median(found) for name, found in taken.items()},
        **ratios(taken["reference"], taken["default"]),
    }


def megabytes(folder: Path) -> float:
    """Return the size of a model's files, in millions of bytes."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6


def loading(folder: Path) -> float:
    """Return the median time of the first `from_pretrained` of a new process, in s."""
    command = [sys.executable, "-c", LOADING, str(folder)]
    runs = (subprocess.run(command, check=True, capture_output=True, text=True) for _ in range(ROUNDS))  # noqa: S603
    return statistics.median(float(run.stdout) for run in runs)


if __name__ == "__main__":
    main()
