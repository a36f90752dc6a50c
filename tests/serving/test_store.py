"""The store keeps what it acknowledged, gives it back whole, and forgets what it is told to."""

from __future__ import annotations

import dataclasses
import io
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import sqlalchemy
from PIL import Image

from handwriting.errors import DataError
from handwriting.serving.store import Correction, Store, export_folder, export_parquet
from handwriting.serving.store.tables import Base


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'deep' / 'corrections.sqlite3'}"
    base = str(request.getfixturevalue("postgres"))
    name = f"t{abs(hash(str(tmp_path)))}"
    engine = sqlalchemy.create_engine(base, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(sqlalchemy.text(f"create database {name}"))
    engine.dispose()
    return base.rsplit("/", 1)[0] + "/" + name


def test_a_correction_comes_back_as_it_went_in(url: str, correction: Correction) -> None:
    store = Store(url)
    stored = store.add(correction)
    store.close()
    with Store(url) as reopened:
        [back] = reopened
    assert dataclasses.replace(back, image=correction.image) == dataclasses.replace(stored, image=correction.image)
    np.testing.assert_array_equal(back.image, correction.image)
    assert back.created_at is not None
    assert back.created_at.tzinfo is not None


def test_one_session_or_one_correction_or_all_are_deleted(url: str, correction: Correction) -> None:
    store = Store(url)
    first, second = store.add(correction), store.add(correction)
    other = store.add(dataclasses.replace(correction, session="another"))
    assert store.delete(id=first.id, session="another") == 0
    assert store.delete(id=first.id) == 1
    assert [kept.id for kept in store] == [second.id, other.id]
    assert store.delete(session="a-session") == 1
    assert [kept.id for kept in store.select(session="another")] == [other.id]
    assert store.delete() == 1
    assert store.count() == 0
    store.close()


def test_the_migrations_make_exactly_the_tables_that_the_code_uses(url: str) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    Store(url).close()
    engine = sqlalchemy.create_engine(url)
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []
    engine.dispose()
    Store(url).close()  # opening again changes nothing


def test_many_writers_at_once_lose_nothing(url: str, correction: Correction) -> None:
    stores = [Store(url) for _ in range(3)]
    with ThreadPoolExecutor(12) as pool:
        ids = list(pool.map(lambda turn: stores[turn % 3].add(correction).id, range(60)))
    assert {kept.id for kept in stores[0]} == set(ids)
    for store in stores:
        store.close()


def test_processes_that_open_a_new_store_together_agree_on_its_schema(url: str) -> None:
    script = f"from handwriting.serving.store import Store\nwith Store({url!r}) as store: print(store.count())"
    processes = [subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) for _ in range(3)]
    assert [process.communicate(timeout=60)[0].strip() for process in processes] == [b"0"] * 3


def test_export_gives_a_folder_of_classes_and_a_parquet_file(tmp_path: Path, correction: Correction) -> None:
    store = Store(f"sqlite:///{tmp_path / 'c.sqlite3'}")
    one = store.add(correction)
    seven = store.add(dataclasses.replace(correction, label="7"))
    assert export_folder(store, tmp_path / "out") == 2
    assert export_folder(store, tmp_path / "out") == 2
    pictures = sorted(path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.png"))
    assert pictures == [f"1/{one.id}.png", f"7/{seven.id}.png"]
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "out" / pictures[0])), correction.image)

    assert export_parquet(store, tmp_path / "out.parquet") == 2
    table = pq.read_table(tmp_path / "out.parquet")
    assert table["label"].to_pylist() == ["1", "7"]
    assert table["created_at"].to_pylist() == [one.created_at, seven.created_at]
    image = np.asarray(Image.open(io.BytesIO(table["image"][0].as_py())))
    np.testing.assert_array_equal(image, correction.image)
    store.close()


def test_an_exported_label_never_leaves_the_folder(tmp_path: Path, correction: Correction) -> None:
    for label in ("..", "../x", "a/b", ".hidden"):
        with pytest.raises(DataError, match="cannot be a folder's name"):
            export_folder([dataclasses.replace(correction, label=label, id="i")], tmp_path / "out")


def test_deleted_drawings_do_not_linger_in_the_file(tmp_path: Path, correction: Correction) -> None:
    file = tmp_path / "c.sqlite3"
    store = Store(f"sqlite:///{file}")
    image = np.random.default_rng(0).integers(0, 256, (28, 28), np.uint8)
    store.add(dataclasses.replace(correction, image=image))
    store.delete()
    store.close()
    with sqlite3.connect(file) as connection:
        connection.execute("pragma wal_checkpoint(truncate)")
    assert image.tobytes()[:64] not in b"".join(path.read_bytes() for path in tmp_path.glob("c.sqlite3*"))


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("nonsense", "URL"),
        ("mysql://x", "only sqlite"),
        ("sqlite:////proc/nowhere/c.sqlite3", "cannot open"),
        ("postgresql+psycopg://someone:secret@127.0.0.1:1/none", "cannot open"),
    ],
)
def test_a_store_that_cannot_be_opened_is_told_in_one_line_without_its_password(url: str, says: str) -> None:
    with pytest.raises(DataError, match=says) as caught:
        Store(url)
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)
