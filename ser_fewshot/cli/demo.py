"""Open a page on which emotions are enrolled and recognised live."""

from __future__ import annotations

import argparse
import importlib.util
import ipaddress
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ser_fewshot.cli._console import note, say
from ser_fewshot.cli._options import add_shared, count
from ser_fewshot.errors import SettingsError

ACCOUNTS = "SER_FEWSHOT_AUTH"
"""The environment variable that may hold accounts, so that no list of processes shows them."""

_PACKAGE = Path(__file__).parents[1]
_LAST_PORT = 2**16 - 1


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `demo`."""
    add = parser.add_argument
    add("--port", type=_port, help="default: the first free one from 7860")
    add("--host", default="127.0.0.1", help="address to listen on (default: this machine only)")
    add("--auth", nargs="+", default=[], metavar="USER:PASSWORD", help="who may open it; also in SER_FEWSHOT_AUTH")
    add("--auth-file", type=Path, metavar="FILE", help="accounts, one USER:PASSWORD a line")
    add("--store", type=Path, metavar="DIR", help="keep profiles here (default: nothing is kept)")
    add_shared(parser, "--model")


def _port(text: str) -> int:
    if (number := count(text)) > _LAST_PORT:
        raise argparse.ArgumentTypeError(f"found {number}; expected a port from 1 to {_LAST_PORT}")
    return number


def run(arguments: argparse.Namespace) -> None:
    """Serve until the program is interrupted, by Ctrl+C or SIGTERM."""
    launch = _launch()
    accounts = _accounts(arguments.auth, arguments.auth_file, os.environ.get(ACCOUNTS, ""))
    if not (accounts or _is_loopback(arguments.host)):
        note(
            "warning: everybody who can reach this machine can open the page; --auth or --auth-file asks for a password"
        )
    with (
        _ended_by_signals(),
        launch.served(
            host=arguments.host, port=arguments.port, auth=accounts, store=arguments.store, model=arguments.model
        ) as address,
    ):
        if arguments.store is not None and not accounts:
            note(
                f"warning: all visitors share the profiles in {arguments.store}, and may replace and delete them; "
                "--auth or --auth-file gives each user his own"
            )
        say(f"The page is at {address} (Ctrl+C ends it)")
        threading.Event().wait()


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Let SIGTERM, which ends services and containers, end the page as Ctrl+C does: nothing uploaded stays behind.

    SIGINT is set too, since a shell lets a program in its background ignore it.
    """
    before = {one: signal.signal(one, signal.default_int_handler) for one in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


def _launch() -> Any:
    """Import the launcher of the demo: a part of an installed package, or the folder `app` beside it in a checkout."""
    name, folder = "ser_fewshot.app", _PACKAGE.parent / "app"
    if importlib.util.find_spec(name) is None:
        spec = importlib.util.spec_from_file_location(
            name, folder / "__init__.py", submodule_search_locations=[str(folder)]
        )
        if spec is None or spec.loader is None or not folder.is_dir():
            raise SettingsError(
                "demo",
                found="no page beside the package",
                expected=str(folder),
                remedy="Install the package again, or run from the root of a checkout.",
            )
        module = sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return importlib.import_module(f"{name}.launch")


def _accounts(given: list[str], file: Path | None, variable: str) -> list[tuple[str, str]]:
    """Return (user, password) of every account that was named by option, file (one a line) or variable."""
    lines = [*given, *variable.splitlines()]
    if file is not None:
        try:
            lines += file.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(
                str(file), found=str(error), expected="a text file", remedy="Write one USER:PASSWORD a line."
            ) from error
    accounts = [tuple(line.strip().partition(":")[::2]) for line in lines if line.strip()]
    if not all(user and password for user, password in accounts):
        raise SettingsError(
            "accounts",
            found="a line without a user or a password",
            expected="USER:PASSWORD",
            remedy="Give each account a user, a colon and a password.",
        )
    return [(user, password) for user, password in accounts]


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
