"""Fit the statistics of speakers of a saved model, by which it learns a voice from clips without labels.

    uv run python recipes/fit_speakers.py --model ser_fewshot/assets/default --corpora ../shared/corpora
    uv run python recipes/fit_speakers.py --model runs/default/without_emodb/model --corpora ../shared/corpora \
        --without emodb

The weights stay. `ser-fewshot train` and recipes/train_default.py fit them anyway.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from ser_fewshot import corpora
from ser_fewshot.frontends import FeatureCache, default_directory, extract
from ser_fewshot.models import load_model, save_model
from ser_fewshot.models.meta_train import with_speakers


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="folder of the model")
    parser.add_argument("--corpora", type=Path, required=True, help="folder with one folder a corpus")
    parser.add_argument("--without", nargs="*", default=[], metavar="CORPUS", help="corpora to leave out")
    arguments = parser.parse_args()
    scans = [scan for scan in corpora.scan_all(arguments.corpora) if scan.corpus not in arguments.without]
    model = load_model(arguments.model)
    cache = FeatureCache(default_directory(), model.frontend.identity)
    features = extract(model.frontend, [clip for scan in scans for clip in scan.utterances], cache=cache)
    fitted = with_speakers(model, features)
    save_model(fitted, arguments.model, card=(arguments.model / "README.md").read_text())
    names = ", ".join(scan.corpus for scan in scans)
    print(f"{arguments.model}: {'no' if fitted.speakers is None else 'with'} statistics of speakers, from {names}")


if __name__ == "__main__":
    main()
