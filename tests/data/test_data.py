"""Data: IDX files, named sets, splits, own folders and files, and what bad ones get."""

from __future__ import annotations

import gzip
import http.server
import struct
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from handwriting import data
from handwriting.data import NAMES, Dataset, RemoteFile, Source, split
from handwriting.data.download import fetch, fetch_all
from handwriting.data.idx import read_idx
from handwriting.errors import DataError, UnknownName


def idx(array: np.ndarray) -> bytes:
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.astype(np.uint8).tobytes()


@given(st.lists(st.integers(1, 5), min_size=1, max_size=3), st.booleans())
@settings(max_examples=25, deadline=None)
def test_idx_files_come_back_as_they_were_written(shape: list[int], packed: bool) -> None:
    array = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    path = Path("/tmp") / f"handwriting-idx-test-{threading.get_ident()}"  # noqa: S108
    path.write_bytes(gzip.compress(idx(array)) if packed else idx(array))
    try:
        np.testing.assert_array_equal(read_idx(path), array)
    finally:
        path.unlink()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not an IDX file"),
        (b"GIF89a--------", "not an IDX file"),
        (idx(np.zeros((3, 28, 28)))[:-1], "truncated"),
        (idx(np.zeros((3, 28, 28)))[:7], "truncated"),
        (idx(np.zeros((3, 28, 28))) + b"x", "too long"),
        (gzip.compress(idx(np.zeros((3, 28, 28))))[:-9], "truncated or broken"),
    ],
)
def test_a_broken_idx_file_is_named_and_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "broken.gz"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message) as error:
        read_idx(path)
    assert str(path) in str(error.value)


def test_a_file_that_is_not_the_original_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(idx(np.zeros((3, 28, 28))))
    with pytest.raises(DataError, match="MD5"):
        read_idx(path, md5="0" * 32)


def test_the_sample_is_real_digits_split_70_10_20(sample: Dataset) -> None:
    assert sample.images.shape == (5000, 28, 28)
    splits = split(data.load("mnist-sample"))
    assert (len(splits.train), len(splits.valid), splits.test_size) == (3500, 500, 1000)
    assert np.bincount(splits.train.labels).tolist() == [350] * 10


def digits_of(part: Dataset) -> set[bytes]:
    return {image.tobytes() for image in part.images}


def test_no_digit_is_on_two_sides_and_none_is_lost(sample: Dataset) -> None:
    splits = split(Source(sample))
    parts = [digits_of(splits.train), digits_of(splits.valid), digits_of(splits.open_test())]
    assert sum(map(len, parts)) == len(set.union(*parts)) == len(digits_of(sample))


def test_the_same_seed_splits_the_same_and_another_otherwise(sample: Dataset) -> None:
    first, again, other = (split(Source(sample), seed=seed).train.fingerprint() for seed in (1, 1, 2))
    assert first == again != other


def test_splitting_by_writer_keeps_each_writer_on_one_side(sample: Dataset) -> None:
    writers = np.arange(len(sample)) // 50
    splits = split(Source(replace(sample, writers=writers.astype(np.int64))), by="writer")
    sides = [part.writers for part in (splits.train, splits.valid, splits.open_test())]
    groups = [set(side.tolist()) for side in sides if side is not None]
    assert len(set.union(*groups)) == sum(map(len, groups)) == 100
    assert len(splits.valid) == pytest.approx(500, abs=60)


def test_hands_are_the_characters_of_each_writer(sample: Dataset) -> None:
    writers = np.random.default_rng(0).integers(40, size=len(sample)).astype(np.int64)
    writers[:3] = 99
    dataset = replace(sample, writers=writers)
    hands = dataset.hands(least=4)
    assert len(hands) == 40  # the writer of three characters is left out
    assert sorted(np.concatenate(hands).tolist()) == list(range(3, len(sample)))
    assert all((np.diff(own) > 0).all() and len(set(writers[own].tolist())) == 1 for own in hands)
    assert len(dataset.hands(least=3)) == 41
    with pytest.raises(DataError, match="qmnist_writers.npz"):
        sample.hands()


def test_splitting_by_writer_needs_writers(sample: Dataset) -> None:
    with pytest.raises(DataError, match="qmnist_writers.npz"):
        split(Source(sample), by="writer")


def test_opening_the_test_part_is_counted(sample: Dataset) -> None:
    splits = split(Source(sample))
    assert splits.times_opened == 0
    splits.open_test()
    assert splits.times_opened == 1


def test_a_class_too_small_to_split_is_named(sample: Dataset) -> None:
    few = np.append(np.flatnonzero(sample.labels != 3), np.flatnonzero(sample.labels == 3)[:2])
    with pytest.raises(DataError, match="class '3' has 2 characters"):
        split(Source(sample.subset(few)))


def test_an_unknown_data_set_brings_the_nearest_name() -> None:
    with pytest.raises(UnknownName, match="did you mean 'mnist'"):
        data.load("mnits")


@pytest.mark.parametrize("name", ["no/such/folder", "nothing.npz"])
def test_a_missing_path_is_said_to_be_missing(name: str) -> None:
    with pytest.raises(DataError, match="no such folder or file"):
        data.load(name)


def test_without_network_or_files_mnist_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HANDWRITING_DATA", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("handwriting.data.download._ATTEMPTS", 1)
    monkeypatch.setitem(NAMES, "mnist", replace(NAMES["mnist"], mirrors=("http://127.0.0.1:9/",)))
    with pytest.raises(DataError, match=r"mnist-sample.*HANDWRITING_DATA"):
        data.load("mnist")


@pytest.mark.mnist
def test_whole_mnist_is_the_canonical_one(whole_mnist: Path) -> None:
    source = data.load("mnist", data_dir=whole_mnist)
    assert source.test is not None
    assert (len(source.train), len(source.test)) == (60000, 10000)
    splits = split(source)
    assert (len(splits.train), len(splits.valid)) == (48000, 12000)


@pytest.mark.mnist
def test_mnist_writers_stay_on_one_side(whole_mnist: Path) -> None:
    splits = split(data.load("mnist", data_dir=whole_mnist), by="writer")
    assert splits.train.writers is not None
    assert splits.valid.writers is not None
    assert not set(splits.train.writers.tolist()) & set(splits.valid.writers.tolist())


@pytest.mark.mnist
def test_a_truncated_mnist_file_is_never_used(whole_mnist: Path, tmp_path: Path) -> None:
    for file in NAMES["mnist"].files:
        content = (whole_mnist / "mnist" / file.name).read_bytes()
        (tmp_path / "mnist").mkdir(exist_ok=True)
        (tmp_path / "mnist" / file.name).write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match="train-images-idx3-ubyte.gz is truncated"):
        data.load("mnist", data_dir=tmp_path)


class Mirror(http.server.BaseHTTPRequestHandler):
    """A real HTTP server: /broken/ gives rubbish, /gone/ 404, anything else the file."""

    content = gzip.compress(idx(np.arange(5)), mtime=0)
    asked: list[str] = []  # noqa: RUF012 - emptied by each test

    def do_GET(self) -> None:
        Mirror.asked.append(self.path)
        if "gone" in self.path:
            self.send_error(404)
            return
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"rubbish" if "broken" in self.path else self.content)

    def log_message(self, *_arguments: object) -> None:
        pass


@pytest.fixture
def mirror() -> Iterator[str]:
    Mirror.asked = []
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Mirror) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def remote(*mirrors: str) -> tuple[data.Named, RemoteFile]:
    import hashlib

    packed = hashlib.md5(Mirror.content, usedforsecurity=False).hexdigest()
    plain = hashlib.md5(gzip.decompress(Mirror.content), usedforsecurity=False).hexdigest()
    file = RemoteFile("five.gz", packed, plain)
    return replace(NAMES["mnist"], name="five", files=(file,), mirrors=mirrors), file


def test_a_download_falls_through_to_the_mirror_that_has_the_file(mirror: str, tmp_path: Path) -> None:
    named, file = remote(f"{mirror}/gone/", f"{mirror}/broken/", f"{mirror}/good/")
    path = fetch(named, file, tmp_path)
    assert read_idx(path, md5=file.md5).tolist() == [0, 1, 2, 3, 4]
    assert [asked.split("/")[1] for asked in Mirror.asked] == ["gone", "broken", "good"]


def test_a_download_shows_its_progress_where_somebody_looks_on(
    mirror: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    named, file = remote(f"{mirror}/good/")
    fetch(named, file, tmp_path)
    assert "B/s" in capsys.readouterr().err


def test_a_broken_download_is_never_kept(mirror: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("handwriting.data.download._ATTEMPTS", 1)
    named, file = remote(f"{mirror}/broken/")
    with pytest.raises(DataError, match="cannot fetch five/five.gz"):
        fetch(named, file, tmp_path)
    assert not (tmp_path / "five.gz").exists()


def test_fetching_again_keeps_the_good_and_replaces_the_bad(mirror: str, tmp_path: Path) -> None:
    named, _ = remote(f"{mirror}/good/")
    (path,) = fetch_all(named, tmp_path)
    fetch_all(named, tmp_path)
    assert len(Mirror.asked) == 1
    path.write_bytes(path.read_bytes()[:-5])
    fetch_all(named, tmp_path)
    assert len(Mirror.asked) == 2
    assert path.read_bytes() == Mirror.content


def write_folder(folder: Path, sample: Dataset, classes: str, count: int) -> Path:
    for name in classes:
        (folder / name).mkdir(parents=True)
        for number, index in enumerate(np.flatnonzero(sample.labels == int(name))[:count]):
            picture = 255 - np.pad(cv2.resize(sample.images[index], (84, 84)), 20)  # dark ink on white paper
            cv2.imwrite(str(folder / name / f"{number}.png"), picture)
    return folder


def test_a_folder_of_class_folders_is_a_data_set(sample: Dataset, tmp_path: Path) -> None:
    source = data.load(write_folder(tmp_path / "mine", sample, "17", 4))
    assert source.train.classes == ("1", "7")
    assert source.train.labels.tolist() == [0] * 4 + [1] * 4
    assert source.train.images.max() > 200
    assert np.median(source.train.images) == 0  # white ink on black, whatever the paper was


def test_train_and_test_folders_are_kept_apart(sample: Dataset, tmp_path: Path) -> None:
    write_folder(tmp_path / "train", sample, "17", 3)
    write_folder(tmp_path / "test", sample, "7", 2)
    source = data.load(tmp_path)
    assert source.test is not None
    assert source.test.labels.tolist() == [1, 1]


@pytest.mark.parametrize("make", ["empty", "one", "blank", "bad"])
def test_a_folder_that_is_no_data_set_says_why(make: str, sample: Dataset, tmp_path: Path) -> None:
    if make == "one":
        write_folder(tmp_path, sample, "1", 2)
    if make in ("blank", "bad"):
        write_folder(tmp_path, sample, "17", 2)
        content = cv2.imencode(".png", np.full((50, 50), 255, np.uint8))[1].tobytes() if make == "blank" else b"no"
        (tmp_path / "7" / "x.png").write_bytes(content)
    with pytest.raises(Exception, match=r"at least two|nothing was found|x\.png") as error:
        data.load(tmp_path)
    assert str(tmp_path) in str(error.value)


def test_arrays_in_a_file_are_a_data_set(small_file: Path) -> None:
    source = data.load(small_file)
    assert len(source.train) == 1000
    assert source.train.classes == tuple("0123456789")


def test_labels_in_a_file_may_be_names(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", images=np.zeros((3, 28, 28), np.uint8), labels=np.array(["b", "a", "b"]))
    dataset = data.load(tmp_path / "a.npz").train
    assert (dataset.classes, dataset.labels.tolist()) == (("a", "b"), [1, 0, 1])


@pytest.mark.parametrize(
    "arrays",
    [
        {"images": np.zeros((3, 28, 28), np.uint8)},
        {"images": np.zeros((3, 28, 27), np.uint8), "labels": np.zeros(3, np.int64)},
        {"images": np.zeros((3, 28, 28)), "labels": np.zeros(3, np.int64)},
        {"images": np.zeros((3, 28, 28), np.uint8), "labels": np.zeros(2, np.int64)},
        {"images": np.zeros((3, 28, 28), np.uint8), "labels": np.array([0, 1, -1])},
        {"images": np.zeros((3, 28, 28), np.uint8), "labels": np.array([0.5, 1, 2])},
        {"images": np.zeros((2, 28, 28), np.uint8), "labels": np.array(["a", "z"]), "classes": np.array(["a", "b"])},
    ],
)
def test_arrays_that_do_not_fit_are_refused(tmp_path: Path, arrays: dict[str, np.ndarray]) -> None:
    np.savez(tmp_path / "a.npz", **arrays)  # type: ignore[arg-type]
    with pytest.raises(DataError):
        data.load(tmp_path / "a.npz")


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    for name in ("a.npz", "a.txt"):
        (tmp_path / name).write_bytes(b"hello")
        with pytest.raises(DataError, match="npz"):
            data.load(tmp_path / name)
