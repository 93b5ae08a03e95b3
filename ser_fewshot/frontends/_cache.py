"""Features on disk, so that a clip is analysed once.

An entry is one file, named by the content of the clip and by every setting that changes values. It is renamed into its
place, so that a reader, or a second process writing the same entry, sees all of it or nothing. It begins with a
digest of the rest, so that a damaged one is noticed and computed again.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import platformdirs
import torch
from numpy.typing import NDArray

from ser_fewshot.errors import SettingsError
from ser_fewshot.frontends._features import halved
from ser_fewshot.storage.files import TEMPORARY, write_atomically

_DIGEST_BYTES = 16
_SUFFIX = ".npy"


def default_directory() -> Path:
    """Return where this user's operating system keeps caches, or SER_FEWSHOT_CACHE where that is set."""
    chosen = os.environ.get("SER_FEWSHOT_CACHE", "").strip()
    return Path(chosen).expanduser() if chosen else Path(platformdirs.user_cache_dir("ser_fewshot", appauthor=False))


class FeatureCache:
    """Features of one front-end by the content of their clip.

    Args:
        directory: the root of the caches of all front-ends.
        identity: all settings that decide the values of the front-end's output.
    """

    def __init__(self, directory: Path, identity: Mapping[str, object]) -> None:
        settings = json.dumps(identity, sort_keys=True)
        self.identity = dict(identity)
        self.root = directory
        self.directory = directory / "features" / hashlib.sha256(settings.encode()).hexdigest()[:16]

    def read(self, key: str) -> NDArray[np.float32] | None:
        """Return the entry of a clip, or None if it is absent or damaged."""
        try:
            content = self._path(key).read_bytes()
        except OSError:
            return None
        digest, body = content[:_DIGEST_BYTES], content[_DIGEST_BYTES:]
        if _digest(body) != digest:
            return None
        array: NDArray[np.generic] = np.load(io.BytesIO(body), allow_pickle=False)
        return array.astype(np.float32, copy=False)

    def write(self, key: str, array: NDArray[np.float32]) -> None:
        """Keep the entry of a clip, in half precision where that loses nothing.

        Raises:
            SettingsError: it cannot be written there.
        """
        buffer = io.BytesIO()
        np.save(buffer, halved(torch.from_numpy(array)).numpy(), allow_pickle=False)
        body = buffer.getvalue()
        try:
            # Not durable: an entry that a power cut damages is computed again.
            write_atomically(self._path(key), _digest(body) + body, durable=False)
        except SettingsError as error:
            raise _unusable(self.root, error) from error

    def _path(self, key: str) -> Path:
        # Two letters of the key as a folder keep listings short on corpora of a million clips.
        return self.directory / key[:2] / f"{key}{_SUFFIX}"


def size(directory: Path) -> tuple[int, int]:
    """Return (entries, bytes) of everything cached under a root.

    Raises:
        SettingsError: a folder of the cache cannot be listed.
    """
    sizes = []
    for path in _files(directory):
        with contextlib.suppress(FileNotFoundError):  # another process may be clearing
            sizes += [path.stat().st_size] if path.suffix == _SUFFIX else []
    return len(sizes), sum(sizes)


def clear(directory: Path) -> None:
    """Remove every cached feature under a root, and nothing else.

    Raises:
        SettingsError: one cannot be removed.
    """
    files = list(_files(directory))
    try:
        for path in files:
            path.unlink(missing_ok=True)
    except OSError as error:
        raise _unusable(directory, error) from error
    for folder in sorted({folder for path in files for folder in path.parents[:3]}, reverse=True):  # deepest first
        with contextlib.suppress(OSError):  # it holds other files, or an entry that was just written
            folder.rmdir()


def _files(directory: Path) -> Iterator[Path]:
    """Yield, by their names, the entries under a root and the temporary files of killed processes."""
    for settings in _listing(directory / "features", r"[0-9a-f]{16}"):
        for prefix in _listing(settings, r"[0-9a-f]{2}"):
            yield from _listing(prefix, rf"[0-9a-f]{{64}}\{_SUFFIX}|\.[0-9a-f]{{16}}\{TEMPORARY}")


def _listing(folder: Path, name: str) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if re.fullmatch(name, path.name))
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise _unusable(folder, error) from error


def _unusable(directory: Path, error: OSError | SettingsError) -> SettingsError:
    return SettingsError(
        f"feature cache {directory}",
        found=error.found if isinstance(error, SettingsError) else error.strerror or type(error).__name__,
        expected="a folder of caches that can be read and written",
        remedy="Choose another folder with --cache or SER_FEWSHOT_CACHE.",
    )


def _digest(body: bytes) -> bytes:
    return hashlib.blake2b(body, digest_size=_DIGEST_BYTES).digest()
