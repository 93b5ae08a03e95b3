"""Enrolments that stay on the server, if it was started with a folder for them; there whole or not at all.

A profile is an enrolment file, as `save` writes it: no sound is kept. Names become names of files in base 32, which
has no dot, no slash and no second spelling of a letter, so that none leads out of the folder or hits another's.
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
from .clips import note
from .intake import legal_name
from .models import Models
from .session import Code, Note, Session

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
        """Keep what is enrolled under a name; notes say whether it worked.

        What was kept under the name before stays, with the note PROFILE_EXISTS, unless it is to be replaced.
        """
        checked = _checked(name)
        if isinstance(checked, Note):
            return handlers.said(session, checked)
        if session.enrolment.classifier is None or not session.labels:
            return handlers.said(session, note(Code.NOTHING_TO_SAVE, "error"))
        there = self.names(user)
        if checked in there and not replace:
            return handlers.said(session, note(Code.PROFILE_EXISTS, "error", name=checked))
        if checked not in there and len(there) >= limits.PROFILES:
            return handlers.said(session, note(Code.STORE_FULL, "error", most=limits.PROFILES))
        try:
            session.enrolment.classifier.save(self._path(checked, user))
        except SerFewshotError as error:
            return handlers.said(session, note(Code.BAD_FILE, "error", detail=self._without_folder(error)))
        return handlers.said(session, note(Code.PROFILE_SAVED, "info", name=checked))

    def load(self, session: Session, name: str, *, user: str = "", models: Models) -> Session:
        """Take a profile in place of what is enrolled; undo brings that back."""
        checked = _checked(name)
        if isinstance(checked, Note) or checked not in self.names(user):
            return handlers.said(session, note(Code.UNKNOWN_PROFILE, "error", name=str(name)))
        return handlers.load(session, self._path(checked, user), models=models)

    def delete(self, session: Session, name: str, *, user: str = "") -> Session:
        """Remove a profile from the disk."""
        checked = _checked(name)
        if isinstance(checked, Note) or checked not in self.names(user):
            return handlers.said(session, note(Code.UNKNOWN_PROFILE, "error", name=str(name)))
        try:
            remove(self._path(checked, user))
        except SerFewshotError as error:
            return handlers.said(session, note(Code.BAD_FILE, "error", detail=self._without_folder(error)))
        return handlers.said(session, note(Code.PROFILE_DELETED, "info", name=checked))

    def _home(self, user: str) -> Path:
        return self._folder / hashlib.sha256(user.encode()).hexdigest()

    def _path(self, name: str, user: str) -> Path:
        encoded = base64.b32encode(name.encode()).decode().rstrip("=").lower()
        return self._home(user) / f"{encoded}{_SUFFIX}"

    def _without_folder(self, error: SerFewshotError) -> str:
        return str(error).replace(str(self._folder), "")


def _decoded(stem: str) -> str | None:
    """Return the name that a file stands for; None for a file that somebody else put there."""
    try:
        return base64.b32decode(stem.upper() + "=" * (-len(stem) % 8)).decode()
    except (binascii.Error, ValueError):
        return None


def _checked(name: object) -> str | Note:
    """Return the name of a profile, or why it is none."""
    return legal_name(name, most=limits.PROFILE_CHARACTERS, otherwise=Code.BAD_PROFILE_NAME)


def _not_writable(folder: Path, found: str) -> SettingsError:
    return SettingsError(
        f"--store {folder}", found=found, expected="a folder that can be written", remedy="Choose another folder."
    )
