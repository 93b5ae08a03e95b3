"""Train the model that comes with the package, from scan to model card, by one command.

    uv run python recipes/train_default.py --corpora ../shared/corpora

Nothing is held out but a fifth of the speakers, who select the epoch, so no score of this run is worth reporting: the
recipe is judged by recipes/leave_one_corpus_out.py, which trains the same on three corpora and scores on the fourth.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from ser_fewshot import corpora
from ser_fewshot.checkpoints import ModelConfig
from ser_fewshot.classifier import DEFAULT_MODEL
from ser_fewshot.frontends import FeatureCache, default_directory, extract
from ser_fewshot.pipeline import meta_train
from ser_fewshot.training import TrainSettings

CONFIG = ModelConfig(learner="ridge", settings={"encoder": {"name": "conv"}})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpora", type=Path, required=True, help="folder with one folder a corpus, named as it")
    parser.add_argument("--out", type=Path, default=DEFAULT_MODEL)
    parser.add_argument("--run", type=Path, default=Path("runs/default"))
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    utterances = [clip for scan in corpora.scan_all(arguments.corpora) for clip in scan.utterances]
    _, best = meta_train(
        CONFIG,
        lambda model, part: extract(
            model.frontend, part, cache=FeatureCache(default_directory(), model.frontend.identity)
        ),
        utterances,
        settings=TrainSettings(seed=arguments.seed),
        run=arguments.run,
        resume=True,
        command=f"uv run python recipes/train_default.py --corpora DIR --seed {arguments.seed}",
    )
    shutil.copytree(arguments.run / "model", arguments.out, dirs_exist_ok=True)
    print(f"epoch {best['epoch']}: meta-validation UAR {100 * best['validation_uar']:.1f} %; model: {arguments.out}")


if __name__ == "__main__":
    main()
