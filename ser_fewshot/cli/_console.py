"""Print: answers on stdout, notes and progress on stderr, and nothing that a terminal would obey.

Of several processes only the first one prints; only about files that it cannot use, each does.
"""

from __future__ import annotations

import argparse
import io
import json
import math
import sys
import unicodedata
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from ser_fewshot.compute import distributed
from ser_fewshot.errors import DataWarning

if TYPE_CHECKING:
    from ser_fewshot.corpora import Scan, Skipped
    from ser_fewshot.models import Model

_CONTROLS = {"Cc", "Cs"}  # control characters, and lone surrogates: bytes of a file name that are no text
_DIRECTIONS = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}  # they reorder what follows them
_LISTED = 10
_ENDLESS = 100_000  # columns: wider than any row

T = TypeVar("T")


def printable(text: object) -> str:
    """Return a text as one line: white space as spaces, without control characters and changes of direction.

    Joiners stay, which Persian words and emoji need.
    """
    return "".join(map(_printable, str(text)))


def _printable(char: str) -> str:
    if char.isspace():
        return " "
    obeyed = unicodedata.category(char) in _CONTROLS or unicodedata.bidirectional(char) in _DIRECTIONS
    return "\N{REPLACEMENT CHARACTER}" if obeyed else char


def counted(n: int, noun: str) -> str:
    """Return a number with its noun: "1 clip", "3 clips"."""
    return f"{n} {noun}{'' if n == 1 else 's'}"


def words(value: object) -> str:
    """Return a value of a card or a table as people read it."""
    if value is None:
        return "not stated"
    if isinstance(value, dict):
        return ", ".join(f"{name} {number}" for name, number in value.items())
    return " ".join(map(str, value)) if isinstance(value, tuple | list) else str(value)


def as_json(value: object) -> str:
    """Return a value as strict JSON in ASCII, with null for the infinite interval of a single episode."""
    return json.dumps(_finite(value), indent=1, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(part) for name, part in value.items()}
    if isinstance(value, tuple | list):
        return [_finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def say(line: str) -> None:
    """Print one line of the answer, at once, so that it is not held back behind the notes."""
    if distributed.is_main():
        sys.stdout.write(printable(line) + "\n")
        sys.stdout.flush()


def say_json(value: object) -> None:
    """Print the answer for a program."""
    if distributed.is_main():
        sys.stdout.write(as_json(value) + "\n")


def answer(arguments: argparse.Namespace, value: object, line: str) -> None:
    """Print the answer of a command: a value with --json, else a line."""
    say_json(value) if arguments.json else say(line)


def say_table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table: as wide as a terminal, where long cells are folded; one line a row in a file or a pipe."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.MARKDOWN)
    for name in header:
        table.add_column(Text(printable(name)), overflow="fold")
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))  # markup and emoji codes in a str would be interpreted
    text = io.StringIO()
    Console(file=text, width=None if sys.stdout.isatty() else _ENDLESS).print(table)
    for line in text.getvalue().strip().splitlines():
        say(line)


def note(line: str) -> None:
    """Print one line beside the answer, which stays readable for a program."""
    if distributed.is_main():
        _print_note(line)


def note_random(model: Model) -> None:
    """Warn of a model whose encoder lacks weights that it was trained with."""
    n_random = model.config.frontend_settings.get("random_weights", 0)
    if n_random:
        note(f"warning: {n_random} tensors of the encoder were missing at its import and are random: do not trust it")


def note_warnings(found: Scan) -> None:
    """Print what makes the clips of a scan doubtful, such as that many of them are lost."""
    for sentence in found.warnings:
        note(f"warning: {sentence}")


def note_skipped(skipped: Sequence[Skipped], *, rest: str) -> None:
    """Print how many files could not be used and why, list some, and say where the `rest` can be found."""
    turns: Counter[str] = Counter()

    def turn(item: Skipped) -> int:
        turns[item.kind] += 1
        return turns[item.kind]

    if skipped:
        kinds = Counter(item.kind for item in skipped).most_common()
        _print_note(f"{counted(len(skipped), 'file')} skipped: {words(dict(kinds))}")
    for item in sorted(skipped, key=turn)[:_LISTED]:  # the first of each kind, then all second ones, ...
        _print_note(f"  {item.path}: {item.reason}")
    if len(skipped) > _LISTED:
        _print_note(f"  and {len(skipped) - _LISTED} more; {rest}")


@contextmanager
def data_warnings_as_notes() -> Iterator[None]:
    """Print warnings about the user's data as notes, without the line of code that Python adds to them."""
    with warnings.catch_warnings():
        warnings.simplefilter("always", DataWarning)
        show = warnings.showwarning

        def noted(message: Warning | str, category: type[Warning], *rest: Any, **more: Any) -> None:
            note(f"warning: {message}") if category is DataWarning else show(message, category, *rest, **more)

        warnings.showwarning = noted
        yield


def tracker(description: str) -> Callable[[Sequence[T]], Iterable[T]]:
    """Return a wrapper of sequences that shows a progress bar on stderr, gone when it is done."""
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    hidden = not (console.is_terminal and distributed.is_main())  # in a file, a bar would leave empty lines
    return lambda items: track(items, description=description, console=console, transient=True, disable=hidden)


def _print_note(line: str) -> None:
    sys.stderr.write(printable(line) + "\n")
