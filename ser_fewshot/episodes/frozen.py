"""Frozen episode lists: written to a file, hashed and replayed, so that two programs score the same tasks.

A file whose name ends with `.gz` is compressed.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import zlib
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import fields
from pathlib import Path
from typing import Any

from ser_fewshot.episodes import Episode, EpisodeSpec
from ser_fewshot.episodes.spec import LATER
from ser_fewshot.errors import EpisodeError
from ser_fewshot.storage.files import write_atomically
from ser_fewshot.storage.paths import what_is

_MOST_BYTES = 2**27  # unpacked; 600 episodes of 20 classes, 5-shot with 5 queries, take 4 MB


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
        promised = _text(_fields(header, {"spec", "seed", "episodes", "episodes_sha256", "sha256"}).pop("sha256"))
        spec = EpisodeSpec(**_fields(header["spec"], {field.name for field in fields(EpisodeSpec)}, LATER))
        episodes = tuple(_episode(line, spec) for line in rows)
    except (OSError, ValueError, EOFError, zlib.error, RecursionError, EpisodeError) as error:
        raise EpisodeError(
            str(path),
            found=f"{error}" if what_is(path).startswith(("a text", "an archive", "a file")) else what_is(path),
            expected="a list of episodes frozen by this program",
            remedy="Correct the path, or freeze the list again with: ser-fewshot evaluate --save-episodes FILE.",
        ) from error
    found = _digest([_line(header), *_lines(episodes)])
    if found != promised:
        raise EpisodeError(
            str(path),
            found=f"content with the hash {found[:12]}",
            expected=f"the hash {promised[:12]} that the file states",
            remedy="The file was changed: take it from its source again.",
        )
    return episodes, spec


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
    if not path.is_file():
        raise OSError(what_is(path))  # a pipe would be waited for
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
    """Return the episode of a line of the file."""
    values = _fields(line, {field.name for field in fields(Episode)}, {"context"})
    classes = _texts(values["classes"], spec.n_way)
    support, query = (
        tuple(_texts(clips, length) for clips in _list(values[part], spec.n_way))
        for part, length in (("support", spec.k_shot), ("query", spec.n_query))
    )
    context = tuple(_text(clip) for clip in values.get("context", ()))
    clips = [*context, *(clip for members in (*support, *query) for clip in members)]
    if type(values["index"]) is not int:
        raise ValueError(f"{values['index']!r:.60} instead of a whole number")
    if len(context) > spec.context:
        raise ValueError(f"episode {values['index']}, with {len(context)} clips of context instead of {spec.context}")
    if len(set(classes)) < len(classes) or len(set(clips)) < len(clips):
        raise ValueError(f"episode {values['index']}, in which a class or a clip occurs twice")
    return Episode(values["index"], classes, support, query, context)


def _fields(value: Any, names: set[str], optional: Set[str] = frozenset()) -> dict[str, Any]:
    if not isinstance(value, dict) or not names - optional <= set(value) <= names:
        raise ValueError(f"{value!r:.60} instead of an object with {', '.join(sorted(names))}")
    return value


def _list(value: Any, length: int) -> list[Any]:
    if not isinstance(value, list) or len(value) != length:
        raise ValueError(f"{value!r:.60} instead of a list of {length}")
    return value


def _texts(value: Any, length: int) -> tuple[str, ...]:
    return tuple(map(_text, _list(value, length)))


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{value!r:.60} instead of a text")
    return value
