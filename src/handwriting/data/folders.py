"""A user's own characters: a folder with a subfolder for each class, or one file of arrays -> `Source`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from handwriting.data.dataset import Dataset, Source
from handwriting.errors import DataError, MissingExtra

PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")


def load_folder(folder: Path) -> Source:
    """FOLDER/CLASS/picture -> Source: every picture through the normal form, classes in sorted order.

    A folder that holds `train` and `test` subfolders keeps them as they are; otherwise a test part is split off later.

    Raises:
        DataError: no class folders, fewer than two classes, no pictures, or a picture in which nothing was found.
        PictureError: a picture that cannot be read, with its path.
    """
    note = f"pictures of {folder}"
    if (folder / "train").is_dir() and (folder / "test").is_dir():
        train = _load_classes(folder / "train", None)
        return Source(train, _load_classes(folder / "test", train.classes), note)
    return Source(_load_classes(folder, None), note=note)


def _load_classes(folder: Path, classes: tuple[str, ...] | None) -> Dataset:
    names = tuple(sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")))
    if classes is not None and not set(names) <= set(classes):
        raise DataError(f"{folder}: classes that train does not have: {', '.join(sorted(set(names) - set(classes)))}")
    classes = classes or names
    if len(classes) < 2:
        raise DataError(f"{folder}: needs a subfolder of pictures for each class, at least two; found {len(classes)}")
    images: list[NDArray[np.uint8]] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        for path in sorted((folder / name).glob("*")):
            if path.suffix.lower() in PICTURES:
                images.append(_character(path, str(path)))
                labels.append(label)
    if not images:
        raise DataError(f"{folder}: no pictures ({', '.join(PICTURES)}) in its class folders")
    return Dataset(folder.name, np.stack(images), np.array(labels, np.int64), classes)


def _character(picture: Path | bytes, name: str) -> NDArray[np.uint8]:
    from handwriting.imaging import normalised  # opencv: only when pictures are read

    image, _ = normalised(picture)
    if not image.any():
        raise DataError(f"{name}: nothing was found in this picture; remove it or take it anew")
    return image


def load_file(path: Path) -> Source:
    """A .npz (`images`, `labels`, optionally `classes`, `writers`) or .parquet (`image`, `label`) file -> Source.

    .npz: images uint8 (N, 28, 28), white ink on black; labels int (N,) indices, or str (N,) names.
    .parquet: `image` holds encoded pictures (PNG and others), `label` their names; this is what corrections export.

    Raises:
        DataError: another kind of file, or arrays that do not fit together.
    """
    if path.suffix == ".npz":
        return _load_npz(path)
    if path.suffix == ".parquet":
        return _load_parquet(path)
    raise DataError(f"{path}: data files are .npz or .parquet, or give a folder with a subfolder for each class")


def _load_npz(path: Path) -> Source:
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {key: archive[key] for key in archive.files}
    except (OSError, ValueError, EOFError, AttributeError) as error:  # AttributeError: a bare .npy under this name
        raise DataError(f"{path} is not a readable .npz file ({error})") from error
    if not {"images", "labels"} <= set(arrays):
        raise DataError(f"{path}: needs the arrays 'images' and 'labels'; has {', '.join(arrays) or 'none'}")
    labels, names = arrays["labels"], arrays.get("classes")
    if labels.dtype.kind == "U":
        found = np.unique(labels) if names is None else names
        unknown = sorted(set(labels.tolist()) - set(found.tolist()))
        if unknown:
            raise DataError(f"{path}: labels that 'classes' does not name: {', '.join(unknown)}")
        names, labels = found, np.array([found.tolist().index(label) for label in labels.tolist()], np.int64)
    elif labels.dtype.kind not in "iu":
        raise DataError(f"{path}: labels must be whole numbers or names, not {labels.dtype}")
    elif names is None:
        names = np.arange(int(labels.max()) + 1 if len(labels) else 0)
    writers = arrays["writers"].astype(np.int64) if "writers" in arrays else None
    classes = tuple(str(name) for name in names)
    dataset = Dataset(path.stem, arrays["images"], labels.astype(np.int64), classes, writers)
    return Source(dataset, note=f"arrays of {path}")


def _load_parquet(path: Path) -> Source:
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise MissingExtra("reading .parquet files", "serve") from error
    try:
        table = pyarrow.parquet.read_table(path, columns=["image", "label"])
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{path} is not a .parquet file with the columns 'image' and 'label' ({error})") from error
    names = [str(name) for name in table["label"].to_pylist()]
    classes = tuple(sorted(set(names)))
    pictures = enumerate(table["image"].to_pylist())
    images = [_character(bytes(content), f"{path}, row {row}") for row, content in pictures]
    if not images:
        raise DataError(f"{path} holds no characters")
    labels = np.array([classes.index(name) for name in names], np.int64)
    return Source(Dataset(path.stem, np.stack(images), labels, classes), note=f"pictures of {path}")
