"""Fill the cache with features, which train and evaluate begin with."""

from __future__ import annotations

import argparse
import time

from ser_fewshot.cli._console import answer, counted, note_skipped, tracker
from ser_fewshot.cli._options import add_shared
from ser_fewshot.compute import distributed


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `extract`."""
    add_shared(parser, "--manifest", "--model", "--cache", "--json", "--device")


def run(arguments: argparse.Namespace) -> None:
    """Stream the clips through the front-end; each of several processes takes its share and names what it skips."""
    import torch

    from ser_fewshot.cli._data import CHECK_FILES, cache_of, moved, read_manifests, read_model
    from ser_fewshot.frontends import fill

    device = distributed.compute(arguments.device).device
    utterances = read_manifests(arguments.manifest).utterances
    model = read_model(arguments.model)
    cache = cache_of(model.frontend, arguments.cache)
    begun = time.perf_counter()
    with moved(model.frontend, device):
        n_clips, skipped = fill(model.frontend, utterances, cache=cache, track=tracker("features"))
    note_skipped(skipped, rest=CHECK_FILES)
    clips, missing = distributed.total(torch.tensor([n_clips, len(skipped)])).tolist()
    seconds = time.perf_counter() - begun
    answer(
        arguments,
        {"clips": clips, "skipped": missing, "seconds": seconds, "directory": str(cache.directory)},
        f"{counted(clips, 'clip')} in {cache.directory}, {missing} skipped; {seconds:.1f} s",
    )
