"""Models on the Hugging Face hub: the only network access of the library, and only to what the user names.

A saved model is a repository: a card with its metadata, a configuration and weights, as Markdown, JSON and safetensors.
Nothing else is sent or fetched: no pickle and no code, whatever lies beside them there.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ser_fewshot.errors import CheckpointError, SettingsError
from ser_fewshot.settings import check_is
from ser_fewshot.storage.files import write_atomically
from ser_fewshot.storage.hub_card import CARD, hub_card
from ser_fewshot.storage.tensors import read_config

CONFIG, WEIGHTS, PRIOR = "config.json", "model.safetensors", "prior.safetensors"
FILES = (CARD, CONFIG, WEIGHTS, PRIOR)
"""The files of a model's folder; the last is the emotion head of an imported encoder, if it has one."""

_NAME = r"\w[\w.-]*"
_ID = rf"{_NAME}/{_NAME}(@{_NAME}(/{_NAME})*)?"


@dataclass(frozen=True)
class Pushed:
    """A commit that was sent: the id of the repository, the commit's hash, and its page."""

    repo: str
    revision: str
    url: str


def is_id(name: str) -> bool:
    """Whether a text may be the id of a model, such as "user/model" or "user/model@revision"."""
    return re.fullmatch(_ID, name) is not None and ".." not in name


def locate(name: Path | str) -> Path:
    """Return the folder of a model: the one of that name here or, for the id of one on the hub, what `pull` fetches.

    A `Path` is never taken for an id.

    Raises:
        CheckpointError: there is none of that id on the hub, or no network.
    """
    remedy = "Pass a path or an id; a model in memory becomes a classifier by FewShotClassifier(model)."
    check_is(name, str | os.PathLike, name="folder", remedy=remedy, error=CheckpointError)
    folder = Path(name).expanduser()
    return pull(name) if isinstance(name, str) and not folder.exists() and is_id(name) else folder


def pull(name: str, *, out: Path | None = None) -> Path:
    """Fetch a model of this program from the hub, if it is not in the shared cache (HF_HOME), and return its folder.

    Args:
        name: its id, such as "user/model", or "user/model@revision" for one commit, branch or tag.
        out: a folder to write it to; by default it stays in the cache.

    Raises:
        CheckpointError: it is no id, there is no network, no such model or no right to it, or it is another program's.
        SettingsError: something is in that folder already, or it cannot be written.
    """
    _require_id(name)
    if out is not None and out.exists() and (not out.is_dir() or any(out.iterdir())):
        found, expected = "something there already", "a new folder"
        raise SettingsError(str(out), found=found, expected=expected, remedy="Choose another place.")
    # First the configuration, before a gigabyte of weights.
    config = read_config(_require(fetch(name, [CONFIG]), CONFIG, name))
    if config.get("model_type") != "ser_fewshot":
        raise CheckpointError(
            name,
            found=f"a model of type {config.get('model_type')!r:.60}",
            expected="one that this program saved, of type 'ser_fewshot'",
            remedy=f"A speech encoder becomes one by: ser-fewshot import {name} --out DIR.",
        )
    folder = fetch(name, FILES)
    _require(folder, WEIGHTS, name)
    if out is None:
        return folder
    for file in FILES:
        if (folder / file).is_file():
            write_atomically(out / file, (folder / file).read_bytes())
    return out


def fetch(name: str, patterns: Sequence[str]) -> Path:
    """Return the folder, in the cache of huggingface_hub, of those files of a repository that match some patterns.

    Args:
        name: its id, with or without a revision.
        patterns: names of files, with * for any letters.

    Raises:
        CheckpointError: there is no network, no such model, or no right to it.
        SettingsError: it is no id.
    """
    from huggingface_hub import snapshot_download  # noqa: PLC0415 - for the few who use a hub

    _require_id(name)
    repo, _, revision = name.partition("@")
    with _errors_of_hub(name):
        return Path(snapshot_download(repo, revision=revision or None, allow_patterns=list(patterns)))


def push(
    folder: Path | str,
    name: str,
    *,
    licence: str | None = None,
    results: Sequence[Mapping[str, Any]] = (),
    private: bool = False,
    message: str = "A model",
) -> Pushed:
    """Send a saved model to the hub in one commit; a repository that is not there yet is made.

    The account is that of `hf auth login`, or of the token in HF_TOKEN. The card that is sent names the repository.

    Args:
        folder: a model that `save_model` wrote; other files in it are not sent.
        name: the id of the repository, such as "user/model".
        licence: its identifier on the hub, such as "cc-by-4.0", instead of the one that the card states.
        results: of `evaluate --json` for this model, for the index that the hub shows beside it.
        private: whether a new repository is private.
        message: of the commit.

    Raises:
        CheckpointError: the folder holds no model, or the hub cannot be reached or refuses it.
        SettingsError: the card states no licence, the name is no id, or a result is not of this model.
    """
    from huggingface_hub import CommitOperationAdd, HfApi  # noqa: PLC0415 - for the few who use a hub

    _require_id(name, revision=False)
    root = Path(folder).expanduser()
    card = hub_card(root, name, licence=licence, results=results)
    parts = [CommitOperationAdd(file, root / file) for file in FILES[1:] if (root / file).is_file()]
    with _errors_of_hub(name):
        api = HfApi()
        api.create_repo(name, private=private, exist_ok=True)
        done = api.create_commit(name, [CommitOperationAdd(CARD, card.encode()), *parts], commit_message=message)
    return Pushed(name, done.oid, done.commit_url)


def _require(folder: Path, file: str, name: str) -> Path:
    path = folder / file
    if not path.is_file():
        raise CheckpointError(
            name,
            found=f"no {file}",
            expected=f"{CONFIG} and {WEIGHTS}: pickled weights and code are never fetched",
            remedy="Choose a model that was saved by this program.",
        )
    return path


def _require_id(name: str, *, revision: bool = True) -> None:
    if not is_id(name) or (not revision and "@" in name):
        url = re.search(rf"huggingface\.co/({_NAME}/{_NAME})", name)
        remedy = f"Name it as {url[1]}." if url else "Name the account and the model, with a slash between them."
        expected = f"an id such as user/model{', or user/model@revision' if revision else ''}"
        raise SettingsError("hub", found=f"{name!r:.80}", expected=expected, remedy=remedy)


@contextmanager
def _errors_of_hub(name: str) -> Iterator[None]:
    """Turn every error of the hub's client, which change between its versions, into CheckpointError."""
    try:
        yield
    except Exception as error:
        raise CheckpointError(
            name,
            found=f"no such path, and no answer from the Hugging Face hub: {type(error).__name__}: {error!s:.200}",
            expected="a path, or a network and a model of that name that you may use",
            remedy="Check the name and the network, or download the model elsewhere and name its folder; "
            "for what is not public, log in with: hf auth login.",
        ) from error
