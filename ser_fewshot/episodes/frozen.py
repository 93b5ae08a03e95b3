"""Frozen episode lists: written to a file, hashed and replayed, so that two programs score the same tasks.

A file whose name ends with `.gz` is compressed.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ser_fewshot.episodes import Episode, EpisodeSpec
from ser_fewshot.errors import EpisodeError, SerFewshotError
from ser_fewshot.settings import fill
from ser_fewshot.storage.files import write_atomically
from ser_fewshot.storage.paths import check_is_file, what_is

_MOST_BYTES = 2**27  # unpacked; 600 episodes of 20 classes, 5-shot with 5 queries, take 4 MB


@dataclass(frozen=True, kw_only=True)
class _Header:
    """The first line of a file; `sha256` is of all else in it, `episodes_sha256` of the episodes alone."""

    spec: EpisodeSpec
    seed: int
    episodes: int
    episodes_sha256: str
    sha256: str


def episodes_hash(episodes: Sequence[Episode]) -> str:
    """Return the SHA-256 of a list of episodes: equal hashes, equal tasks."""
    return _digest(_lines(episodes))


def save_episodes(path: Path, episodes: Sequence[Episode], spec: EpisodeSpec, *, seed: int) -> None:
    """Freeze episodes in a file: a line of JSON that says what they are, then one line an episode.

    The same list gives the same bytes, compressed or not.

    Raises:
        EpisodeError: the list is longer than `load_episodes` would read.
        SettingsError: the file cannot be written.
    """
    sha256 = episodes_hash(episodes)
    header = {"spec": spec.as_dict(), "seed": seed, "episodes": len(episodes), "episodes_sha256": sha256}
    lines = list(_lines(episodes))
    sealed = {**header, "sha256": _digest([_line(header), *lines])}
    content = "".join([_line(sealed), *lines]).encode()
    if len(content) > _MOST_BYTES:
        raise EpisodeError(
            str(path),
            found=f"{len(episodes)} episodes, which take {len(content)} bytes",
            expected=f"at most {_MOST_BYTES} bytes",
            remedy="Freeze fewer, or several lists.",
        )
    write_atomically(path, _packed(content) if _is_packed(path) else content)


def load_episodes(path: Path) -> tuple[tuple[Episode, ...], EpisodeSpec]:
    """Read frozen episodes and what they are.

    Raises:
        EpisodeError: the file cannot be read, is too long, is no such list, or is not what its hash says.
    """
    try:
        rows = map(json.loads, io.StringIO(_content(path).decode(), newline=None))
        header: Any = next(rows, None)
        stated = fill(_Header, header, where="the first line")
        episodes = tuple(_episode(line, stated.spec) for line in rows)
    except (OSError, ValueError, EOFError, zlib.error, RecursionError, SerFewshotError) as error:
        fault = f"{error.subject}: {error.found}" if isinstance(error, SerFewshotError) else str(error)
        raise EpisodeError(
            str(path),
            found=fault if what_is(path).startswith(("a text", "an archive", "a file")) else what_is(path),
            expected="a list of episodes frozen by this program",
            remedy="Correct the path, or freeze the list again with: ser-fewshot evaluate --save-episodes FILE.",
        ) from error
    del header["sha256"]
    found = _digest([_line(header), *_lines(episodes)])
    if found != stated.sha256:
        raise EpisodeError(
            str(path),
            found=f"content with the hash {found[:12]}",
            expected=f"the hash {stated.sha256[:12]} that the file states",
            remedy="The file was changed: take it from its source again.",
        )
    return episodes, stated.spec


def _is_packed(path: Path) -> bool:
    return path.suffix.lower() == ".gz"


def _packed(content: bytes) -> bytes:
    """Compress without name and time: `gzip.compress` writes another header in every version of Python."""
    buffer = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", fileobj=buffer, mtime=0) as file:
        file.write(content)
    return buffer.getvalue()


def _content(path: Path) -> bytes:
    """Return what a file holds, unpacked; no more is unpacked than a list may hold."""
    check_is_file(path)
    with gzip.open(path, "rb") if _is_packed(path) else path.open("rb") as file:
        content: bytes = file.read(_MOST_BYTES + 1)
    if len(content) > _MOST_BYTES:
        raise ValueError(f"more than {_MOST_BYTES} bytes")
    return content


def _lines(episodes: Sequence[Episode]) -> Iterator[str]:
    return (_line(episode.as_dict()) for episode in episodes)


def _line(value: Mapping[str, Any]) -> str:
    # ASCII alone: some letters of other scripts end a line for one program and not for another.
    return json.dumps(value, separators=(",", ":")) + "\n"


def _digest(lines: Iterator[str] | Sequence[str]) -> str:
    digest = hashlib.sha256()
    for line in lines:
        digest.update(line.encode())
    return digest.hexdigest()


def _episode(line: Any, spec: EpisodeSpec) -> Episode:
    """Return the episode of a line of the file; raise an error if it is none, or not one of this kind."""
    episode = fill(Episode, line, where="episode")
    sizes = [[len(clips) for clips in part] for part in (episode.support, episode.query)]
    stated = [[spec.k_shot] * spec.n_way, [spec.n_query] * spec.n_way]
    if sizes != stated or len(episode.classes) != spec.n_way:
        raise ValueError(f"episode {episode.index}, with other numbers of classes or clips than the first line states")
    if len(episode.context) > spec.context:
        raise ValueError(
            f"{len(episode.context)} clips of context in episode {episode.index}, of at most {spec.context}"
        )
    clips = [*episode.context, *(clip for members in (*episode.support, *episode.query) for clip in members)]
    if len(set(episode.classes)) < spec.n_way or len(set(clips)) < len(clips):
        raise ValueError(f"episode {episode.index}, in which a class or a clip occurs twice")
    return episode
