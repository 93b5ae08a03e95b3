"""What a run leaves on disk after each epoch; of several processes the first one writes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from torch import Tensor, nn
from torch.optim import Optimizer

from ser_fewshot.compute import distributed
from ser_fewshot.storage.files import TEMPORARY, write_atomically
from ser_fewshot.training.checkpoint import Progress, save_run

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


class Journal:
    """The folder of a run: `checkpoint.safetensors`, `log.jsonl`, and TensorBoard's files in `tensorboard`.

    Args:
        run: the folder.
        progress: how far the run has come; it is changed elsewhere.
    """

    def __init__(self, run: Path, progress: Progress) -> None:
        self.run = run
        self.progress = progress
        self._board: SummaryWriter | None = None

    def __enter__(self) -> Journal:
        """Bring the folder to where the checkpoint is: a kill may have come at any moment of a write."""
        if distributed.is_main():
            from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415 - for the one process that writes

            for leftover in sorted(self.run.glob(f".*{TEMPORARY}")):
                leftover.unlink(missing_ok=True)
            self._write_log()
            self._board = SummaryWriter(str(self.run / "tensorboard"), purge_step=self.progress.epoch + 1)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close TensorBoard's file."""
        if self._board is not None:
            self._board.close()

    def note(
        self, goal: nn.Module, *, optimizer: Optimizer, best: Mapping[str, Tensor], identity: Mapping[str, str]
    ) -> None:
        """Write the end of an epoch: first the checkpoint, from which all else could be written again."""
        if self._board is None:
            return
        path = self.run / "checkpoint.safetensors"
        save_run(path, goal, optimizer=optimizer, best=best, progress=self.progress, identity=identity)
        self._write_log()
        for name, value in self.progress.history[-1].items():
            self._board.add_scalar(name, value, self.progress.epoch)

    def _write_log(self) -> None:
        lines = (json.dumps(record) + "\n" for record in self.progress.history)
        write_atomically(self.run / "log.jsonl", "".join(lines))
