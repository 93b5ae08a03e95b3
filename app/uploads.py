"""The temporary folder of uploaded and saved files: removed with the program, however that ends."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

if sys.platform != "win32":  # there, a folder that a killed program left stays until somebody removes it
    import fcntl

PREFIX = "ser-fewshot-"
_LOCK = ".running"


@contextmanager
def folder() -> Iterator[Path]:
    """Make a folder of this program's own, removed at the end; remove those of killed programs.

    A program that lives holds the lock of its folder: its process id might be another's by now.
    """
    _remove_abandoned()
    with tempfile.TemporaryDirectory(prefix=PREFIX) as made, _locked(Path(made)):
        yield Path(made)


def subfolder() -> Path:
    """Make a folder for one file that a visitor saves; gradio deletes the file in some minutes, as it does uploads."""
    home = Path(os.environ.get("GRADIO_TEMP_DIR", tempfile.gettempdir()))  # gradio goes by it too
    home.mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(dir=home))


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    # Under its name only once it is locked, or another program that starts now might take it for a dead one's.
    new = folder / f"{_LOCK}.new"
    with new.open("wb") as file:
        if sys.platform != "win32":
            fcntl.flock(file, fcntl.LOCK_EX)
        new.rename(folder / _LOCK)
        yield


def _remove_abandoned() -> None:
    """Remove this user's folders whose program was killed."""
    if sys.platform == "win32":
        return
    for folder in sorted(Path(tempfile.gettempdir()).glob(f"{PREFIX}*")):
        with suppress(OSError):  # locked by a program that lives, gone by now, or none of ours
            if folder.is_symlink() or folder.lstat().st_uid != os.getuid():
                continue
            with (folder / _LOCK).open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder)
