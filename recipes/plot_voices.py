"""Draw the gain from knowing a voice against the number of clips, by corpus and by who is enrolled.

    uv run python recipes/plot_voices.py

Reads what recipes/listened_voice.py wrote; writes docs/voices.svg.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from _figures._style import by_corpus
from _voices import NUMBERS, clips_of

from ser_fewshot.storage.files import write_atomically

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "listened_voice.json"
FIGURE = HERE.parent / "docs" / "voices.svg"
LOOKS = {"many enrolled": ("tab:blue", "o"), "one enrolled": ("tab:orange", "s")}
PLACES = (*map(clips_of, NUMBERS), "session")


def main() -> None:
    result = json.loads(RESULTS.read_text(encoding="utf-8"))
    write_atomically(FIGURE, drawn(result["corpora"]))


def drawn(corpora: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the figure as SVG: axes for each corpus, a line for each kind of support."""
    return by_corpus(
        corpora, draw, size=(3.0, 3.4), label="gain in UAR, points", legend="speakers enrolled", salt="voices"
    )


def draw(place: Any, rows: Mapping[str, Any]) -> None:
    """Draw the gain with its interval for each number of clips, and apart from these for a session."""
    for support, (colour, marker) in LOOKS.items():
        found = {
            at: rows[f"{support}, {name}"]["gain"] for at, name in enumerate(PLACES) if f"{support}, {name}" in rows
        }
        for part in ([at for at in found if at < len(NUMBERS)], [at for at in found if at == len(NUMBERS)]):
            mean, half = (np.array([found[at][key] for at in part]) for key in ("mean", "ci95"))
            label = support.removesuffix(" enrolled") if part and part[0] == 0 else None
            place.errorbar(part, 100 * mean, 100 * half, color=colour, marker=marker, markersize=4, label=label)
    place.axhline(0, color="black", linewidth=0.5, linestyle="--")
    place.set_xticks(range(len(PLACES)), [*map(str, NUMBERS), "session"], fontsize="small")
    place.set_xlabel("clips listened to")


if __name__ == "__main__":
    main()
