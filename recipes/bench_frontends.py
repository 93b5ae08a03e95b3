"""How fast is a pretrained front-end? Against the same encoder, called by hand through transformers, clip by clip.

Both make mean and standard deviation over time of the last layer. Rounds take turns, because machines are noisy.

1. Our batches against one call of transformers a clip. Whisper's own call fills every clip up to 30 s of silence, so it
   is timed twice: as it is (on fewer clips), and by the modules of its encoder at the clip's own length, which nobody
   is offered but which does the same work as we do.
2. The features of a corpus, from its files to tensors, for the first time and from the cache.

    uv run python recipes/bench_frontends.py --model ../shared/models/whisper-base-encoder --corpora ../shared/corpora
"""

from __future__ import annotations

import json
import statistics
import tempfile
from collections.abc import Callable, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

import torch
import transformers
from _bench import machine, options, ratios, seconds, write
from torch import Tensor, nn
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from ser_fewshot import audio, corpora
from ser_fewshot.corpora import Utterance
from ser_fewshot.errors import SettingsError
from ser_fewshot.frontends import FeatureCache, analyse, extract
from ser_fewshot.importers import Choice, import_model

RESULTS = Path(__file__).parent / "results" / "frontends_speed.json"
CORPORA = ("ased", "emodb", "ravdess", "urdu")
ROUNDS = 3
FULL_CALLS = 20  # clips that Whisper's own call is timed on: each takes as long as ten others

Call = Callable[[Tensor], Tensor]


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--model", type=Path, required=True, help="folder of a Hugging Face encoder")
    parser.add_argument("--corpora", type=Path, required=True, help="folder with one folder a corpus, named as it")
    parser.add_argument("--clips", type=int, default=300, help="clips, as many of each corpus")
    arguments = parser.parse_args()
    config = json.loads((arguments.model / "config.json").read_text())
    last = config.get("encoder_layers", config.get("num_hidden_layers"))
    frontend = import_model(str(arguments.model), Choice(layer=last, pooling="mean_std")).model.frontend
    clips = mixed(arguments.corpora, arguments.clips)
    waveforms = [torch.from_numpy(audio.load(clip.path).waveform) for clip in clips]
    calls = by_hand(arguments.model, config, frontend.network)
    result = {
        "command": "uv run python recipes/bench_frontends.py --model DIR --corpora DIR",
        "machine": machine(),
        "encoder": {"name": arguments.model.name, "model_type": config["model_type"], "layer": last},
        "corpus": describe(waveforms),
        "extraction": bench_extraction(frontend, waveforms, calls),
        "cache": bench_cache(frontend, clips),
    }
    write(RESULTS, result)


def mixed(root: Path, n: int) -> list[Utterance]:
    """Return clips from all corpora in turn, spread over each."""
    taken = []
    for name in CORPORA:
        found = corpora.scan(name, root / name, check_audio=False).utterances
        share = -(-n // len(CORPORA))
        taken.append(found[:: max(1, len(found) // share)][:share])
    return [clip for row in zip_longest(*taken) for clip in row if clip is not None][:n]


def describe(waveforms: Sequence[Tensor]) -> dict[str, float]:
    lengths = sorted(len(waveform) / audio.SAMPLE_RATE for waveform in waveforms)
    return {
        "clips": len(lengths),
        "shortest_seconds": lengths[0],
        "median_seconds": statistics.median(lengths),
        "longest_seconds": lengths[-1],
    }


def by_hand(folder: Path, config: dict[str, Any], network: nn.Module | None) -> dict[str, Call]:
    """Return what one would write with transformers, by name: a function from one waveform to its description."""
    if network is None:
        raise SettingsError("model", found="no network", expected="a pretrained encoder", remedy="Choose another.")
    if config["model_type"] != "whisper":
        library: Any = transformers  # whose methods are not typed
        encoder = library.AutoModel.from_pretrained(folder).float().eval()
        extractor = library.AutoFeatureExtractor.from_pretrained(folder)
        return {"transformers": lambda clip: pooled(encoder(**inputs(extractor, clip)).last_hidden_state[0])}
    kind: Any = WhisperEncoder
    whisper = kind.from_pretrained(folder).float().eval()
    mel: Any = transformers.WhisperFeatureExtractor.from_pretrained(folder)

    def own_length(clip: Tensor) -> Tensor:
        features = inputs(mel, clip, padding=False, truncation=False)["input_features"]
        x = nn.functional.gelu(whisper.conv2(nn.functional.gelu(whisper.conv1(features)))).mT
        x = x + whisper.embed_positions.weight[: x.shape[1]]
        for block in whisper.layers:
            x = block(x, None)
        return pooled(whisper.layer_norm(x)[0])

    def full_call(clip: Tensor) -> Tensor:
        n_frames = -(-len(clip) // (2 * mel.hop_length))
        return pooled(whisper(**inputs(mel, clip)).last_hidden_state[0, :n_frames])

    return {"transformers": full_call, "transformers_modules_at_own_length": own_length}


def inputs(extractor: Any, clip: Tensor, **options: Any) -> Any:
    return extractor(clip.numpy(), sampling_rate=audio.SAMPLE_RATE, return_tensors="pt", **options)


def pooled(frames: Tensor) -> Tensor:
    """(frames, width) -> (2 * width,)."""
    return torch.cat([frames.mean(0), frames.std(0, correction=0)])


@torch.no_grad()
def bench_extraction(frontend: Any, waveforms: Sequence[Tensor], calls: dict[str, Call]) -> dict[str, Any]:
    """Time ours and theirs in turn, in clips a second; where both do the same work, compare the values too."""
    fewer = waveforms[:: max(1, len(waveforms) // FULL_CALLS)][:FULL_CALLS]
    ours: list[float] = []
    theirs: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(ROUNDS):
        for name, call in calls.items():
            timed = fewer if len(calls) > 1 and name == "transformers" else waveforms
            theirs[name].append(len(timed) / seconds(lambda: [call(clip) for clip in timed]))  # noqa: B023
        ours.append(len(waveforms) / seconds(lambda: analyse(frontend, waveforms)))
    like = list(calls.values())[-1]
    expected = torch.stack([like(clip) for clip in waveforms])
    got = torch.cat(analyse(frontend, waveforms))
    return {
        "rounds": ROUNDS,
        "threads": torch.get_num_threads(),
        "clips_per_second": {"ours": statistics.median(ours)}
        | {name: statistics.median(rates) for name, rates in theirs.items()},
        "times_as_fast_as": {
            name: {
                "median": statistics.median(own / other for own, other in zip(ours, rates, strict=True)),
                "slowest_round": min(own / other for own, other in zip(ours, rates, strict=True)),
            }
            for name, rates in theirs.items()
        },
        "largest_difference": float((got - expected).abs().max()),
        "largest_value": float(expected.abs().max()),
    }


def bench_cache(frontend: Any, clips: Sequence[Utterance]) -> dict[str, float]:
    """Time files to features, first into an empty cache, then from it."""
    firsts, seconds_runs = [], []
    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory() as folder:
            cache = FeatureCache(Path(folder), frontend.identity)
            firsts.append(seconds(lambda: extract(frontend, clips, cache=cache)))  # noqa: B023
            seconds_runs.append(seconds(lambda: extract(frontend, clips, cache=cache)))  # noqa: B023
    medians = {"first_seconds": statistics.median(firsts), "second_seconds": statistics.median(seconds_runs)}
    return {**medians, **ratios(firsts, seconds_runs)}


if __name__ == "__main__":
    main()
