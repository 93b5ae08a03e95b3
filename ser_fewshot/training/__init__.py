"""One training loop for every learner, whatever it lowers; resumable to the bit."""

from ser_fewshot.training._loop import fit_scale, train
from ser_fewshot.training._settings import DEFAULT_TASKS, TrainSettings

__all__ = ["DEFAULT_TASKS", "TrainSettings", "fit_scale", "train"]
