"""One training loop for every learner, whatever it lowers; resumable to the bit."""

from ser_fewshot.training.loop import fit_scale, run_file, train
from ser_fewshot.training.objectives import Goal, check_parts
from ser_fewshot.training.settings import DEFAULT_TASKS, TrainSettings

__all__ = ["DEFAULT_TASKS", "Goal", "TrainSettings", "check_parts", "fit_scale", "run_file", "train"]
