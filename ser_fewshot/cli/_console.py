"""What several commands print, and how: answers on stdout, notes and progress on stderr.

Of several processes the first one speaks; only of the files that it could not use, each may.
"""

from __future__ import annotations

import io
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from ser_fewshot.cli._text import as_json, counted, printable, words
from ser_fewshot.compute import distributed
from ser_fewshot.errors import DataWarning

if TYPE_CHECKING:  # what prints must not load torch: not every command needs it
    from ser_fewshot.corpora import Scan, Skipped
    from ser_fewshot.models import Model

_LISTED = 10
_ENDLESS = 100_000  # columns: wider than any row

T = TypeVar("T")


def say(line: str) -> None:
    """Print one line of the answer, at once, so that it is not held back behind the notes."""
    if distributed.is_main():
        sys.stdout.write(printable(line) + "\n")
        sys.stdout.flush()


def note(line: str) -> None:
    """Print one line beside the answer, which stays readable for a program."""
    if distributed.is_main():
        _complain(line)


def note_random(model: Model) -> None:
    """Warn of a model whose encoder lacks weights that it was trained with."""
    n_random = model.config.frontend_settings.get("random_weights", 0)
    if n_random:
        note(f"warning: {n_random} tensors of the encoder were missing at its import and are random: do not trust it")


def say_json(value: object) -> None:
    """Print a value for a program to read."""
    if distributed.is_main():
        sys.stdout.write(as_json(value) + "\n")


def say_table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table: as wide as a terminal, where long cells are folded; one line a row in a file or a pipe."""
    from rich import box  # noqa: PLC0415 - not every answer is a table
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(box=box.MARKDOWN)
    for name in header:
        table.add_column(Text(printable(name)), overflow="fold")
    for row in rows:
        # Text is printed as it is; a str would be searched for markup and emoji codes.
        table.add_row(*(Text(printable(cell)) for cell in row))
    text = io.StringIO()
    Console(file=text, width=None if sys.stdout.isatty() else _ENDLESS).print(table)
    for line in text.getvalue().strip().splitlines():
        say(line)


def report_skipped(skipped: Sequence[Skipped], *, rest: str) -> None:
    """Say on stderr how many files could not be used and why, list some, and say where the `rest` can be found."""
    if skipped:
        kinds = Counter(item.kind for item in skipped).most_common()
        _complain(f"{counted(len(skipped), 'file')} skipped: {words(dict(kinds))}")
    for item in sorted(skipped, key=_turn())[:_LISTED]:
        _complain(f"  {item.path}: {item.reason}")
    if len(skipped) > _LISTED:
        _complain(f"  and {len(skipped) - _LISTED} more; {rest}")


def _turn() -> Callable[[Skipped], int]:
    """Return a key that sorts the first of each kind before all second ones, so that a short list shows every kind."""
    counts: Counter[str] = Counter()

    def turn(item: Skipped) -> int:
        counts[item.kind] += 1
        return counts[item.kind]

    return turn


def warn(found: Scan) -> None:
    """Print what makes the clips of a scan doubtful beside the answer, such as that many of them are lost."""
    for sentence in found.warnings:
        note(f"warning: {sentence}")


@contextmanager
def noted() -> Iterator[None]:
    """Print warnings about the user's data as notes, without the line of code that Python adds to them."""
    with warnings.catch_warnings():
        warnings.simplefilter("always", DataWarning)
        show = warnings.showwarning

        def told(message: Warning | str, category: type[Warning], *rest: Any, **more: Any) -> None:
            note(f"warning: {message}") if category is DataWarning else show(message, category, *rest, **more)

        warnings.showwarning = told
        yield


def tracker(what: str) -> Callable[[Sequence[T]], Iterable[T]]:
    """Return what wraps a sequence in a progress bar on stderr, gone when it is done."""
    from rich.console import Console  # noqa: PLC0415 - as above
    from rich.progress import track  # noqa: PLC0415

    console = Console(stderr=True)
    hidden = not (console.is_terminal and distributed.is_main())  # in a file, a bar would leave empty lines
    return lambda items: track(items, description=what, console=console, transient=True, disable=hidden)


def _complain(line: str) -> None:
    sys.stderr.write(printable(line) + "\n")
