"""The parser of the command line: one line for a mistake, with the word that was probably meant, and no web address."""

from __future__ import annotations

import argparse
import difflib
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from ser_fewshot.cli._console import printable
from ser_fewshot.errors import SettingsError
from ser_fewshot.storage.paths import remedy_for, url_in

_USER_ERROR = 2
_CLOSE = 0.75  # of difflib's ratio: "--nway" is --n-way, and "--shell" is not --help


class Parser(argparse.ArgumentParser):
    """Reports a wrong option in one line, where argparse prints its usage too.

    argparse suggests a word itself from Python 3.14 on, with `suggest_on_error`.
    """

    def error(self, message: str) -> NoReturn:
        """Leave with exit code 2."""
        self.exit(_USER_ERROR, f"ser-fewshot: {printable(message)}; see '{self.prog} --help'\n")

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Refuse unknown options of a command here, so that its own help is named and its own options are suggested."""
        found, unknown = super().parse_known_args(args, namespace)
        if unknown:
            options = [option for action in self._actions for option in action.option_strings]
            hints = (_suggestion(word.partition("=")[0], options) for word in unknown if word.startswith("-"))
            self.error(f"unrecognized arguments: {' '.join(unknown)}{next(filter(None, hints), '')}")
        return found, unknown

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        try:
            super()._check_value(action, value)
        except argparse.ArgumentError as error:
            hint = _suggestion(str(value), map(str, action.choices or ()))
            raise argparse.ArgumentError(action, error.message + hint) from None


def _suggestion(word: str, known: Iterable[str]) -> str:
    """Return a question with the known word that is most like another one, or nothing."""
    close = difflib.get_close_matches(word.lower(), known, n=1, cutoff=_CLOSE)
    return f". Did you mean '{close[0]}'?" if close else ""


def check_paths(arguments: argparse.Namespace) -> None:
    """Refuse web addresses, which would become folders, and empty paths, which would be the current folder."""
    values = [item for value in vars(arguments).values() for item in (value if isinstance(value, list) else [value])]
    for path in (value for value in values if isinstance(value, Path)):
        url, empty = url_in(path), path == Path() and "" in arguments.argv and "." not in arguments.argv
        if url or empty:
            raise SettingsError(
                arguments.command,
                found=f"the address {url}" if url else "an empty path",
                expected="a file or a folder of this machine",
                remedy=remedy_for(path, "Name it; a variable of the shell may be empty."),
            )


def as_options(sentence: str, parser: argparse.ArgumentParser | None) -> str:
    """Replace settings of the library in a sentence by the options of a command: n_way -> --n-way."""
    for action in parser._actions if parser else ():
        if "_" in action.dest and action.option_strings:
            setting = rf"(?<![\w./\\'\"-]){action.dest}(?![\w/\\]|\.\w)"
            sentence = re.sub(setting, action.option_strings[0], sentence)
    return sentence
