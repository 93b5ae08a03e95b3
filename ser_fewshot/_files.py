"""Writing files so that they are there whole or not at all."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path

from ser_fewshot.errors import SettingsError


def write_atomically(path: Path, content: bytes | str, *, durable: bool = True) -> None:
    """Write a file under a temporary name and rename it, so that no reader ever sees part of it.

    Args:
        path: where it goes; missing parent folders are made.
        content: text is written as UTF-8.
        durable: wait until the disk has it, so that it also survives a power cut.

    Raises:
        SettingsError: the file cannot be written there.
    """
    body = content.encode() if isinstance(content, str) else content
    temporary = path.parent / f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("xb") as file:
            file.write(body)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise SettingsError(
            str(path),
            found=error.strerror or type(error).__name__,
            expected="a place that can be written",
            remedy="Choose another place, or free it; what stood there before is untouched.",
        ) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
