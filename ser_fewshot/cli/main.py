"""The command line: parse the options, run the command, print an error in one line.

Each command is a module of this folder: its first line is its help, `add_options` adds its options, `run` runs it. Only
`run` imports the library, so that help and completion load neither torch nor a model.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
import traceback
from collections.abc import Sequence

from ser_fewshot import __version__
from ser_fewshot.cli import (
    benchmark,
    cache,
    completion,
    convert,
    corpora,
    demo,
    doctor,
    enroll,
    evaluate,
    export,
    extract,
    import_,
    listen,
    predict,
    pull,
    push,
    quickstart,
    report,
    scan,
    train,
)
from ser_fewshot.cli._console import printable
from ser_fewshot.cli._parser import Parser, as_options, check_paths
from ser_fewshot.compute import distributed
from ser_fewshot.errors import SerFewshotError

_BASICS = (quickstart, corpora, scan, train, evaluate, import_, enroll, listen, predict, demo, export, cache, extract)
_OTHERS = (benchmark, report, push, pull, convert, completion, doctor)
COMMANDS = {module.__name__.rpartition(".")[2].rstrip("_"): module for module in (*_BASICS, *_OTHERS)}
"""The module of each command, in the order of the help."""

_USER_ERROR = 2
_INTERRUPTED = 128 + 2  # what a shell reports of a program that SIGINT ended
_BROKEN_PIPE = 128 + 13  # and of one that SIGPIPE ended


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code: 0, or 2 with one line on stderr that says what to do."""
    given = sys.argv[1:] if argv is None else list(argv)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # not every encoding has ± and every label
    arguments = argparse.Namespace()
    try:
        try:
            parser = _parser()
            parser.parse_args(given, arguments)
            arguments.argv, arguments.parser = given, parser
            check_paths(arguments)
            with distributed.ended_by_sigterm():
                COMMANDS[arguments.command].run(arguments)
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        _drop_stdout()  # the reader went away, as `head` does: nothing to say, and nobody to say it to
        return _BROKEN_PIPE
    except (Exception, KeyboardInterrupt) as error:
        if "--debug" in given:
            traceback.print_exc()
        code, message = _explain(error)
        sys.stderr.write(f"ser-fewshot: {printable(as_options(message, getattr(arguments, 'own', None)))}\n")
        return code
    return 0


def _parser() -> Parser:
    parser = Parser(
        prog="ser-fewshot",
        description="Few-shot speech emotion recognition: teach a machine a new emotion from five clips.",
    )
    parser.add_argument("--version", action="version", version=f"ser-fewshot {__version__}")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, module in COMMANDS.items():
        summary = (module.__doc__ or "").partition("\n")[0].rstrip(".")
        own = commands.add_parser(name, help=summary[:1].lower() + summary[1:])
        module.add_options(own)
        # Accepted after the command too, where people type it; SUPPRESS keeps what stood before it.
        own.add_argument("--debug", action="store_true", default=argparse.SUPPRESS, help=argparse.SUPPRESS)
        own.set_defaults(own=own)
    return parser


def _explain(error: BaseException) -> tuple[int, str]:
    """Return the exit code of an error and its sentence."""
    if isinstance(error, KeyboardInterrupt):
        return _INTERRUPTED, "stopped"
    if isinstance(error, OSError):
        _drop_stdout()
    if isinstance(error, SerFewshotError | OSError):
        return _USER_ERROR, str(error)
    return _USER_ERROR, f"internal error: {type(error).__name__}: {error} (please report what it prints with --debug)"


def _drop_stdout() -> None:
    """Discard what could not be written to stdout; else Python complains of it once more at its exit."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    sys.exit(main())
