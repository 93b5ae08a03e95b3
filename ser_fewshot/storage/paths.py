"""Descriptions of what lies at a path, for errors where something else is needed."""

from __future__ import annotations

import re
from pathlib import Path

_URL = re.compile(r"(?:^|/)((?:https?|ftp|s3|gs|hf):)/+(.+)", re.DOTALL)  # a Path keeps one of the two slashes
_KINDS = (
    (0, rb"RIFF....WAVE|fLaC|OggS|ID3|\xff[\xe2-\xfb]|FORM....AIF|caff|\.snd|RF64", "a sound file"),
    (0, rb"PK\x03\x04|\x1f\x8b|Rar!|7z\xbc\xaf", "an archive"),
    (4, rb"\0\0\0\0\{", "a safetensors file, as an enrolment is"),  # behind a length of 8 bytes, less than 4 GiB
)
"""Offset and pattern of the bytes that identify a kind of file, and its name."""
_HEAD = 512  # bytes: enough for all of them, and to recognise text


def url_in(path: Path | str) -> str | None:
    """Return the address that was given as a path, with both of its slashes; None if it is a path."""
    found = _URL.search(str(path))
    return None if found is None or Path(path).exists() else f"{found[1]}//{found[2]}"


def what_is(path: Path) -> str:
    """Return what stands at a path: "no such file", "a folder", "a sound file", "an empty file", ..."""
    if (url := url_in(path)) is not None:
        return f"the address {url}"
    try:
        if not path.is_file():
            return "a folder" if path.is_dir() else "a device or a pipe" if path.exists() else "no such file"
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except OSError as error:
        return f"a path that cannot be opened ({error.strerror})"
    kinds = (kind for offset, begins, kind in _KINDS if re.match(begins, head[offset:], re.DOTALL))
    other = "a file of another kind" if b"\0" in head else "a text file"
    return next(kinds, other if head else "an empty file")


def check_is_file(path: Path) -> None:
    """Refuse what is not a file; a pipe would be read for ever.

    Raises:
        OSError: it is something else, which the error names.
    """
    if not path.is_file():
        raise OSError(what_is(path))


def remedy_for(path: Path, otherwise: str) -> str:
    """Return the remedy for a wrong path: addresses have to be downloaded first."""
    return "Addresses are not read: download it first, and give the file." if url_in(path) else otherwise
