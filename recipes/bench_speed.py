"""How fast is it? Each figure is a ratio to a named reference in the same run, or stands beside its machine.

1. Log-mel of the front-end against `librosa.feature.melspectrogram` with the same settings on the same clips, and how
   far the two differ.
2. 1,000 Prototypical episodes (5-way 5-shot, 15 queries) from cached features.
3. Enrolling four emotions from five clips of 3 s each, and recognising one clip, with nothing cached.

    uv run python recipes/bench_speed.py --corpora ../shared/corpora

With --busy, instead: recognising one clip on one thread and on one a core, in turn, on the machine as it is and beside
a process a core that never rests; written to recipes/results/busy.json.

    uv run python recipes/bench_speed.py --busy
"""

from __future__ import annotations

import multiprocessing
import os
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import librosa
import numpy as np
import torch
from _bench import machine, options, seconds, write
from numpy.typing import NDArray

from ser_fewshot import audio, corpora
from ser_fewshot.audio import SAMPLE_RATE
from ser_fewshot.classifier import FewShotClassifier
from ser_fewshot.compute.threads import THREADS
from ser_fewshot.corpora import Utterance
from ser_fewshot.episodes import EpisodeSampler, EpisodeSpec
from ser_fewshot.evaluation import evaluate
from ser_fewshot.frontends import FeatureSet, analyse
from ser_fewshot.frontends.logmel import LogMel
from ser_fewshot.learners import embed_clips
from ser_fewshot.models import ModelConfig, build_model
from ser_fewshot.quickstart import DEMO_MANIFEST

RESULTS = Path(__file__).parent / "results" / "speed.json"
BUSY = RESULTS.with_name("busy.json")
EPISODES = EpisodeSpec(n_way=5, k_shot=5, n_query=15)
ROUNDS = 5
BUSY_ROUNDS = 60
_AUDIBLE = 1e-6  # of a clip's peak, -60 dB; below that, single-precision transforms differ by their rounding


def main() -> None:
    parser = options(__doc__)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--corpora", type=Path, help="folder with one folder a corpus, named as it")
    what.add_argument("--busy", action="store_true", help="recognise beside processes that never rest, and no more")
    parser.add_argument("--clips", type=int, default=200, help="clips of EmoDB that the front-ends are compared on")
    arguments = parser.parse_args()
    if arguments.busy:
        write(BUSY, {"command": "uv run python recipes/bench_speed.py --busy", **bench_busy()})
        return
    emodb = corpora.scan("emodb", arguments.corpora / "emodb").utterances
    waveforms = [audio.load(clip.path).waveform for clip in emodb]
    result = {
        "command": "uv run python recipes/bench_speed.py --corpora DIR",
        "machine": machine(),
        "logmel": bench_logmel(waveforms[: arguments.clips]),
        "episodes": bench_episodes(emodb, waveforms),
        "classifier": bench_classifier(waveforms),
    }
    write(RESULTS, result)


def bench_logmel(waveforms: Sequence[NDArray[np.float32]]) -> dict[str, float]:
    """Time both front-ends in turn on the same clips; compare mel power within 60 dB of each clip's peak."""
    frontend = LogMel()
    settings = frontend.settings
    tensors = [torch.from_numpy(waveform) for waveform in waveforms]

    def theirs() -> list[NDArray[np.float32]]:
        return [
            librosa.feature.melspectrogram(
                y=waveform,
                sr=SAMPLE_RATE,
                n_fft=settings.n_fft,
                hop_length=settings.hop,
                win_length=settings.window,
                n_mels=settings.n_mels,
                fmin=settings.f_min,
                fmax=settings.f_max,
                pad_mode="constant",
            )
            for waveform in waveforms
        ]

    difference = max(
        float((np.abs(ours.exp().numpy().T - power) / power)[power > _AUDIBLE * power.max()].max())
        for ours, power in zip(analyse(frontend, tensors), theirs(), strict=True)
    )
    ratios = []
    for _ in range(ROUNDS):
        reference = seconds(theirs)
        analyse(frontend, tensors)  # the other library's threads still spin for a moment after their work
        ratios.append(reference / statistics.median(seconds(lambda: analyse(frontend, tensors)) for _ in range(ROUNDS)))
    return {
        "clips": len(waveforms),
        "times_as_fast_as_librosa": statistics.median(ratios),
        "slowest_round": min(ratios),
        "largest_relative_difference": difference,
    }


def bench_episodes(emodb: Sequence[Utterance], waveforms: Sequence[NDArray[np.float32]]) -> dict[str, float]:
    """Time sampling and scoring of 1,000 episodes, with the clips' features in memory."""
    model = build_model(ModelConfig(learner="protonet"))
    frames = analyse(model.frontend, [torch.from_numpy(waveform) for waveform in waveforms])
    features = FeatureSet(tuple(emodb), tuple(frames))
    embedded = FeatureSet(features.utterances, tuple(embed_clips(model.learner, features.clips)))
    sampler = EpisodeSampler(embedded.utterances, EPISODES)
    return {
        "episodes": 1000,
        "seconds": statistics.median(
            seconds(lambda: evaluate(model.learner, embedded, sampler.draw_many(1000), spec=EPISODES))
            for _ in range(ROUNDS)
        ),
        "seconds_to_embed_all_clips_once": seconds(lambda: embed_clips(model.learner, features.clips)),
    }


def bench_classifier(waveforms: Sequence[NDArray[np.float32]]) -> dict[str, float]:
    """Time enrolment and recognition through the public class; the clips are arrays of 3 s."""
    length = 3 * SAMPLE_RATE
    clips = [(SAMPLE_RATE, np.resize(waveform, length)) for waveform in waveforms[:60]]
    start = time.perf_counter()
    classifier = FewShotClassifier.from_pretrained()
    loading = time.perf_counter() - start
    enrolment = {f"emotion {number}": clips[5 * number : 5 * number + 5] for number in range(4)}
    clean = FewShotClassifier.from_pretrained(clean_only=True)
    first = seconds(lambda: classifier.enroll(enrolment))
    rounds = [[seconds(partial(one.enroll, enrolment)) for one in (classifier, clean)] for _ in range(ROUNDS)]
    return {
        "seconds_to_load": loading,
        "seconds_to_enrol_first_time": first,
        "seconds_to_enrol": statistics.median(both for both, _ in rounds),
        "times_as_long_as_clean_only": statistics.median(both / alone for both, alone in rounds),
        "seconds_to_predict": statistics.median(seconds(partial(classifier.predict, clip)) for clip in clips[20:]),
    }


def bench_busy() -> dict[str, Any]:
    """Time recognising a clip on one thread and on one a core, in turn, as the machine is and beside busy processes."""
    classifier = FewShotClassifier.from_pretrained()
    names = ("anger", "fear", "sadness")
    classifier.enroll({name: sorted(DEMO_MANIFEST.parent.glob(f"{name}_*_1.ogg"))[:5] for name in names})
    clip = audio.load(min(DEMO_MANIFEST.parent.glob("anger_*_2.ogg")))
    processes = os.cpu_count() or 1
    result = {"machine": {**machine(), "load_before": os.getloadavg()[0]}, "seconds_of_sound": clip.duration}
    for place, count in (("as_it_was", 0), ("busy", processes)):
        with beside(count):
            taken: dict[int, list[float]] = {1: [], processes: []}
            for _ in range(BUSY_ROUNDS):
                for threads, values in taken.items():
                    with patch.dict(os.environ, {THREADS: str(threads)}):
                        values.append(seconds(partial(classifier.predict, clip)))
        result[place] = [
            {"threads": threads, "median_s": statistics.median(values), "p95_s": float(np.quantile(values, 0.95))}
            for threads, values in taken.items()
        ]
    return result


@contextmanager
def beside(count: int) -> Iterator[None]:
    """Let so many processes compute without end while the context is open."""
    context = multiprocessing.get_context("spawn")
    busy = [context.Process(target=never_rest, daemon=True) for _ in range(count)]
    for process in busy:
        process.start()
    time.sleep(2 if count else 0)  # until they have begun
    try:
        yield
    finally:
        for process in busy:
            process.kill()
            process.join()


def never_rest() -> None:
    while True:
        pass


if __name__ == "__main__":
    main()
