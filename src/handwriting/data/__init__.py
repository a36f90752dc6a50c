"""Where characters come from: named data sets, your own folders and files, and their splits."""

from handwriting.data.dataset import SPLITS_BY, Dataset, Source, SplitBy, Splits, split
from handwriting.data.places import Named, RemoteFile
from handwriting.data.sources import NAMES, is_here, load

__all__ = [
    "NAMES",
    "SPLITS_BY",
    "Dataset",
    "Named",
    "RemoteFile",
    "Source",
    "SplitBy",
    "Splits",
    "is_here",
    "load",
    "split",
]
