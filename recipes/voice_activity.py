r"""What does the page take for a voice, and what for a noisy one? Speech through microphones, and sounds that are none.

Speech is asked as it was recorded, with noise, in a room and by telephone. Sounds that are no voice
are made here; --sounds adds recordings, one folder a kind, such as laughter, which must not be refused, or music.
results/voice_activity_0.1.0.json holds the same of the few lines of acoustics that 0.1.0 had in the detector's place.

    uv run python recipes/voice_activity.py --corpora ../shared/corpora
    uv run python recipes/write_tables.py
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

import numpy as np
import soundfile
from _microphones import Wave, pink, record
from _recipe import Recipe, options
from measure_default import babble_of
from noise_robustness import some
from numpy.typing import NDArray

from app.clips import NOISY_BELOW
from app.limits import CLIP_SECONDS
from ser_fewshot import audio
from ser_fewshot.audio import SAMPLE_RATE
from ser_fewshot.audio.voice_activity import is_voice, signal_to_background
from ser_fewshot.corpora import Utterance
from ser_fewshot.errors import AudioError
from ser_fewshot.quickstart import DEMO_MANIFEST
from ser_fewshot.storage.files import write_atomically

RECORDED = "as recorded"
CONDITIONS = (RECORDED, "noise, 10 dB", "noise, 5 dB", "noise, 0 dB", "small room", "telephone")
SECONDS = 3.0
MADE = 40  # of each kind
TIME = np.arange(int(SECONDS * SAMPLE_RATE)) / SAMPLE_RATE
Samples = NDArray[np.float64]
Maker = Callable[[np.random.Generator], Samples]


def main(argv: Sequence[str] | None = None) -> None:
    parser = options(__doc__, corpus=("ased", "emodb", "ravdess", "urdu"))
    parser.add_argument("--clips", type=int, default=200, help="of each corpus, drawn by the seed")
    parser.add_argument("--sounds", type=Path, help="folder with one folder of recordings a kind")
    recipe = Recipe(__file__, __doc__, parser.parse_args(argv))
    recipe.result["command"] = recipe.result["command"].replace(str(recipe.arguments.sounds), "DIR")
    recipe.result["detector"] = f"silero-vad {version('silero-vad')}"
    recipe.result["cost"] = cost()
    clips = recipe.utterances()
    for corpus in recipe.arguments.corpus:
        own = some([clip for clip in clips if clip.corpus == corpus], recipe.arguments.clips, recipe.seed)
        voices = babble_of([clip for clip in clips if clip.corpus != corpus])
        rows = {at: shares(spoken(own, at, voices, recipe.seed)) for at in CONDITIONS}
        recipe.result["corpora"][corpus] = rows
        print(corpus, json.dumps(rows), flush=True)
    recipe.result["sounds"] = sounds(recipe.arguments.sounds, recipe.seed)
    print(json.dumps(recipe.result["sounds"]))
    del recipe.result["headline"], recipe.result["minutes"]  # of scores, which there are none of
    write_atomically(recipe.path, json.dumps(recipe.result, indent=1) + "\n")


def cost() -> dict[str, float]:
    """Return what the detector costs on one clip: processor time, of the first use too, and memory."""
    wave, before = made("plucked melody", 0), _memory()
    took = [_processor_time(wave) for _ in range(20)]
    return {"seconds": SECONDS, "first_s": took[0], "median_s": float(np.median(took)), "mib": _memory() - before}


def spoken(clips: Iterable[Utterance], condition: str, voices: Sequence[Wave], seed: int) -> Iterable[Wave]:
    """Yield clips under a condition, with the silence at their ends."""
    for clip in clips:
        if condition == RECORDED:
            yield audio.load(clip.path, start=clip.start, end=clip.end, trim=False).waveform
        else:
            yield record(clip, condition, voices=voices, seed=seed, trim=False).waveform


def sounds(folder: Path | None, seed: int) -> dict[str, dict[str, float]]:
    """Return the shares of the demo clips, of each kind of sound made here, and of each kind in a folder."""
    rows = {"demo clips (synthetic voices)": shares(recorded(DEMO_MANIFEST.parent))}
    rows |= {kind: shares(made(kind, seed + n) for n in range(MADE)) for kind in MAKERS}
    kinds = sorted(folder.iterdir()) if folder else []
    return rows | {kind.name: shares(recorded(kind)) for kind in kinds}


def recorded(folder: Path) -> Iterable[Wave]:
    """Yield the first seconds of each file, as many as the page takes, of those that it takes at all."""
    for path in sorted(folder.iterdir()):
        with suppress(AudioError, soundfile.LibsndfileError):
            end = min(CLIP_SECONDS, soundfile.info(path).duration)
            yield audio.load(path, end=end, trim=False).waveform


def shares(waves: Iterable[Wave]) -> dict[str, float]:
    """Return the share of sounds that are taken for a voice, and of those with a loud background."""
    found = [(is_voice(wave), signal_to_background(wave) < NOISY_BELOW) for wave in waves]
    voice, noisy = np.mean(found, 0)
    return {"clips": len(found), "voice": float(voice), "noisy": float(noisy)}


def made(kind: str, seed: int) -> Wave:
    """Return SECONDS of a kind of sound, (samples,), at a level drawn from -40 to -10 dB of full scale."""
    rng = np.random.default_rng(seed)
    wave = MAKERS[kind](rng)
    peak = 10 ** (rng.uniform(-40, -10) / 20)
    return np.asarray(wave * (peak / np.abs(wave).max()), dtype=np.float32)


def hum(rng: np.random.Generator) -> Samples:
    mains = rng.choice([50, 60])
    harmonics = sum(rng.uniform(0.1, 1) * np.sin(2 * np.pi * mains * n * TIME) for n in range(1, 8))
    return np.asarray(harmonics + 0.1 * pink(len(TIME), rng))


def beeps(rng: np.random.Generator) -> Samples:
    return np.asarray(np.sin(2 * np.pi * rng.uniform(400, 3_000) * TIME) * (TIME % rng.uniform(0.3, 1) < 0.15))


def struck(rng: np.random.Generator, *, gap: float, decay: float) -> Samples:
    """Return strokes of noise that die away, gap s apart on average, over the noise of a quiet room."""
    wave = 0.01 * pink(len(TIME), rng).astype(np.float64)
    for start in np.cumsum(rng.uniform(0.5 * gap, 1.5 * gap, int(SECONDS / gap))):
        after = TIME[start < TIME] - start
        wave[start < TIME] += rng.uniform(0.3, 1) * rng.standard_normal(len(after)) * np.exp(-after / decay)
    return wave


def melody(rng: np.random.Generator) -> Samples:
    """Return eight notes of a plucked string, each with its harmonics."""
    wave = np.zeros_like(TIME)
    for start in np.arange(8) * SECONDS / 8:
        after, hertz = TIME[start <= TIME] - start, 220 * 2 ** (rng.integers(0, 24) / 12)
        note = sum(np.sin(2 * np.pi * hertz * n * after) * np.exp(-after * 3 * n) / n for n in range(1, 6))
        wave[start <= TIME] += note
    return wave


def siren(rng: np.random.Generator) -> Samples:
    swing = np.sin(2 * np.pi * rng.uniform(0.2, 1) * TIME)
    return np.asarray(np.sin(2 * np.pi * np.cumsum(800 + 300 * swing) / SAMPLE_RATE))


MAKERS: dict[str, Maker] = {
    "white noise": lambda rng: rng.standard_normal(len(TIME)),
    "pink noise": lambda rng: pink(len(TIME), rng).astype(np.float64),
    "mains hum": hum,
    "beeps": beeps,
    "clicks": lambda rng: struck(rng, gap=0.3, decay=0.002),
    "keyboard": lambda rng: struck(rng, gap=0.15, decay=0.015),
    "knocking": lambda rng: struck(rng, gap=0.5, decay=0.05),
    "plucked melody": melody,
    "siren": siren,
}


def _processor_time(wave: Wave) -> float:
    start = time.process_time()
    is_voice(wave)
    return time.process_time() - start


def _memory() -> float:
    """Return the most that this process has held, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


if __name__ == "__main__":
    main()
