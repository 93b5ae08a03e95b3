"""Writing files atomically."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path

from ser_fewshot.errors import SettingsError

TEMPORARY = ".tmp"
"""The suffix of a file while it is written; one that stays was left by a process that was killed."""


def write_atomically(path: Path, content: bytes | str, *, durable: bool = True) -> None:
    """Write a file under a temporary name and rename it, so that no reader ever sees part of it.

    A link is followed. The old file stays if anything goes wrong.

    Args:
        path: of the file; missing parent folders are made.
        content: text is written as UTF-8.
        durable: wait for the disk, so that even after a power cut the old or the new content is there whole.

    Raises:
        SettingsError: the file cannot be written there; the path is a folder, or a device such as /dev/null; or the
            text is not valid Unicode.
    """
    try:
        body = content.encode() if isinstance(content, str) else content
        target = path.resolve()
        if target.exists() and not target.is_file():
            raise IsADirectoryError(0, "a folder" if target.is_dir() else "a device, which a file must not replace")
        if target.parent.is_file():
            raise NotADirectoryError(0, f"{path.parent}, which is not a directory")
        target.parent.mkdir(parents=True, exist_ok=True)
        _replace(target, body, durable=durable)
    except UnicodeEncodeError as error:
        raise _cannot_write(path, f"a name that is not valid Unicode: {error.object[error.start :]!a:.60}") from error
    except (OSError, ValueError, RuntimeError) as error:  # a null byte is a ValueError, a ring of links a RuntimeError
        found = error.strerror if isinstance(error, OSError) else str(error)
        raise _cannot_write(path, found or type(error).__name__) from error


def remove(path: Path) -> None:
    """Remove a file, if it is there.

    Raises:
        SettingsError: it cannot be removed.
    """
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise _cannot_write(path, error.strerror or type(error).__name__) from error


def _replace(target: Path, body: bytes, *, durable: bool) -> None:
    # A name of its own length: the target's may be as long as the file system allows.
    temporary = target.parent / f".{secrets.token_hex(8)}{TEMPORARY}"
    try:
        with temporary.open("xb") as file:
            file.write(body)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        temporary.replace(target)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def _cannot_write(path: Path, found: str) -> SettingsError:
    remedy = "Choose another place, or free it; what stood there before is untouched."
    return SettingsError(str(path), found=found, expected="a place that can be written", remedy=remedy)
