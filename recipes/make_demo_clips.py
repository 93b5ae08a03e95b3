"""Make the synthetic demo clips that the package ships, so that its first steps need no corpus and no network.

    python recipes/make_demo_clips.py --out ser_fewshot/assets/demo

espeak-ng speaks every sentence once per voice and emotion; an emotion is a set of prosody settings. The directions
(higher or lower, faster or slower, brighter or duller than the speaker's norm) follow Juslin and Laukka, "Communication
of emotions in vocal expression and music performance", 2003, https://doi.org/10.1037/0033-2909.129.5.770, and for
boredom Banse and Scherer, "Acoustic profiles in vocal emotion expression", 1996,
https://doi.org/10.1037/0022-3514.70.3.614. The sizes are ours, set by how well eight other voices of
espeak-ng are told apart. The same seed, espeak-ng and
libsndfile give the same bytes.
"""

from __future__ import annotations

import argparse
import csv
import io
import shutil
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from ser_fewshot.errors import SettingsError

Wave = NDArray[np.float64]

RATE = 16_000
"""Sample rate of the clips, in Hz."""
WORDS_PER_MINUTE = 180
"""Tempo of a voice whose tempo is 1, before the emotion changes it."""
COLUMNS = ("file", "emotion", "speaker", "corpus", "language", "gender", "text")
SENTENCES = ("The letter is lying on the table", "She put the blue cup by the window")


@dataclass(frozen=True, slots=True)
class Voice:
    """One espeak-ng voice with its own habits.

    Attributes:
        name: accent and variant. The accent must be a file of espeak-ng: "en+f1" is a voice of its own, but
            "en-gb+f1" silently drops the variant.
        pitch: level, in espeak-ng's steps of 0 to 99 around 50; a step is about 1 % of the frequency.
        tempo: factor on the speaking rate.
    """

    name: str
    gender: str
    pitch: int
    tempo: float

    @property
    def slug(self) -> str:
        """The name as a part of a file name."""
        return self.name.replace("+", "-")


@dataclass(frozen=True, slots=True)
class Prosody:
    """How one emotion is spoken, relative to the voice's norm.

    Attributes:
        pitch: steps of espeak-ng above the voice's level.
        span: pitch range, 50 is the voice's own, 0 is flat.
        tempo: factor on the speaking rate.
        gap: pause between words, in units of 10 ms.
        mark: the punctuation, which chooses espeak-ng's intonation contour.
        level: loudness, in dB relative to full scale (RMS).
        tilt: change of the spectral slope, in dB per octave; positive is brighter.
        breath: level of the breath noise, in dB relative to the speech.
        tremor: depth of the tremble of the pitch, in semitones.
    """

    pitch: float
    span: float
    tempo: float
    gap: int
    mark: str
    level: float
    tilt: float
    breath: float
    tremor: float

    def varied(self, rng: np.random.Generator) -> Prosody:
        """Return these settings as one clip has them: a little off, as no speaker repeats himself."""
        return replace(
            self,
            pitch=self.pitch + rng.uniform(-3, 3),
            span=self.span * rng.uniform(0.88, 1.12),
            tempo=self.tempo * rng.uniform(0.95, 1.05),
            level=self.level + rng.uniform(-2, 2),
            tilt=self.tilt + rng.uniform(-0.4, 0.4),
            breath=self.breath + rng.uniform(-2, 2),
            tremor=self.tremor * rng.uniform(0.8, 1.2),
        )


VOICES = (
    Voice("en+f1", "female", pitch=50, tempo=1.0),
    Voice("en-gb-scotland+f3", "female", pitch=40, tempo=0.94),
    Voice("en-us+f5", "female", pitch=56, tempo=1.08),
    Voice("en-us+Annie", "female", pitch=46, tempo=0.97),
    Voice("en-us+m1", "male", pitch=52, tempo=1.0),
    Voice("en-029+m6", "male", pitch=46, tempo=1.0),
    Voice("en-gb-x-rp+m5", "male", pitch=62, tempo=0.92),
    Voice("en+m7", "male", pitch=55, tempo=1.02),
)

EMOTIONS = {
    "anger": Prosody(pitch=2, span=40, tempo=1.15, gap=0, mark="!", level=-20, tilt=5.5, breath=-60, tremor=0),
    "boredom": Prosody(pitch=-14, span=6, tempo=0.74, gap=4, mark=".", level=-26, tilt=-1.0, breath=-60, tremor=0),
    "fear": Prosody(pitch=36, span=28, tempo=1.2, gap=0, mark=",", level=-26, tilt=0.5, breath=-13, tremor=1.0),
    "happiness": Prosody(pitch=46, span=92, tempo=0.93, gap=0, mark="?", level=-24, tilt=0.3, breath=-60, tremor=0),
    "sadness": Prosody(pitch=-4, span=26, tempo=0.86, gap=2, mark=".", level=-28, tilt=-3.5, breath=-22, tremor=0.15),
}


def speak(text: str, voice: Voice, prosody: Prosody) -> Wave:
    """Return speech of espeak-ng without silent ends, (samples,) at 16 kHz.

    Raises:
        SettingsError: espeak-ng is not installed, or it refused, for instance a voice that it lacks.
    """
    program = shutil.which("espeak-ng")
    if program is None:
        raise SettingsError(
            "espeak-ng",
            found="no such program",
            expected="the speech synthesiser on the PATH",
            remedy="Install it, for instance with: apt-get install espeak-ng",
        )
    words_per_minute = round(WORDS_PER_MINUTE * voice.tempo * prosody.tempo)
    pitch, span = (round(float(np.clip(value, 0, 99))) for value in (voice.pitch + prosody.pitch, prosody.span))
    ssml = f'<speak><prosody pitch="{pitch}" range="{span}">{text}{prosody.mark}</prosody></speak>'
    # At its full amplitude some voices clip; the level is set afterwards anyway.
    settings = ["-a", "50", "-v", voice.name, "-s", str(words_per_minute), "-g", str(prosody.gap)]
    done = subprocess.run([program, "-m", *settings, "--stdout", ssml], capture_output=True, check=False)  # noqa: S603
    if done.returncode != 0 or not done.stdout:
        message = done.stderr.decode(errors="replace").strip() or f"exit status {done.returncode} and no sound"
        raise SettingsError(
            f"espeak-ng -v {voice.name}",
            found=message,
            expected="a spoken sentence",
            remedy="Compare with the voices that `espeak-ng --voices` lists.",
        )
    samples, rate = soundfile.read(io.BytesIO(done.stdout))
    wave: Wave = soxr.resample(samples, rate, RATE)
    audible = np.flatnonzero(np.abs(wave) > 0.01 * np.abs(wave).max())
    return wave[audible[0] : audible[-1] + 1]


def tremble(wave: Wave, semitones: float, rng: np.random.Generator) -> Wave:
    """Return the clip with its pitch swinging by so many semitones, seven times a second, by bending the time axis."""
    hertz = rng.uniform(6, 8)
    depth = 2 ** (semitones / 12) - 1
    time = np.arange(wave.size) / RATE
    bent = time + depth / (2 * np.pi * hertz) * np.sin(2 * np.pi * hertz * time + rng.uniform(0, 2 * np.pi))
    return np.interp(bent, time, wave)


def tilted(wave: Wave, slope: float) -> Wave:
    """Return the clip with its spectrum tilted by `slope` dB per octave around 500 Hz."""
    hertz = np.fft.rfftfreq(wave.size, 1 / RATE)
    octaves = np.log2(np.maximum(hertz, 60) / 500)
    return np.fft.irfft(np.fft.rfft(wave) * 10 ** (slope * octaves / 20), wave.size)


def styled(wave: Wave, prosody: Prosody, rng: np.random.Generator) -> Wave:
    """Add what espeak-ng cannot do: tremor, breath, tilt, level, and 50 ms of silence at both ends."""
    wave = tremble(wave, prosody.tremor, rng)
    window = np.hanning(RATE // 50)
    envelope = np.convolve(np.abs(wave), window / window.sum(), mode="same")
    wave = wave + envelope * rng.normal(size=wave.size) * 10 ** (prosody.breath / 20)
    wave = tilted(wave, prosody.tilt)
    gain = 10 ** (prosody.level / 20) / np.sqrt(np.mean(wave**2))
    return np.pad(wave * min(gain, 0.9 / np.abs(wave).max()), RATE // 20)


def ogg(wave: Wave) -> bytes:
    """Return the clip as Ogg Vorbis, the same bytes for the same samples."""
    buffer = io.BytesIO()
    soundfile.write(buffer, wave, RATE, format="OGG", subtype="VORBIS", compression_level=0.6)
    return with_serial(buffer.getvalue(), serial=0)


def with_serial(stream: bytes, serial: int) -> bytes:
    """Return an Ogg stream under another serial number: libsndfile draws one from the clock.

    The page layout and its checksum are those of RFC 3533, https://www.rfc-editor.org/rfc/rfc3533#section-6.
    """
    data, start = bytearray(stream), 0
    while start < len(data):
        segments = data[start + 26]
        stop = start + 27 + segments + sum(data[start + 27 : start + 27 + segments])
        data[start + 14 : start + 18] = serial.to_bytes(4, "little")
        data[start + 22 : start + 26] = bytes(4)
        data[start + 22 : start + 26] = ogg_checksum(data[start:stop]).to_bytes(4, "little")
        start = stop
    return bytes(data)


def ogg_checksum(page: bytes | bytearray) -> int:
    """Return the CRC-32 of an Ogg page: polynomial 0x04c11db7, most significant bit first, which zlib's is not."""
    remainder = 0
    for byte in page:
        remainder ^= byte << 24
        for _ in range(8):
            remainder = (remainder << 1) ^ (0x104C11DB7 if remainder & 0x80000000 else 0)
    return remainder


def make(folder: Path, *, seed: int) -> list[dict[str, str]]:
    """Write every clip into the folder and return the rows of its table."""
    rows = []
    for e, (emotion, prosody) in enumerate(EMOTIONS.items()):
        for v, voice in enumerate(VOICES):
            for s, sentence in enumerate(SENTENCES):
                rng = np.random.default_rng((seed, e, v, s))
                varied = prosody.varied(rng)
                name = f"{emotion}_{voice.slug}_{s + 1}.ogg"
                (folder / name).write_bytes(ogg(styled(speak(sentence, voice, varied), varied, rng)))
                values = (name, emotion, voice.name, "demo", "eng", voice.gender, sentence)
                rows.append(dict(zip(COLUMNS, values, strict=True)))
    return rows


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Make the synthetic demo clips with espeak-ng.")
    parser.add_argument("--out", type=Path, required=True, help="folder for the clips and clips.csv")
    parser.add_argument("--seed", type=int, default=0, help="of the small variation between clips (default: 0)")
    chosen = parser.parse_args(arguments)
    chosen.out.mkdir(parents=True, exist_ok=True)
    try:
        rows = make(chosen.out, seed=chosen.seed)
    except SettingsError as error:
        sys.exit(str(error))
    with (chosen.out / "clips.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    print(f"{len(rows)} clips in {chosen.out}")


if __name__ == "__main__":
    main()
