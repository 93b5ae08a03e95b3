"""Fill the cache with the features of a manifest, however large: training and evaluation then begin at once."""

from __future__ import annotations

import argparse
import time

import torch

from ser_fewshot.assets import DEFAULT_MODEL
from ser_fewshot.cli._console import note_random, report_skipped, say, say_json, tracker
from ser_fewshot.cli._data import ELSEWHERE, cache_of, on, read_manifests
from ser_fewshot.cli._text import counted
from ser_fewshot.compute import distributed
from ser_fewshot.frontends import fill
from ser_fewshot.models import load_model


def run(arguments: argparse.Namespace) -> None:
    """Stream the clips through the front-end; each of several processes takes its share and names what it skips."""
    device = distributed.compute(arguments.device).device
    utterances = read_manifests(arguments.manifest).utterances
    model = load_model(arguments.model or DEFAULT_MODEL)
    note_random(model)
    cache = cache_of(model.frontend, arguments.cache)
    begun = time.perf_counter()
    with on(model.frontend, device):
        n_clips, skipped = fill(model.frontend, utterances, cache=cache, track=tracker("features"))
    report_skipped(skipped, rest=ELSEWHERE)
    clips, missing = distributed.total(torch.tensor([n_clips, len(skipped)])).tolist()
    seconds = time.perf_counter() - begun
    if arguments.json:
        say_json({"clips": clips, "skipped": missing, "seconds": seconds, "directory": str(cache.directory)})
    else:
        say(f"{counted(clips, 'clip')} in {cache.directory}, {missing} skipped; {seconds:.1f} s")
