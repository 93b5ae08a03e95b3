"""What is taken for a voice: speech under each condition, other sounds, and what the detector before made of them."""

from __future__ import annotations

from typing import Any

from _tables._text import RESULTS, read, table


def speech() -> str:
    """Return how much speech is not taken for a voice, a column a corpus, before and now."""
    before, now = (result["corpora"] for result in _results())
    clips = next(iter(now["emodb"].values()))["clips"]
    rows = [
        [at, *(f"{_percent(1 - before[one][at]['voice'])} → {_percent(1 - now[one][at]['voice'])}" for one in now)]
        for at in now["emodb"]
    ]
    caption = f"Speech that is called no voice, in %, 0.1.0 → now; {clips} clips of each corpus.\n\n"
    return caption + table(["", *now], rows)


def sounds() -> str:
    """Return how many of other sounds are taken for a voice, and what asking costs, before and now."""
    before, now = _results()
    kinds = [
        [kind, f"{row['clips']}", *(_percent(result["sounds"][kind]["voice"]) for result in (before, now))]
        for kind, row in now["sounds"].items()
    ]
    cost = [
        f"{1000 * result['cost']['median_s']:.0f} ms of processor time for {result['cost']['seconds']:g} s"
        for result in (before, now)
    ]
    caption = "Sounds that are called a voice, in %. Demo clips, laughter and shouts should be, the others not.\n\n"
    first = f"{1000 * now['cost']['first_s']:.0f} ms for the first clip and {now['cost']['mib']:.0f} MiB"
    return caption + table(["", "sounds", "0.1.0", "now"], kinds) + f"\nBefore, {cost[0]}; now, {cost[1]}, {first}.\n"


def _results() -> tuple[dict[str, Any], dict[str, Any]]:
    return read(RESULTS / "voice_activity_0.1.0.json"), read(RESULTS / "voice_activity.json")


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"
