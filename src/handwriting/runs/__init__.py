"""One training told whole, and models measured: the only room that opens a test part."""

from handwriting.runs.evaluating import SPLIT_NAMES, evaluate
from handwriting.runs.training import Run, Watch, train

__all__ = ["SPLIT_NAMES", "Run", "Watch", "evaluate", "train"]
