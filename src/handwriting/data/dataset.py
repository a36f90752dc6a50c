"""A `Dataset` is arrays; a `Source` is what a name gave; `Splits` are its train, valid and sealed test parts."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from handwriting.errors import DataError

SplitBy = Literal["class", "writer"]
_NO_WRITERS = "who wrote what is not known; put qmnist_writers.npz beside the MNIST files"
SPLITS_BY: tuple[SplitBy, ...] = ("class", "writer")


@dataclass(frozen=True, eq=False)
class Dataset:
    """Labelled characters.

    Attributes:
        name: what to call it in tables and messages.
        images: uint8 (N, 28, 28), white ink on black, 0 paper to 255 ink.
        labels: int64 (N,), each an index into `classes`.
        classes: the labels' names.
        writers: int64 (N,), who wrote each character, or None when nobody knows.

    Raises:
        DataError: shapes, dtypes or lengths do not fit together.
    """

    name: str
    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    classes: tuple[str, ...]
    writers: NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        images, labels = self.images, self.labels
        if images.ndim != 3 or images.shape[1:] != (28, 28) or images.dtype != np.uint8:
            raise DataError(f"{self.name}: images must be uint8 (N, 28, 28), not {images.dtype} {images.shape}")
        if labels.shape != (len(images),) or labels.dtype != np.int64:
            raise DataError(f"{self.name}: {len(images)} images, but labels are {labels.dtype} {labels.shape}")
        if len(labels) and not (labels.min() >= 0 and labels.max() < len(self.classes)):
            raise DataError(f"{self.name}: a label lies outside the {len(self.classes)} classes")
        if self.writers is not None and self.writers.shape != labels.shape:
            raise DataError(f"{self.name}: {len(labels)} characters but {len(self.writers)} writers")

    def __len__(self) -> int:
        return len(self.labels)

    def subset(self, indices: NDArray[np.int64]) -> Dataset:
        """int64 (M,) indices -> the Dataset of those M characters, in that order."""
        writers = None if self.writers is None else self.writers[indices]
        return Dataset(self.name, self.images[indices], self.labels[indices], self.classes, writers)

    def hands(self, least: int = 10) -> list[NDArray[np.int64]]:
        """For each writer of at least so many characters, rising, the indices (n,) of theirs, rising.

        Raises DataError: the writers are not known.
        """
        if self.writers is None:
            raise DataError(f"{self.name}: {_NO_WRITERS}")
        order = np.argsort(self.writers, kind="stable")
        _, starts = np.unique(self.writers[order], return_index=True)
        return [own for own in np.split(order, starts[1:]) if len(own) >= least]

    def fingerprint(self) -> str:
        """16 hex digits that change when any image, label or class name does (SHA-256 of all of them)."""
        digest = hashlib.sha256("\n".join(self.classes).encode())
        digest.update(np.ascontiguousarray(self.images).data)
        digest.update(np.ascontiguousarray(self.labels).data)
        return digest.hexdigest()[:16]


@dataclass(frozen=True, eq=False)
class Source:
    """What a data name, folder or file gave: `train`, and `test` where the source itself sets one aside."""

    train: Dataset
    test: Dataset | None = None
    note: str = ""

    @property
    def name(self) -> str:
        """The source's name."""
        return self.train.name


@dataclass(frozen=True, eq=False)
class Splits:
    """Train, valid and a sealed test part.

    `valid` chooses everything; `open_test` is called once, at the end, by `handwriting.runs` alone, and counts how
    often it was called so that the record of a run can say so.
    """

    train: Dataset
    valid: Dataset
    by: SplitBy
    seed: int
    note: str = ""
    _test: Dataset | None = None
    _openings: list[int] = field(default_factory=list)

    @property
    def test_size(self) -> int:
        """How many characters the sealed test part has, without opening it."""
        return 0 if self._test is None else len(self._test)

    @property
    def times_opened(self) -> int:
        """How often the test part was opened."""
        return len(self._openings)

    def open_test(self) -> Dataset:
        """The test part. Raises DataError when the source has none."""
        if self._test is None:
            raise DataError(f"{self.train.name} has no test part")
        self._openings.append(len(self._openings) + 1)
        return self._test


def split(source: Source, *, seed: int = 11, by: SplitBy = "class") -> Splits:
    """A Source -> Splits, seeded and stratified.

    A source with a test part of its own keeps it whole, and 20% of its train part become valid; one without is
    divided 70/10/20 into train, valid and test.

    Args:
        source: from `load`.
        seed: of the random choice; the same seed gives the same split everywhere.
        by: "class" draws the same share of every class; "writer" keeps each writer's characters on one side.

    Raises:
        DataError: writers are asked for and not known, or a class has too few characters to be on every side.
    """
    train, sealed, share = source.train, source.test, 0.2
    if sealed is None:
        kept, tested = _divide(train, 0.2, by, np.random.default_rng([seed, 1]))
        train, sealed, share = train.subset(kept), train.subset(tested), 0.1 / 0.8
    kept, chosen = _divide(train, share, by, np.random.default_rng([seed, 0]))
    return Splits(train.subset(kept), train.subset(chosen), by, seed, source.note, sealed)


def _divide(
    dataset: Dataset, share: float, by: SplitBy, generator: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Indices of the rest and of `share` of the whole, each sorted so that order tells nothing."""
    taken = np.zeros(len(dataset), bool)
    if by == "writer":
        if dataset.writers is None:
            raise DataError(f"{dataset.name}: {_NO_WRITERS}, or split by class")
        groups, counts = np.unique(dataset.writers, return_counts=True)
        if len(groups) < 5:
            raise DataError(f"{dataset.name}: {len(groups)} writers are too few to split by writer; split by class")
        order = generator.permutation(len(groups))
        cut = int(np.searchsorted(np.cumsum(counts[order]), share * len(dataset))) + 1
        taken = np.isin(dataset.writers, groups[order[:cut]])
        return np.flatnonzero(~taken), np.flatnonzero(taken)
    for label, name in enumerate(dataset.classes):
        members = np.flatnonzero(dataset.labels == label)
        if len(members) == 0:
            continue
        count = round(share * len(members))
        if not 0 < count < len(members):
            raise DataError(
                f"{dataset.name}: class {name!r} has {len(members)} characters, too few to have some on every side "
                "of train, valid and test; give it at least 10"
            )
        taken[generator.permutation(members)[:count]] = True
    return np.flatnonzero(~taken), np.flatnonzero(taken)
