"""A training run on disk: the checkpoint, an atomic file with all that the next epoch depends on, and a log."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import safetensors.torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ser_fewshot.errors import CheckpointError
from ser_fewshot.frontends import FeatureSet
from ser_fewshot.learners import Learner
from ser_fewshot.storage.files import TEMPORARY, write_atomically
from ser_fewshot.storage.tensors import load_weights, read_tensors

_FORMAT = "2"
"""Format 1, of version 0.1, identified a run by the classes of its learner, and clips by their ids."""
_WORST = -1e30  # JSON has no infinity
_SLOTS = {"step", "exp_avg", "exp_avg_sq"}  # of AdamW


@dataclass
class Progress:
    """The progress of a run.

    Attributes:
        epoch: finished epochs.
        best_score, best_epoch: the best meta-validation UAR (without meta-validation, minus the lowest loss), and when.
        history: one record an epoch.
    """

    epoch: int = 0
    best_score: float = _WORST
    best_epoch: int = 0
    history: list[dict[str, float]] = field(default_factory=list)


def save_run(
    path: Path,
    objective: nn.Module,
    *,
    optimizer: Optimizer,
    best: Mapping[str, Tensor],
    progress: Progress,
    identity: Mapping[str, str],
) -> None:
    """Write the objective's state, the learner's best weights so far, the optimiser's state and the progress.

    `log.jsonl` beside it, with a record of each epoch, comes second: it can be restored from the checkpoint.
    """
    tensors = {f"goal/{name}": tensor for name, tensor in objective.state_dict().items()}
    tensors |= {f"best/{name}": tensor for name, tensor in best.items()}
    for number, slots in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer/{number}/{slot}": tensor for slot, tensor in slots.items()}
    tensors = {name: tensor.contiguous() for name, tensor in tensors.items()}
    metadata = {**identity, "format": _FORMAT, "progress": json.dumps(asdict(progress))}
    write_atomically(path, safetensors.torch.save(tensors, metadata))
    _write_log(path.parent, progress)


def load_run(
    path: Path, objective: nn.Module, learner: Learner, *, optimizer: Optimizer, identity: Mapping[str, str]
) -> tuple[dict[str, Tensor], Progress]:
    """Restore what `save_run` wrote; return the best weights and the progress.

    Raises:
        CheckpointError: the file is damaged, or of a run with another identity.
    """
    tensors, metadata = read_tensors(path)
    if metadata.get("format") != _FORMAT:
        raise CheckpointError(
            str(path),
            found=f"the checkpoint of a run in format {metadata.get('format', '1, that of version 0.1')}",
            expected=f"format {_FORMAT}",
            remedy="Finish it with the version that began it, or start a new run in another folder.",
        )
    for part, value in identity.items():
        if metadata.get(part) != value:
            raise CheckpointError(
                str(path),
                found=f"a run of different {part}",
                expected=f"the {', '.join(identity)} that the run was started with",
                remedy="Resume with the same options and manifests, or start a new run in another folder.",
            )
    try:
        progress = _progress(metadata["progress"])
        slots = _slots(_part(tensors, "optimizer"), trainable(objective))
    except (KeyError, IndexError, TypeError, ValueError, RecursionError) as error:
        raise CheckpointError(
            str(path),
            found=f"{type(error).__name__}: {error}",
            expected="a checkpoint as this program writes it",
            remedy="The file was damaged or changed: start a new run in another folder.",
        ) from error
    best = _part(tensors, "best")
    load_weights(learner, best, origin=f"{path}, best weights")  # a check only: overwritten by the next line
    load_weights(objective, _part(tensors, "goal"), origin=str(path))
    optimizer.load_state_dict({**optimizer.state_dict(), "state": slots})
    return best, progress


def learner_identity(learner: Learner) -> str:
    """Return the settings of a learner and the names and shapes of its weights, as JSON."""
    shapes = {name: tuple(tensor.shape) for name, tensor in learner.state_dict().items()}
    return json.dumps({"settings": learner.described, "shapes": shapes}, sort_keys=True)


def fingerprint(*sets: FeatureSet) -> str:
    """Return the SHA-256 of the clips' metadata and content; of features without files, their lengths."""
    digest = hashlib.sha256()
    for features in sets:
        for row, item in enumerate(features.utterances):
            sound = features.keys[row] if features.keys else len(features.clips[row])
            line = [item.id, item.corpus, item.emotion, item.speaker, item.text, sound]
            digest.update(json.dumps(line).encode() + b"\n")
        digest.update(b"\n")
    return digest.hexdigest()


def _progress(text: str) -> Progress:
    progress = Progress(**json.loads(text))
    epochs = [record["epoch"] for record in progress.history]
    if not 1 <= progress.best_epoch <= progress.epoch or epochs != list(range(1, progress.epoch + 1)):
        raise ValueError(f"epoch {progress.epoch}, best {progress.best_epoch}, records of {len(epochs)}")
    return progress


def trainable(objective: nn.Module) -> list[nn.Parameter]:
    """Return the parameters in the order of the optimiser's state."""
    return [parameter for parameter in objective.parameters() if parameter.requires_grad]


def _slots(tensors: Mapping[str, Tensor], parameters: Sequence[nn.Parameter]) -> dict[int, dict[str, Tensor]]:
    """Return the optimiser's state by parameter number; parameters without gradient have none."""
    slots: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        number, slot = name.split("/")
        shape = () if slot == "step" else parameters[int(number)].shape
        if tensor.shape != shape or not bool(tensor.isfinite().all()):
            raise ValueError(f"{name}: values that are not finite, or the shape {tuple(tensor.shape)}")
        slots.setdefault(int(number), {})[slot] = tensor
    if any(set(kept) != _SLOTS for kept in slots.values()):
        raise ValueError("an incomplete optimiser state")
    return slots


def _part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    start = f"{prefix}/"
    return {name.removeprefix(start): tensor for name, tensor in tensors.items() if name.startswith(start)}


def tidy_run(run: Path, progress: Progress) -> None:
    """Bring the folder of a run to the state of the checkpoint, as a kill may have interrupted a write."""
    for leftover in sorted(run.glob(f".*{TEMPORARY}")):
        leftover.unlink(missing_ok=True)
    _write_log(run, progress)


def _write_log(run: Path, progress: Progress) -> None:
    lines = (json.dumps(record) + "\n" for record in progress.history)
    write_atomically(run / "log.jsonl", "".join(lines))
