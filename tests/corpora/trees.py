"""Small corpora that are made on the spot: valid clips under given names."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import soundfile as sf

FORMATS = {".flac": "FLAC", ".mp3": "MP3", ".ogg": "OGG", ".opus": "OGG", ".aiff": "AIFF"}


def plant(root: Path, names: Iterable[str]) -> Path:
    """Write half a second of sound under each name and return the root."""
    tone = 0.3 * np.sin(np.arange(8_000) / 10)
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        suffix = path.suffix.lower()
        subtype = "OPUS" if suffix == ".opus" else None
        sf.write(path, tone, 16_000, format=FORMATS.get(suffix, "WAV"), subtype=subtype)
    return root
