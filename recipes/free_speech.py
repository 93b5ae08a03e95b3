"""Collect free speech in many languages, for training without labels.

Debian packages hold thousands of short recordings under free licences: words and letters read to children in many
languages (KLettres, KTuberling, Tux Paint), telephone prompts in five (Asterisk), and voices that shout, jeer and mourn
(Hedgewars, MegaGlest, 0 A.D., OpenArena). Silence is trimmed, long recordings are cut, and 16 kHz FLAC is written
with a manifest. Needs Debian or Ubuntu (apt-get, dpkg-deb), about 4 GB of room, and the network; nothing is installed.

    uv run --with av python recipes/free_speech.py --out runs/free_speech
"""

from __future__ import annotations

import argparse
import csv
import io
import subprocess
import tempfile
import zipfile
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import av  # type: ignore[import-not-found]  # not a dependency: this recipe is run with it
import librosa
import numpy as np
import soundfile
from numpy.typing import NDArray
from rich.progress import track

from ser_fewshot.storage.files import write_atomically

PACKAGES = {
    "klettres-data": "*",
    "ktuberling-data": "*",
    "tuxpaint-stamps-default": "*",
    "hedgewars-data": "*/voices/*",
    "0ad-data": "*/voice/*",
    "megaglest-data": "*/units/*",
    "openarena-data": "*/player/*",
    "openarena-081-misc": "*/player/*",
    "openarena-081-players-mature": "*/player/*",
    **{f"asterisk-core-sounds-{language}-g722": "*" for language in ("en", "es", "fr", "it", "ru")},
}
"""Package -> the pattern of its voice files."""
SOUNDS = (".ogg", ".wav", ".opus", ".g722")
ARCHIVES = (".zip", ".pk3")
RATE = 16_000
PIECE = 6 * RATE  # samples
LEAST = 7 * RATE // 20  # 0.35 s, which is still long enough at 1.25 times the speed
QUIET = 1e-3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    out: Path = parser.parse_args().out
    table = io.StringIO()
    rows = csv.writer(table)
    rows.writerow(("file", "emotion", "speaker", "corpus"))
    seconds = 0.0
    for package, pattern in PACKAGES.items():
        for name, sound in track(sorted(sounds(package, pattern)), description=package):
            for number, piece in enumerate(pieces(sound)):
                path = out / package / f"{name.replace('/', '_')}-{number}.flac"
                path.parent.mkdir(parents=True, exist_ok=True)
                soundfile.write(path, piece, RATE)
                rows.writerow((path.relative_to(out).as_posix(), "", "", package))
                seconds += len(piece) / RATE
    write_atomically(out / "manifest.csv", table.getvalue())
    print(f"{seconds / 3600:.1f} hours: {out / 'manifest.csv'}")


def sounds(package: str, pattern: str) -> Iterator[tuple[str, bytes]]:
    """Yield the name and the bytes of every voice in a package, from the archives in it too."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["apt-get", "download", package], cwd=folder, check=True, capture_output=True)  # noqa: S603, S607
        (archive,) = Path(folder).glob("*.deb")
        subprocess.run(["dpkg-deb", "-x", str(archive), f"{folder}/x"], check=True)  # noqa: S603, S607
        root = Path(folder) / "x"
        for path in sorted(path for path in root.rglob("*") if path.is_file() and not path.is_symlink()):
            name = path.relative_to(root).as_posix()
            if path.suffix in SOUNDS and fnmatch(name, pattern):
                yield name, path.read_bytes()
            elif path.suffix in ARCHIVES:
                with zipfile.ZipFile(path) as inner:
                    for member in inner.namelist():
                        if member.endswith(SOUNDS) and fnmatch(member, pattern):
                            yield f"{name}/{member}", inner.read(member)


def pieces(sound: bytes) -> Iterator[NDArray[np.float32]]:
    """Yield a recording without its silent ends, in pieces of at most PIECE samples."""
    try:
        wave, _ = librosa.effects.trim(decoded(sound), top_db=40, frame_length=400, hop_length=160)
    except (av.error.FFmpegError, IndexError, ValueError):
        return  # a few files hold no sound
    for start in range(0, len(wave), PIECE):
        piece = wave[start : start + PIECE]
        peak = float(np.abs(piece).max(initial=0))
        if len(piece) >= LEAST and peak > QUIET:
            yield (piece / max(1.0, peak)).astype(np.float32)  # two equal channels add up to more than full scale


def decoded(sound: bytes) -> NDArray[np.float32]:
    """Decode anything that ffmpeg can, (samples,) at RATE."""
    resampler = av.AudioResampler(format="flt", layout="mono", rate=RATE)
    with av.open(io.BytesIO(sound)) as container:
        parts = [part.to_ndarray()[0] for frame in container.decode(audio=0) for part in resampler.resample(frame)]
    parts += [part.to_ndarray()[0] for part in resampler.resample(None)]
    return np.concatenate(parts).astype(np.float32)


if __name__ == "__main__":
    main()
