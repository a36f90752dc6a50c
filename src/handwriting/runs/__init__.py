"""One training told whole, and models measured: the only room that opens a test part."""

from handwriting.runs.adapting import Adapted, Refused, adapt
from handwriting.runs.evaluating import SPLIT_NAMES, evaluate
from handwriting.runs.training import Run, Watch, train

__all__ = ["SPLIT_NAMES", "Adapted", "Refused", "Run", "Watch", "adapt", "evaluate", "train"]
