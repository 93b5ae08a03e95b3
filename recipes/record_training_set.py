"""Add the record of the training set to a model that was saved without one.

    uv run python recipes/record_training_set.py --model ser_fewshot/assets/default --corpora ../shared/corpora \
        --unlabelled 0ad-data=183 asterisk-core-sounds-en-g722=621 asterisk-core-sounds-es-g722=623 \
        asterisk-core-sounds-fr-g722=615 asterisk-core-sounds-it-g722=640 asterisk-core-sounds-ru-g722=636 \
        hedgewars-data=718 klettres-data=1728 ktuberling-data=1793 megaglest-data=872 openarena-data=34 \
        tuxpaint-stamps-default=7834

The weights stay. Of corpora without labels, such as the free speech of the default model, names and counts are
recorded.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import safetensors.torch

from ser_fewshot import corpora
from ser_fewshot.models.training_set import RECORD, Part, TrainingSet
from ser_fewshot.storage.files import write_atomically
from ser_fewshot.storage.tensors import read_tensors


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="folder of the model")
    parser.add_argument("--corpora", type=Path, required=True, help="folder with one folder a corpus, all trained on")
    parser.add_argument("--unlabelled", nargs="*", default=[], metavar="NAME=CLIPS", help="corpora without labels")
    arguments = parser.parse_args()
    speech = (pair.rpartition("=") for pair in arguments.unlabelled)
    record = TrainingSet(corpora={name: Part(clips=int(clips), labelled=False) for name, _, clips in speech})
    record |= TrainingSet.of(clip for scan in corpora.scan_all(arguments.corpora) for clip in scan.utterances)
    stamp(arguments.model / "model.safetensors", record)
    for name, part in record.corpora.items():
        print(f"{name}: {part.clips} clips{'' if part.labelled else ' without labels'}")


def stamp(path: Path, record: TrainingSet) -> None:
    """Write a record into a file of weights, in place of an earlier one."""
    tensors, metadata = read_tensors(path)
    write_atomically(path, safetensors.torch.save(tensors, {**metadata, RECORD: record.as_text()}))


if __name__ == "__main__":
    main()
