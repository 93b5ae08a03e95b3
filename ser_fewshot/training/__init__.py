"""One training loop for every learner, whatever it lowers; resumable to the bit."""

from ser_fewshot.training._loop import fit_scale, run_file, train
from ser_fewshot.training._objectives import check_parts
from ser_fewshot.training._settings import DEFAULT_TASKS, TrainSettings

__all__ = ["DEFAULT_TASKS", "TrainSettings", "check_parts", "fit_scale", "run_file", "train"]
