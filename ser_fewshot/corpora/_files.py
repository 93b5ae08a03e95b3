"""Which files under a folder are clips: one walk for all corpora."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ser_fewshot.corpora._corpus import Skipped
from ser_fewshot.errors import CorpusError
from ser_fewshot.storage.paths import remedy_for, url_in, what_is

LOSSY = frozenset({".mp3", ".ogg", ".oga", ".opus"})
READABLE = LOSSY | frozenset(
    ".wav .wave .flac .aif .aiff .aifc .au .snd .caf .rf64 .w64 .voc .sph .nist".split()  # noqa: SIM905
)
"""Extensions, in lower case, of what soundfile reads. The extension only tells clips from other files."""
FOREIGN = frozenset(
    ".m4a .m4b .mp4 .m4v .aac .wma .wmv .webm .weba .mka .mkv .avi .flv .mov .mpg .mpeg .ogv .amr .3gp .3g2 .ape .wv "  # noqa: SIM905
    ".ac3".split()
)
"""Extensions of sound and film that soundfile does not read."""


@dataclass(frozen=True)
class Found:
    """The files below a folder, each tuple sorted: clips, clips in foreign formats, and what cannot be a clip."""

    clips: tuple[Path, ...]
    foreign: tuple[Path, ...]
    skipped: tuple[Skipped, ...]


def find_clips(root: Path) -> Found:
    """Return the audio files at any depth below a folder.

    Links are followed, each folder is entered once. Hidden folders and the __MACOSX folders of ZIP archives hold no
    clips and are not entered; hidden audio files, such as the ._a.wav that macOS leaves behind, are listed as skipped.
    """
    files: list[Path] = []
    skipped: list[Skipped] = []
    seen = {root.resolve()}
    pending = [root]
    while pending:
        for path in _entries(pending.pop(), skipped):
            mode = _mode(path)
            if not stat.S_ISDIR(mode):
                reason = _refusal(path, mode)
                skipped.extend([Skipped(path, reason)] if reason else [])
                files.extend([] if reason else [path])
            elif path.resolve() in seen:
                skipped.append(Skipped(path, "link: this folder is read under another name"))
            elif not path.name.startswith(".") and path.name != "__MACOSX":
                seen.add(path.resolve())
                pending.append(path)
    return Found(
        clips=tuple(sorted(path for path in files if path.suffix.lower() in READABLE)),
        foreign=tuple(sorted(path for path in files if path.suffix.lower() in FOREIGN)),
        skipped=tuple(sorted(skipped, key=lambda item: item.path)),
    )


def _entries(folder: Path, skipped: list[Skipped]) -> Iterator[Path]:
    """Yield what lies in a folder, sorted, so that of two links to one folder the same one is read everywhere."""
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        skipped.append(Skipped(folder, f"closed folder: {error.strerror or error}"))
        return
    for path in entries:
        if is_text(path.name):
            yield path
        else:
            skipped.append(Skipped(folder, f"file name: {path.name!a} is not valid UTF-8; rename it"))


def is_text(name: str) -> bool:
    """Whether a name can be written as UTF-8: Linux allows any bytes in one, which Python reads as lone surrogates."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _mode(path: Path) -> int:
    """Return what stat says of a path, 0 if it cannot be reached."""
    try:
        return path.stat().st_mode
    except OSError:
        return 0


def _refusal(path: Path, mode: int) -> str | None:
    """Return why something that is no folder is no clip either; None for clips and for files that nobody would miss."""
    if path.suffix.lower() not in READABLE | FOREIGN or stat.S_ISREG(mode):
        hidden = path.name.startswith(".") and path.suffix.lower() in READABLE | FOREIGN
        return "hidden file: not a clip" if hidden else None
    return "special file: not a regular file" if mode else "broken link: it leads nowhere or may not be read"


def is_foreign(path: Path) -> bool:
    """Whether a file is sound or film in a format that cannot be read, by its extension."""
    return path.suffix.lower() in FOREIGN


def foreign(path: Path) -> Skipped:
    """Return why a clip in a foreign format is skipped."""
    return Skipped(path, f"format: {path.suffix.lower()} cannot be read; convert it to WAV or FLAC")


def require_folder(root: Path, *, subject: str, layout: str) -> None:
    """Refuse a root that is no folder.

    Raises:
        CorpusError: it does not exist, or it is a file.
    """
    if root.is_dir():
        return
    kind = what_is(root)
    remedy = "Give the folder that the file lies in, or the one above." if root.is_file() else "Correct the path."
    remedy = "Unpack the archive and give its folder." if kind == "an archive" else remedy_for(root, remedy)
    found = f"no folder {root}" if kind == "no such file" else f"{kind} at {root}"
    found = kind if url_in(root) else found
    raise CorpusError(subject, found=found, expected=f"a folder that holds {layout}", remedy=remedy)
