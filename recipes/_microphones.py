"""Simulate recording conditions: noise, a small room, the telephone, another gain.

Each condition returns a rate and 16-bit samples, as a sound card does, which `ser_fewshot.audio.load` then reads. The
silence at the ends of a clip is kept, because noise and echoes are recorded there too. The result depends on nothing
but the id of the clip, the condition and the seed.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import Any

import numpy as np
import pyroomacoustics
import soundfile
import soxr
from numpy.typing import NDArray
from scipy import signal

from ser_fewshot import audio
from ser_fewshot.audio import SAMPLE_RATE, Clip
from ser_fewshot.corpora import Utterance

SNR_DB = 10.0
SNRS_DB = (20.0, 15.0, SNR_DB, 5.0, 0.0)
TALKERS = 6
RT60 = 0.4  # s
_ROOM = (4.2, 3.4, 2.6)  # m
_MICROPHONE = (2.3, 1.4, 0.8)  # m: on a table
_NEAR, _FAR = 0.5, 1.2  # m from mouth to microphone
_PLACES = 16
_TELEPHONE = 8_000  # Hz
_BAND = (300, 3_400)  # Hz
_PINK_FROM = 20.0  # Hz, below which the noise does not grow any more
_FULL_SCALE = 2**15

Wave = NDArray[np.float32]
Voices = Sequence[Wave]  # that babble is mixed from
Recording = tuple[int, NDArray[np.int16]]
Condition = Callable[[Wave, np.random.Generator, Voices], Recording]


def noisy(wave: Wave, rng: np.random.Generator, voices: Voices, *, snr_db: float = SNR_DB) -> Recording:
    """Add babble to one half of the clips and pink noise to the other, snr_db below the speech between silences."""
    speech = audio.load((SAMPLE_RATE, wave)).waveform
    noise = babble(len(wave), rng, voices) if rng.random() < 0.5 else pink(len(wave), rng)
    return _recorded(wave + noise * (_rms(speech) / _rms(noise) * 10 ** (-snr_db / 20)))


def in_a_room(wave: Wave, rng: np.random.Generator, _: Voices) -> Recording:
    """Play a clip at a random place in a small room, whose echoes outlast it; its loudness stays."""
    response = _responses()[int(rng.integers(_PLACES))]
    echoing = signal.fftconvolve(wave, response)
    return _recorded(echoing * (_rms(wave) / _rms(echoing[: len(wave)])))


def by_telephone(wave: Wave, _: np.random.Generator, __: Voices) -> Recording:
    """Send a clip through 8 kHz, 300 to 3,400 Hz and mu-law (ITU-T G.711)."""
    band = signal.butter(4, _BAND, btype="bandpass", fs=_TELEPHONE, output="sos")
    narrow = signal.sosfilt(band, soxr.resample(wave, SAMPLE_RATE, _TELEPHONE))
    with io.BytesIO() as line:
        soundfile.write(line, narrow, _TELEPHONE, format="WAV", subtype="ULAW")
        line.seek(0)
        return _TELEPHONE, soundfile.read(line, dtype="int16")[0]


def quieter(wave: Wave, _: np.random.Generator, __: Voices) -> Recording:
    """Turn the gain down by 12 dB."""
    return SAMPLE_RATE, _integers(wave * 10 ** (-12 / 20))


def louder(wave: Wave, _: np.random.Generator, __: Voices) -> Recording:
    """Turn the gain up by 6 dB; what exceeds full scale is clipped, as a sound card does."""
    return SAMPLE_RATE, _integers(wave * 10 ** (6 / 20))


CONDITIONS: dict[str, Condition] = {
    f"noise, {SNR_DB:g} dB": noisy,
    "small room": in_a_room,
    "telephone": by_telephone,
    "12 dB quieter": quieter,
    "6 dB louder": louder,
}


NOISES: dict[str, Condition] = {f"noise, {snr_db:g} dB": partial(noisy, snr_db=snr_db) for snr_db in SNRS_DB}
EVERY: dict[str, Condition] = {**NOISES, **CONDITIONS}
"""The conditions, and noise of every level of a curve."""


def record(clip: Utterance, condition: str, *, voices: Voices, seed: int, trim: bool) -> Clip:
    """Return a clip as recorded under a condition, one of EVERY; babble is mixed from voices of other corpora.

    Raises:
        AudioError: the clip cannot be used, or not under the condition.
    """
    drawn = hashlib.sha256(f"{condition} {clip.id}".encode()).digest()
    rng = np.random.default_rng([seed, int.from_bytes(drawn[:8])])
    wave = audio.load(clip.path, start=clip.start, end=clip.end, trim=False).waveform
    return audio.load(EVERY[condition](wave, rng, voices), name=f"{clip.path.name}, {condition}", trim=trim)


def babble(n: int, rng: np.random.Generator, voices: Voices) -> Wave:
    """Return six voices at once, (n,), equally loud and repeated to that length."""
    chosen = rng.choice(len(voices), TALKERS, replace=False)
    starts = rng.integers(SAMPLE_RATE, size=TALKERS)
    talkers = zip((voices[row] for row in chosen), starts, strict=True)
    mixed = sum(np.resize(np.roll(voice, start), n) / _rms(voice) for voice, start in talkers)
    return np.asarray(mixed, dtype=np.float32)


def pink(n: int, rng: np.random.Generator) -> Wave:
    """Return noise whose power spectral density halves with every octave, (n,)."""
    white = rng.standard_normal((2, n // 2 + 1))
    hertz = np.fft.rfftfreq(n, 1 / SAMPLE_RATE)
    spectrum = (white[0] + 1j * white[1]) / np.sqrt(np.maximum(hertz, _PINK_FROM))
    return np.fft.irfft(spectrum, n).astype(np.float32)


@lru_cache(maxsize=1)
def _responses() -> tuple[NDArray[np.float64], ...]:
    """Return the impulse responses of a small room, from several places to one microphone, by image sources.

    Scheibler, Bezzam and Dokmanic, "Pyroomacoustics", 2018, https://arxiv.org/abs/1710.04196.
    """
    absorption, order = pyroomacoustics.inverse_sabine(RT60, _ROOM)
    room: Any = pyroomacoustics.ShoeBox(
        _ROOM, fs=SAMPLE_RATE, materials=pyroomacoustics.Material(absorption), max_order=order
    )
    rng = np.random.default_rng(0)
    for distance, angle, height in zip(
        rng.uniform(_NEAR, _FAR, _PLACES), rng.uniform(0, 2 * np.pi, _PLACES), rng.uniform(0, 0.4, _PLACES), strict=True
    ):
        offset = np.array([distance * np.cos(angle), distance * np.sin(angle), height])
        room.add_source(np.array(_MICROPHONE) + offset)
    room.add_microphone(_MICROPHONE)
    room.compute_rir()
    return tuple(room.rir[0])


def _recorded(wave: NDArray[Any]) -> Recording:
    """Return 16-bit samples, attenuated where they would be clipped."""
    return SAMPLE_RATE, _integers(wave / max(1.0, float(np.abs(wave).max())))


def _integers(wave: NDArray[Any]) -> NDArray[np.int16]:
    samples: NDArray[np.int16] = np.clip(np.rint(wave * _FULL_SCALE), -_FULL_SCALE, _FULL_SCALE - 1).astype(np.int16)
    return samples


def _rms(wave: NDArray[Any]) -> float:
    return float(np.sqrt(np.mean(np.square(wave, dtype=np.float64))))
