"""Tell what is installed and works, what is missing, what is broken, and what to do about it."""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict

from ser_fewshot import __version__
from ser_fewshot.cli._checks import findings
from ser_fewshot.cli._text import as_json, printable

_BROKEN = 1


def run(arguments: argparse.Namespace) -> None:
    """Print a line for each part, and leave with exit code 1 if the program cannot be used as it is.

    Nothing is printed through the library's own console: what that needs may be what is broken.
    """
    found = []
    for finding in findings(arguments.cache):
        found.append(finding)
        if not arguments.json:
            remedy = f"\n{'':9}-> {printable(finding.remedy)}" if finding.remedy else ""
            sys.stdout.write(f"{finding.state:8} {printable(f'{finding.name}: {finding.found}')}{remedy}\n")
            sys.stdout.flush()
    broken = sum(finding.state == "broken" for finding in found)
    if arguments.json:
        told = {"version": __version__, "usable": not broken, "findings": [asdict(finding) for finding in found]}
        sys.stdout.write(as_json(told) + "\n")
    else:
        verdict = f"{broken} broken: see what to do above" if broken else "it can be used"
        sys.stdout.write(f"ser-fewshot {__version__}: {verdict}\n")
    if broken:
        raise SystemExit(_BROKEN)
