"""One training loop for every learner and objective; resumable to the bit."""

from ser_fewshot.training.loop import fit_scale, run_file, train
from ser_fewshot.training.objectives import TrainingObjective, check_parts
from ser_fewshot.training.settings import DEFAULT_TASKS, TrainSettings

__all__ = ["DEFAULT_TASKS", "TrainSettings", "TrainingObjective", "check_parts", "fit_scale", "run_file", "train"]
