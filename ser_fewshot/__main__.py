"""`python -m ser_fewshot`, as launchers of several processes start a module: the same as `ser-fewshot`."""

from __future__ import annotations

import sys

from ser_fewshot.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
