"""The Hugging Face hub: the one place in the program that uses a network, and only for what the user names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError

from ser_fewshot.errors import CheckpointError


def download(repo: str, *, also: Sequence[str] = ()) -> Path:
    """Return the folder of a model in the usual cache of huggingface_hub, after fetching what is not there yet.

    Args:
        repo: its id, such as facebook/wav2vec2-base.
        also: names of weights to fetch where it has no safetensors, beside .bin.

    Raises:
        CheckpointError: there is no network, no such model, or no right to it.
    """
    try:
        folder = Path(snapshot_download(repo, allow_patterns=["*.json", "*.safetensors"]))
        if not any(folder.glob("*.safetensors")):  # only then, since most models have both
            folder = Path(snapshot_download(repo, allow_patterns=["*.json", "pytorch_model*.bin", *also]))
    except (OSError, ValueError, HfHubHTTPError) as error:
        raise CheckpointError(
            repo,
            found=f"no such path, and no answer from the Hugging Face hub: {type(error).__name__}: {error!s:.200}",
            expected="a path, or a network and a public model of that name",
            remedy="Check the name and the network, or download the model elsewhere and name its folder.",
        ) from error
    return folder
