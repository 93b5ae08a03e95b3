"""What it is worth to know the voice of the query speaker: UAR without the offset, with it, and the gain."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from _tables._text import RESULTS, percent, read, table

SUPPORTS = ("many enrolled", "one enrolled", "the speaker enrolled")
FILE = "listened_voice.json"


def by_clips(folder: Path = RESULTS) -> str:
    """Every number and kind of clips, and sessions, by who is enrolled."""
    return _gains(folder, lambda name: name.startswith(SUPPORTS))


def by_condition(folder: Path = RESULTS) -> str:
    """Queries and context through noise and telephone."""
    return _gains(folder, lambda name: name.startswith(("noise", "telephone")))


def by_embedding(folder: Path = RESULTS) -> str:
    """The default model beside other embeddings."""
    wanted = ("many enrolled, 8 clips", "many enrolled, session")
    return _gains(folder, lambda name: name.endswith(wanted) and not name.startswith(("noise", "telephone")))


def _gains(folder: Path, wanted: Callable[[str], bool]) -> str:
    path = folder / FILE
    if not path.exists():
        return "Not measured yet: `uv run python recipes/listened_voice.py --corpora DIR`\n"
    result = read(path)
    corpora = result["corpora"]
    names = [name for name in dict.fromkeys(row for rows in corpora.values() for row in rows) if wanted(name)]
    rows = [[name, *(_cell(of.get(name)) for of in corpora.values())] for name in names]
    shown = [of[name] for of in corpora.values() for name in names if name in of]
    episodes, chance = (sorted({row[key] for row in shown}) for key in ("episodes", "chance"))
    heads = [corpus + _mark(result, corpus) for corpus in corpora]
    caption = (
        f"UAR in %, without the offset of the voice → with it (gain, paired, with its 95 % CI); "
        f"4-way 5-shot by emotion, {', '.join(map(str, episodes))} episodes, "
        f"chance {', '.join(f'{100 * one:.1f}' for one in chance)}. `{result['command']}`\n\n"
    )
    return caption + table(["", *heads], rows)


def _cell(row: Mapping[str, Any] | None) -> str:
    if row is None:
        return "-"
    gain = f"{100 * row['gain']['mean']:+.1f} ± {100 * row['gain']['ci95']:.1f}"
    return f"{percent(row['plain'])} → {percent(row['uar'])} ({gain})"


def _mark(result: Mapping[str, Any], corpus: str) -> str:
    return " (in the training set)" if result.get("models", {}).get(corpus, {}).get("had_heard_it") else ""
