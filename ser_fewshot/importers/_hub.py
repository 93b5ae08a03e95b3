"""Encoders on the Hugging Face hub: only those who have no safetensors are fetched as what they have."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ser_fewshot.storage.hub import fetch


def download(repo: str, *, also: Sequence[str] = ()) -> Path:
    """Return the folder of a model in the usual cache of huggingface_hub, after fetching what is not there yet.

    Args:
        repo: its id, such as facebook/wav2vec2-base.
        also: names of weights to fetch where it has no safetensors, beside .bin.

    Raises:
        CheckpointError: there is no network, no such model, or no right to it.
    """
    folder = fetch(repo, ["*.json", "*.safetensors"])
    if not any(folder.glob("*.safetensors")):  # only then, since most models have both
        folder = fetch(repo, ["*.json", "pytorch_model*.bin", *also])
    return folder
