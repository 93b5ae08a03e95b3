"""An episode, and what conventional and episodic splits keep apart."""

from __future__ import annotations

from collections.abc import Callable

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from _figures._style import BLUE, COLOURS, GREY, INK, box, canvas

CLASSES = ("anger", "fear", "sadness")
SUPPORT = ("A", "B")
QUERY = ("C", "D", "C")
EMOTIONS = ("anger", "calm", "happiness", "neutral", "sadness", "fear", "surprise")
N_SPEAKERS = 6
TRAIN, TEST = BLUE, "#d68910"


def episode() -> Figure:
    """3-way 2-shot: the support has labels, the query is to be named, and no speaker stands on both sides."""
    figure, (place,) = canvas(7.2, 3.0)
    gap = 0.6
    for row, label in enumerate(CLASSES):
        y = -row * 0.8
        place.text(-0.7, y, label, ha="right", va="center", color=COLOURS[label], fontweight="bold")
        for column, speaker in enumerate(SUPPORT):
            box(place, column, y, f"speaker {speaker}", colour=COLOURS[label])
        for column, speaker in enumerate(QUERY):
            box(place, len(SUPPORT) + gap + column, y, f"? speaker {speaker}", colour=GREY)
    middle = (len(SUPPORT) - 1) / 2
    place.text(middle, 0.65, "support: 2 shots, labels known", ha="center")
    right = len(SUPPORT) + gap + (len(QUERY) - 1) / 2
    place.text(right, 0.65, "query: 3 clips a class, to be named", ha="center")
    place.axvline(len(SUPPORT) - 0.5 + gap / 2, color=INK, linestyle=":", linewidth=1)
    place.text(-1.6, -0.8, "3 ways", rotation=90, ha="center", va="center")
    place.set(xlim=(-1.9, 5.2), ylim=(-2.1, 1.0))
    return figure


def splits() -> Figure:
    """Conventional: the same classes on both sides. Episodic: test classes and test speakers are new."""
    figure, places = canvas(9.0, 3.4, columns=2)
    _grid(places[0], "conventional: new clips", lambda row, column: TEST if (2 * row + 3 * column) % 5 == 4 else TRAIN)

    def episodic(row: int, column: int) -> str:
        new_class, new_speaker = row >= 5, column >= 4
        return TEST if new_class and new_speaker else GREY if new_class or new_speaker else TRAIN

    _grid(places[1], "episodic: new classes and new speakers", episodic)
    for colour, name in ((TRAIN, "training"), (TEST, "test"), (GREY, "not used")):
        places[1].plot([], [], "s", color=colour, label=name, markersize=9)
    figure.legend(loc="outside lower center", ncols=3, frameon=False)
    return figure


def _grid(place: Axes, title: str, colour_of: Callable[[int, int], str]) -> None:
    """Draw a cell for each emotion of each speaker."""
    for row, emotion in enumerate(EMOTIONS):
        place.text(-0.7, -row, emotion, ha="right", va="center")
        for column in range(N_SPEAKERS):
            place.plot(column, -row, "s", color=colour_of(row, column), markersize=15)
    for column in range(N_SPEAKERS):
        place.text(column, 0.8, f"{column + 1}", ha="center", va="center")
    place.text(-0.7, 0.8, "speaker", ha="right", va="center", style="italic")
    place.set(xlim=(-3.2, N_SPEAKERS - 0.3), ylim=(0.6 - len(EMOTIONS), 1.4))
    place.set_title(title, fontsize=10)
