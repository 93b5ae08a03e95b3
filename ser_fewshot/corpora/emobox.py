"""EmoBox metadata: the lists and folds of the EmoBox benchmark, one JSON object a line, without the audio.

The root is the folder of one corpus (`data/urdu`) with `urdu.jsonl`, `label_map.json` and the folds
`fold_1/urdu_train_fold_1.jsonl`, or one such list. A row has the columns `key, dataset, wav, emo`, sometimes
`start_time, end_time`. Rows name no speakers; where we have a reader of the corpus they are taken from the file names.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

from ser_fewshot import plugins
from ser_fewshot.corpora._cells import LabelError, emotion_of, is_number
from ser_fewshot.corpora._coded import file_names, utterance
from ser_fewshot.corpora._corpus import CorpusCard, Skipped
from ser_fewshot.corpora._files import FOREIGN, LOSSY, READABLE, foreign, is_foreign
from ser_fewshot.corpora._utterance import ALIASES, Utterance, canonical_emotion
from ser_fewshot.errors import CorpusError

CARD = CorpusCard(
    title="EmoBox",
    language="mul",
    language_name="that of the corpus",
    licence="MIT by its README; the audio has that of its corpus",
    commercial_use=None,
    citation="Ma et al. (2024), EmoBox: Multilingual multi-corpus speech emotion recognition toolkit and benchmark",
    url="https://arxiv.org/abs/2406.07162",
    layout="data/urdu/urdu.jsonl and data/urdu/fold_1/urdu_train_fold_1.jsonl, with label_map.json",
    traps=(
        "The folds of EmoDB, TESS, URDU, ASED, TurEV-DB and AESDD share speakers between train and test.",
        "No validation lists are published for most corpora; the toolkit cuts them out of train at random.",
        "The paths of the audio begin with downloads/ and end with .wav, whatever you have.",
    ),
)

_LIST = re.compile(r"(?P<corpus>.+)_(?P<split>train|valid|test)_fold_?(?P<fold>\d+)")
_PARENTS = 3
"""From data/urdu/fold_1 to the folder that data and downloads stand in."""


def read(root: Path, *, audio_root: Path | None = None, fold: int | None = None) -> Iterator[Utterance | Skipped]:
    """Yield the clips of one corpus: all of them, or those of a fold with their split.

    Args:
        root: the folder of one corpus, or one list.
        audio_root: where the audio is; by default the checkout that the lists lie in. Below it the paths of the lists
            may lack their first folders and may have any extension.
        fold: the number of the fold.

    Raises:
        CorpusError: there is no such list, or none of its audio.
    """
    lists = _lists(root, fold)
    labels = _labels(next(iter(lists)).parent)
    folder = root if root.is_dir() else root.parent
    audio = _Audio((audio_root.absolute(),) if audio_root else (folder, *list(folder.absolute().parents)[:_PARENTS]))
    clips = [_clip(row, path, labels, audio, split) for path, split in lists.items() for row in _rows(path)]
    if clips and not any(isinstance(clip, Utterance) for clip in clips):
        reason = next(clip.reason for clip in clips if isinstance(clip, Skipped))
        raise CorpusError(
            CARD.title,
            found=f"{len(clips)} rows and not one usable; the first: {reason}",
            expected="the audio below audio_root, in formats that can be read",
            remedy="Give the folder of the audio as audio_root, or convert the audio.",
        )
    yield from clips


def _lists(root: Path, fold: int | None) -> dict[Path, str | None]:
    """Return the lists to read, each with its split."""
    if root.is_file() and fold is None:
        match = _LIST.fullmatch(root.stem)
        return {root: match["split"] if match else None}
    files = sorted(root.rglob("*.jsonl")) if root.is_dir() else []
    parts = {path: match for path in files if (match := _LIST.fullmatch(path.stem))}
    wanted = {path: match for path, match in parts.items() if int(match["fold"]) == fold}
    whole = [path for path in files if path not in parts]
    if len({match["corpus"] for match in wanted.values()}) == 1:
        # Some folders hold a list twice, as x_fold1 and x_fold_1: one for each split is taken.
        return {path: split for split, path in {match["split"]: path for path, match in wanted.items()}.items()}
    if fold is None and len(whole) == 1:
        return {whole[0]: None}
    folds = sorted({int(match["fold"]) for match in parts.values()})
    raise CorpusError(
        CARD.title,
        found=f"{len(whole)} complete lists and the folds {folds or 'none'} below {root}",
        expected=CARD.layout if fold is None else f"the lists of fold {fold} of one corpus",
        remedy="Give the folder of one corpus, and one of its folds if it has no complete list.",
    )


def _labels(folder: Path) -> dict[str, str]:
    """Return the label map, from beside a list or from above its fold; empty if there is none."""
    for name in ("label_map.json", "label_dict.json"):
        for path in (folder / name, folder.parent / name):
            if path.is_file():
                try:
                    labels = json.loads(path.read_text(encoding="utf-8-sig"))
                    return {str(code): str(label) for code, label in labels.items()}
                except (ValueError, AttributeError) as error:
                    raise CorpusError(
                        str(path), found=str(error), expected="a JSON object", remedy="Download it again."
                    ) from error
    return {}


def _rows(path: Path) -> Iterator[dict[str, Any] | str]:
    """Yield the objects of a list; for a line that is none, what is wrong."""
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        if line.strip():
            try:
                row = json.loads(line)
            except ValueError:
                row = None
            yield row if _fits(row) else f"line {number} is no JSON object with the texts wav and emo, or has bad times"


def _fits(row: object) -> bool:
    if not isinstance(row, dict) or not all(isinstance(row.get(name), str) for name in ("wav", "emo")):
        return False
    times = [row.get("start_time"), row.get("end_time")]
    return all(time is None or (isinstance(time, int | float) and math.isfinite(time)) for time in times)


@dataclass
class _Audio:
    """Finds audio below some folders, whatever its extension and however many of its first folders are missing."""

    folders: tuple[Path, ...]
    listings: dict[Path, dict[str, Path]] = field(default_factory=dict)

    def find(self, wav: str) -> Path | None:
        """Return the file that a list calls `wav`, None if there is none."""
        parts = PurePosixPath(wav.replace("\\", "/")).parts
        for folder in self.folders:
            for first in range(len(parts)):
                path = folder.joinpath(*parts[first:])
                if (found := self._listing(path.parent).get(path.stem.casefold())) is not None:
                    return found
        return None

    def _listing(self, folder: Path) -> dict[str, Path]:
        if folder not in self.listings:
            files = list(folder.iterdir()) if folder.is_dir() else []
            files = [path for path in files if path.suffix.lower() in READABLE | FOREIGN]
            best_last = sorted(files, key=lambda path: (not is_foreign(path), path.suffix.lower() not in LOSSY, path))
            self.listings[folder] = {path.stem.casefold(): path for path in best_last}
        return self.listings[folder]


def _clip(
    row: dict[str, Any] | str, path: Path, labels: Mapping[str, str], audio: _Audio, split: str | None
) -> Utterance | Skipped:
    if isinstance(row, str):
        return Skipped(path, f"row: {row}")
    file = audio.find(row["wav"])
    if file is None:
        return Skipped(path, f"no audio: {row['wav']} is not below {audio.folders[0]}")
    if is_foreign(file):
        return foreign(file)
    try:
        emotion = emotion_of(_word(row["emo"], labels))
    except LabelError as fault:
        return Skipped(path, str(fault))
    clip = _described(file, str(row.get("dataset") or path.stem), str(row.get("key") or file.stem))
    return replace(clip, emotion=emotion, start=row.get("start_time"), end=row.get("end_time"), split=split)


def _word(emo: str, labels: Mapping[str, str]) -> str:
    """Return what the label map calls an emotion; letter case counts only where the map has a key in both.

    A known emotion counts by itself where the map has no word for it: EmoBox's list of Emo-DB says "neutral", its map
    "Neutral".

    Raises:
        LabelError: the map does not know it, and neither do we.
    """
    folded = {label for code, label in labels.items() if canonical_emotion(code) == canonical_emotion(emo)}
    words = [labels[emo]] if emo in labels else [*folded] if len(folded) == 1 else []
    if words and not is_number(words[0]):
        return words[0]
    if not labels or canonical_emotion(emo) in ALIASES:
        return emo
    raise LabelError(f"label: {emo!r} is not in the label map" + (" as a name" if words else ""))


def _described(file: Path, dataset: str, key: str) -> Utterance:
    """Return the clip with what its file name says, where we have a reader for its corpus."""
    own = {name.replace("_", ""): name for name in plugins.names("corpora")}
    corpus = own.get(dataset.replace("_", "").lower(), dataset)
    names = file_names(corpus) if corpus in own.values() else None
    fields = names.parse(file) if names else None
    if fields and not isinstance(fields, str):
        return utterance(file, fields, corpus=corpus, card=plugins.load("corpora", corpus).CARD)
    return Utterance(id=f"{corpus}/{key.removeprefix(f'{dataset}-')}", path=file, corpus=corpus)
