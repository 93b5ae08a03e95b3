"""One training loop for every learner, whatever it lowers; resumable to the bit."""

from ser_fewshot.training._loop import train
from ser_fewshot.training._settings import DEFAULT_TASKS, TrainSettings

__all__ = ["DEFAULT_TASKS", "TrainSettings", "train"]
