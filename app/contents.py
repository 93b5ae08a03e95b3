"""What an enrolment file says of itself, read before anything in it is loaded or built."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ser_fewshot.errors import CheckpointError, EnrollmentError
from ser_fewshot.storage.tensors import read_header

from . import limits
from .clips import note
from .intake import legal_name
from .session import Code, Note

_SIZE_FIELD = 8  # bytes at the beginning of a safetensors file, which tell the size of its header


@dataclass(frozen=True, eq=False)
class Contents:
    """What is in a file.

    Attributes:
        config: of the model, as the file tells it; empty where it tells nothing that can be read.
        classes: (label, number of clips) of each class, as the file tells it.
        frames: of the longest clip; 0 where clips are kept as one embedding each.
    """

    config: Mapping[str, Any]
    classes: tuple[tuple[Any, int], ...]
    frames: int


def contents_of(path: Path) -> Contents:
    """Read the header of a file.

    Raises:
        EnrollmentError: the file is larger than limits.ENROLLMENT_BYTES, or its header than limits.HEADER_BYTES.
        CheckpointError: it is no enrolment.
    """
    _check_size(path)
    shapes, metadata = read_header(path)
    frames = (shape[0] for name, shape in shapes.items() if name.startswith("clip/") and len(shape) > 1)
    config = _parsed(metadata.get("config"))
    try:
        classes = tuple((entry["label"], len(entry["clips"])) for entry in _parsed(metadata.get("classes")))
    except (KeyError, TypeError) as error:
        raise CheckpointError(
            str(path),
            found="classes that are not described",
            expected="an enrolment saved by this program",
            remedy="Choose the file that this page saved.",
        ) from error
    return Contents(config if isinstance(config, dict) else {}, classes, max(frames, default=0))


def refusal_of(contents: Contents) -> Note | None:
    """Return why what is in a file may not be enrolled, by the limits of what a visitor may enrol; None if it may."""
    if len(contents.classes) > limits.LABELS:
        return note(Code.TOO_MANY_LABELS, "error", most=limits.LABELS)
    for number, (label, clips) in enumerate(contents.classes, start=1):
        if legal_name(label, most=limits.LABEL_CHARACTERS, otherwise=Code.BAD_LABEL) != label:
            return note(Code.BAD_LABEL_IN_FILE, "error", number=number, most=limits.LABEL_CHARACTERS)
        if clips > limits.CLIPS:
            return note(Code.TOO_MANY_CLIPS, "error", label=label, most=limits.CLIPS)
    if contents.frames > math.ceil(limits.CLIP_SECONDS * limits.FRAMES_A_SECOND) + 1:
        return note(Code.CLIP_TOO_LONG_IN_FILE, "error", most=limits.CLIP_SECONDS)
    return None


def _parsed(text: str | None) -> Any:
    try:
        return json.loads(text or "")
    except (ValueError, RecursionError):
        return None


def _check_size(path: Path) -> None:
    """Refuse what takes long to read; what is no file at all is left to the reader, which says so."""
    if not path.is_file():
        return
    whole = path.stat().st_size
    with path.open("rb") as file:
        header = int.from_bytes(file.read(_SIZE_FIELD), "little")
    for what, size, most in (("file", whole, limits.ENROLLMENT_BYTES), ("header", header, limits.HEADER_BYTES)):
        if most < size <= whole:  # a header that promises more than there is, the reader refuses unread
            raise EnrollmentError(
                "enrolment",
                found=f"a {what} of {size / 2**20:.0f} MiB",
                expected=f"at most {most // 2**20} MiB",
                remedy="Choose the file that this page saved.",
            )
