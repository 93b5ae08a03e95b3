"""Profiles: enrolment files that stay on the server, if it was started with a folder for them.

A profile is as `save` writes it: no sound is kept. Names become names of files in base 32, which has no dot, no slash
and no second spelling of a letter, so that none leads out of the folder or hits another's.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import time
from pathlib import Path

from ser_fewshot.errors import SerFewshotError, SettingsError
from ser_fewshot.storage.files import TEMPORARY, remove

from . import handlers, limits
from .enrolment import checked_name
from .handlers import bad_file, with_notes
from .models import Models
from .notes import Code, Note, note
from .session import Session

_SUFFIX = ".safetensors"
_ABANDONED = 3600.0  # s after which a file that was being written belongs to a process that was killed


class Profiles:
    """The folder of `--store`, with a folder for each user of `--auth`; without users all visitors share one."""

    def __init__(self, folder: Path) -> None:
        """Name the folder; it is made if missing, and cleared of what a killed process left half written.

        Raises:
            SettingsError: it cannot be made or written.
        """
        self._folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for path in sorted(folder.glob(f"*/.*{TEMPORARY}")):
                if path.stat().st_mtime < time.time() - _ABANDONED:
                    remove(path)
        except OSError as error:
            raise _not_writable(folder, error.strerror or type(error).__name__) from error
        if not os.access(folder, os.W_OK):
            raise _not_writable(folder, "a folder that cannot be written")

    def names(self, user: str = "") -> tuple[str, ...]:
        """Return the profiles of a user, sorted."""
        found = (_decoded(path.stem) for path in self._home(user).glob(f"*{_SUFFIX}"))
        return tuple(sorted(name for name in found if name is not None))

    def save(self, session: Session, name: str, *, user: str = "", replace: bool = False) -> Session:
        """Save what is enrolled under a name; one that exists is kept, with a note, unless it is to be replaced."""
        checked = checked_name(name, most=limits.PROFILE_CHARACTERS, otherwise=Code.BAD_PROFILE_NAME)
        if isinstance(checked, Note):
            return with_notes(session, checked)
        names = self.names(user)
        if session.labels and checked in names and not replace:
            return with_notes(session, note(Code.PROFILE_EXISTS, name=checked))
        if session.labels and checked not in names and len(names) >= limits.PROFILES:
            return with_notes(session, note(Code.STORE_FULL, most=limits.PROFILES))
        done = note(Code.PROFILE_SAVED, name=checked)
        return handlers.write(session, self._path(checked, user), done, hidden=self._folder)

    def load(self, session: Session, name: str, *, user: str = "", models: Models) -> Session:
        """Take a profile in place of what is enrolled; undo brings that back."""
        path = self._existing(name, user)
        if path is None:
            return with_notes(session, note(Code.UNKNOWN_PROFILE, name=str(name)))
        return handlers.load(session, path, models=models)

    def delete(self, session: Session, name: str, *, user: str = "") -> Session:
        """Remove a profile from the disk."""
        path = self._existing(name, user)
        if path is None:
            return with_notes(session, note(Code.UNKNOWN_PROFILE, name=str(name)))
        try:
            remove(path)
        except SerFewshotError as error:
            return with_notes(session, bad_file(error, self._folder))
        return with_notes(session, note(Code.PROFILE_DELETED, name=name.strip()))

    def _existing(self, name: str, user: str) -> Path | None:
        checked = checked_name(name, most=limits.PROFILE_CHARACTERS, otherwise=Code.BAD_PROFILE_NAME)
        return None if isinstance(checked, Note) or checked not in self.names(user) else self._path(checked, user)

    def _home(self, user: str) -> Path:
        return self._folder / hashlib.sha256(user.encode()).hexdigest()

    def _path(self, name: str, user: str) -> Path:
        encoded = base64.b32encode(name.encode()).decode().rstrip("=").lower()
        return self._home(user) / f"{encoded}{_SUFFIX}"


def _decoded(stem: str) -> str | None:
    """Return the profile of a file; None for a file that somebody else put there."""
    try:
        return base64.b32decode(stem.upper() + "=" * (-len(stem) % 8)).decode()
    except (binascii.Error, ValueError):
        return None


def _not_writable(folder: Path, found: str) -> SettingsError:
    return SettingsError(
        f"--store {folder}", found=found, expected="a folder that can be written", remedy="Choose another folder."
    )
