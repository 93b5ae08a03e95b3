"""A data set of the Hugging Face library "datasets": a folder that `save_to_disk` wrote, or one of Parquet files.

https://huggingface.co/docs/datasets. Licence: that of the data. Needs the extra `ser-fewshot[datasets]`.

The column of type Audio is the clip; emotion, speaker, gender, language and text are found under their usual names.
Clips stand inside the tables, so they are unpacked into a folder, byte for byte as they were stored: nothing is decoded
here, so torchcodec is not needed. No code of the data set is run, and no pickle is read.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from types import ModuleType
from typing import Any

from ser_fewshot.corpora._cells import LabelError, emotion_of, stated
from ser_fewshot.corpora._corpus import CorpusCard, Skipped
from ser_fewshot.corpora._files import FOREIGN, READABLE, require_folder
from ser_fewshot.corpora._manifest import COLUMNS, SPLITS
from ser_fewshot.corpora._utterance import Utterance, canonical_gender
from ser_fewshot.errors import CorpusError
from ser_fewshot.optional import not_installed
from ser_fewshot.storage.files import write_atomically

CARD = CorpusCard.of_format(
    "Data set of the Hugging Face library",
    url="https://huggingface.co/docs/datasets",
    layout="state.json or dataset_dict.json with data-00000-of-00001.arrow, or *.parquet",
    traps=(
        "Clips are inside the tables: say where they shall be unpacked to, as --audio-root DIR.",
        "A folder of audio files with a metadata.csv is read as a table or as a folder, not as a data set.",
    ),
)

OURS = tuple(name if name != "file" else "audio" for name in COLUMNS if name not in ("start", "end"))
"""The columns of a data set that was made of our utterances."""
_USUAL = {
    "emotion": ("emotion", "label", "labels", "emo", "major_emotion"),
    "speaker": ("speaker", "speaker_id", "speaker_name", "spk", "spk_id", "actor", "actor_id", "client_id"),
    "gender": ("gender", "sex"),
    "language": ("language", "lang", "locale"),
    "text": ("text", "sentence", "transcription", "transcript"),
}


def read(root: Path, *, audio_root: Path | None = None) -> Iterator[Utterance | Skipped]:
    """Yield the clips of a data set.

    Args:
        root: its folder.
        audio_root: the folder that clips are unpacked to.

    Raises:
        CorpusError: datasets is not installed, the folder is no data set, it has no audio or no emotions, or its clips
            have to be unpacked and nobody said where.
    """
    require_folder(root, subject=CARD.title, layout=CARD.layout)
    yield from of_parts(_load(package(), root), corpus=root.name, root=root, folder=audio_root)


def of_parts(
    parts: Mapping[str, Any], *, corpus: str, root: Path, folder: Path | None
) -> Iterator[Utterance | Skipped]:
    """Yield the clips of the data sets of a partition, or of the only one there is.

    Args:
        parts: split -> `datasets.Dataset` or `IterableDataset`; a split may be called anything.
        corpus: what it is called where the data set does not say.
        root: what relative paths are relative to.
        folder: where clips that are inside the tables are written to.

    Raises:
        CorpusError: a data set has no audio or no emotions, or is damaged.
    """
    for name, part in parts.items():
        split = SPLITS.get(name.lower(), name) if len(parts) > 1 else None
        target = None if folder is None else folder / (split or "clips")
        try:
            yield from _clips(part, corpus=corpus, split=split, root=root, folder=target)
        except (CorpusError, GeneratorExit):
            raise
        except Exception as error:
            raise _bad(root, f"{type(error).__name__}: {error!s:.200}") from error


def package() -> ModuleType:
    """Return the library, or raise a CorpusError that names the extra."""
    try:
        return importlib.import_module("datasets")
    except ImportError as error:
        raise not_installed(error, extra="datasets", subject=CARD.title, error=CorpusError) from error


def _load(datasets: ModuleType, root: Path) -> Mapping[str, Any]:
    """Return the data sets under a folder by their split."""
    try:
        if (root / "dataset_dict.json").is_file() or (root / "state.json").is_file():
            found = datasets.load_from_disk(str(root))
            return found if isinstance(found, Mapping) else {"": found}
        files: dict[str, list[str]] = {}
        for path in sorted(root.rglob("*.parquet")):
            words = re.split(r"[^a-z]+", path.relative_to(root).as_posix().lower())
            files.setdefault(next((SPLITS[word] for word in words if word in SPLITS), "train"), []).append(str(path))
        # Streamed, since it would be copied into a cache otherwise; by its format, so that no other is guessed.
        loaded: Mapping[str, Any] = datasets.load_dataset("parquet", data_files=files, streaming=True) if files else {}
    except Exception as error:
        raise _bad(root, f"{type(error).__name__}: {error!s:.200}") from error
    if not loaded:
        raise _bad(root, "neither state.json, dataset_dict.json nor a .parquet file")
    return loaded


def _bad(root: Path, found: str) -> CorpusError:
    return CorpusError(
        f"{CARD.title} {root}",
        found=found,
        expected=f"{CARD.layout}, with a column of type Audio and a column emotion or label",
        remedy="Save it with Dataset.save_to_disk, or list the clips in a CSV table.",
    )


def _clips(
    dataset: Any, *, corpus: str, split: str | None, root: Path, folder: Path | None
) -> Iterator[Utterance | Skipped]:
    audio = package().Audio(decode=False)
    features = dataset.features or {}
    sound = next((name for name, kind in features.items() if isinstance(kind, type(audio))), None)
    columns = {ours: next((name for name in usual if name in features), None) for ours, usual in _USUAL.items()}
    if sound is None or columns["emotion"] is None:
        raise _bad(root, f"the columns {', '.join(features) or '(none)'}")
    ours = set(features) == set(OURS)
    for number, row in enumerate(dataset.cast_column(sound, audio)):
        path = _sound(row[sound], root=root, folder=folder, number=number)
        if isinstance(path, Skipped):
            yield path
            continue
        try:
            cells = {name: _cell(features[column], row[column]) for name, column in columns.items() if column}
            emotion = _emotion(row[columns["emotion"]], cells["emotion"])
        except LabelError as fault:
            yield Skipped(path, f"{fault}; row {number}")
            continue
        own = {name: _cell(None, row[name]) for name in ("id", "corpus", "split")} if ours else {}
        yield Utterance(
            id=own.get("id") or "/".join(filter(None, (corpus, split, f"{number}"))),
            path=path,
            corpus=own.get("corpus") or corpus,
            emotion=emotion,
            speaker=stated(cells.get("speaker")),
            language=cells.get("language"),
            gender=canonical_gender(cells.get("gender")),
            text=cells.get("text"),
            split=own["split"] if ours else split,
        )


def _cell(kind: Any, value: Any) -> str | None:
    """Return a cell as text; a class by its name, and None where there is none, which is stored as -1 too.

    Raises:
        LabelError: it is the number of a class that its column does not name.
    """
    names = getattr(kind, "names", None)
    if value is None or (names is not None and value == -1):
        return None
    if names is not None and not 0 <= value < len(names):
        raise LabelError(f"label: {value} is the number of no class: the column names {len(names)}")
    return str(value if names is None else names[value]).strip() or None


def _emotion(value: object, text: str | None) -> str | None:
    """Return the field's noun for an emotion.

    Raises:
        LabelError: it is a number, or several values, such as one for each rater.
    """
    if isinstance(value, list | dict | bool):
        raise LabelError(f"label: {value!r:.80}, where the name of one emotion is expected")
    return emotion_of(text)


def _sound(cell: Mapping[str, Any] | None, *, root: Path, folder: Path | None, number: int) -> Path | Skipped:
    """Return the file of a clip, after writing it if it stands in the table; or why there is none."""
    content, name = (cell or {}).get("bytes"), (cell or {}).get("path")
    if content is None:
        return Skipped(root, f"row: {number} has no clip") if name is None else root / name
    if folder is None:
        raise CorpusError(
            f"{CARD.title} {root}",
            found="clips inside its tables",
            expected="a folder to unpack them to",
            remedy="Name one: --audio-root DIR.",
        )
    # The stored name decides nothing but the extension: it could lead out of the folder.
    suffix = PurePosixPath(name or "").suffix.lower()
    path = folder / f"{number:06d}{suffix if suffix in READABLE | FOREIGN else '.wav'}"
    write_atomically(path, content, durable=False)
    return path
