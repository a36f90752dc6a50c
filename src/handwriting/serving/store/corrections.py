"""The store: corrections in, corrections out, each acknowledged only when it is on disk."""

from __future__ import annotations

import datetime as dt
import threading
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import platformdirs
import sqlalchemy
from alembic import command
from alembic.config import Config
from numpy.typing import NDArray
from sqlalchemy import Engine, delete, event, func, select
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.orm import Session

from handwriting.errors import DataError, MissingExtra
from handwriting.serving.store.tables import Row

_LOCK = 0x68616E64  # "hand": the advisory lock under which PostgreSQL migrations run one process at a time


def default_url() -> str:
    """Where corrections are kept when no store is named: a SQLite file in the user's data folder."""
    return f"sqlite:///{Path(platformdirs.user_data_dir('handwriting')) / 'corrections.sqlite3'}"


@dataclass(frozen=True, kw_only=True)
class Correction:
    """One answer put right.

    Attributes:
        image: uint8 (28, 28), white ink on black, as the model saw it.
        label: what the writer says it is, one of the model's classes.
        predicted_label, predicted_probability: the model's answer, probability in [0, 1].
        model, model_version: who answered.
        session: the opaque name that the page gave to this visit.
        id, created_at: given by the store (UUID; UTC).
    """

    image: NDArray[np.uint8]
    label: str
    predicted_label: str
    predicted_probability: float
    model: str
    model_version: str
    session: str
    id: str = ""
    created_at: dt.datetime | None = None


class Store:
    """Corrections in a database; safe to use from several threads and processes.

    Opening brings the database up to the newest schema. Every method raises DataError, in one line, when the database
    cannot do what is asked.
    """

    def __init__(self, url: str) -> None:
        try:
            self.url = make_url(url)
            if self.url.get_backend_name() not in ("sqlite", "postgresql"):
                raise DataError(f"store {self}: only sqlite:/// and postgresql+psycopg:// are supported")
            self._engine = _engine(self.url)
        except (ArgumentError, NoSuchModuleError) as error:
            raise DataError(
                "the store's URL is not one: write sqlite:////path/to/file or postgresql+psycopg://user@host/database"
            ) from error
        except ImportError as error:
            raise MissingExtra("this store", "serve") from error
        self._writing = threading.Lock()
        try:
            self._migrate()
        except (SQLAlchemyError, OSError) as error:
            self.close()
            raise self._failed("open", error) from error

    def __str__(self) -> str:
        return self.url.render_as_string(hide_password=True)

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def add(self, correction: Correction) -> Correction:
        """Correction -> the same with ``id`` and ``created_at``; when this returns it survives a crash."""
        image = correction.image
        if image.shape != (28, 28) or image.dtype != np.uint8:
            raise DataError(f"a correction's image is uint8 (28, 28), not {image.dtype} {image.shape}")
        stored = _with_identity(correction)
        row = Row(
            id=stored.id,
            created_at=stored.created_at,
            session=stored.session,
            label=stored.label,
            predicted_label=stored.predicted_label,
            predicted_probability=stored.predicted_probability,
            model=stored.model,
            model_version=stored.model_version,
            image=stored.image.tobytes(),
        )
        try:
            # SQLite has one writer at a time: queueing here is fair, its own busy-wait is not.
            with self._writing, Session(self._engine) as session, session.begin():
                session.add(row)
        except SQLAlchemyError as error:
            raise self._failed("write to", error) from error
        return stored

    def __iter__(self) -> Iterator[Correction]:
        """Every correction, oldest first, read in steps so that a large store does not fill the memory."""
        return self.select()

    def select(self, *, session: str | None = None) -> Iterator[Correction]:
        """The corrections of one ``session``, or all, oldest first."""
        query = select(Row).order_by(Row.created_at, Row.id).execution_options(yield_per=500)
        if session is not None:
            query = query.where(Row.session == session)
        try:
            with Session(self._engine) as connection:
                for row in connection.scalars(query):
                    yield _correction(row)
        except SQLAlchemyError as error:
            raise self._failed("read", error) from error

    def newest(self, session: str, most: int) -> list[Correction]:
        """The latest ``most`` corrections of ``session``, newest first."""
        query = select(Row).where(Row.session == session).order_by(Row.created_at.desc(), Row.id).limit(most)
        try:
            with Session(self._engine) as connection:
                return [_correction(row) for row in connection.scalars(query)]
        except SQLAlchemyError as error:
            raise self._failed("read", error) from error

    def count(self, *, session: str | None = None) -> int:
        """How many corrections there are, of one ``session`` or in all."""
        query = select(func.count()).select_from(Row)
        if session is not None:
            query = query.where(Row.session == session)
        try:
            with Session(self._engine) as connection:
                return connection.scalar(query) or 0
        except SQLAlchemyError as error:
            raise self._failed("read", error) from error

    def delete(self, *, id: str | None = None, session: str | None = None) -> int:  # noqa: A002 - the column's name
        """Delete by ``id`` and/or ``session``, or everything when neither is given; how many went."""
        query = delete(Row)
        if id is not None:
            query = query.where(Row.id == id)
        if session is not None:
            query = query.where(Row.session == session)
        try:
            with self._writing, Session(self._engine) as connection, connection.begin():
                return int(connection.execute(query).rowcount)  # type: ignore[attr-defined]
        except SQLAlchemyError as error:
            raise self._failed("delete from", error) from error

    def close(self) -> None:
        """Give the connections back."""
        self._engine.dispose()

    def _migrate(self) -> None:
        if self.url.get_backend_name() == "sqlite" and self.url.database not in (None, "", ":memory:"):
            Path(str(self.url.database)).parent.mkdir(parents=True, exist_ok=True)
        config = Config()
        config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
        with self._engine.execution_options(immediate=True).begin() as connection:
            if self.url.get_backend_name() == "postgresql":
                connection.execute(sqlalchemy.text(f"select pg_advisory_xact_lock({_LOCK})"))
            config.attributes["connection"] = connection
            command.upgrade(config, "head")

    def _failed(self, what: str, error: Exception) -> DataError:
        cause = str(getattr(error, "orig", None) or error).strip().splitlines()[:1]
        return DataError(f"cannot {what} the store {self}: {cause[0] if cause else type(error).__name__}")


def _engine(url: sqlalchemy.URL) -> Engine:
    if url.get_backend_name() == "postgresql":
        # A server that is not there is told within seconds; left alone, the driver waits for minutes.
        patience = {"connect_timeout": "5", "tcp_user_timeout": "20000", **url.query}
        return sqlalchemy.create_engine(url.set(query=patience), pool_pre_ping=True, pool_size=4, max_overflow=4)
    engine = sqlalchemy.create_engine(url, connect_args={"timeout": 30})

    @event.listens_for(engine, "connect")
    def prepare(connection: object, _record: object) -> None:
        cursor = connection.cursor()  # type: ignore[attr-defined]
        # WAL: readers never block the writer. FULL: a commit is on disk before it is acknowledged, power cut included.
        # secure_delete: a deleted drawing's bytes are overwritten, not left in free pages.
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "secure_delete=ON"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()
        connection.isolation_level = None  # type: ignore[attr-defined]  # SQLAlchemy begins, see below

    @event.listens_for(engine, "begin")
    def begin(connection: sqlalchemy.Connection) -> None:
        # Python's sqlite3 would begin lazily and outside DDL: two processes could then migrate at once, so migrating
        # takes the write lock first; everything else reads without holding up the writer.
        immediate = connection.get_execution_options().get("immediate", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")

    return engine


def _with_identity(correction: Correction) -> Correction:
    return Correction(
        image=np.ascontiguousarray(correction.image),
        label=correction.label,
        predicted_label=correction.predicted_label,
        predicted_probability=float(correction.predicted_probability),
        model=correction.model,
        model_version=correction.model_version,
        session=correction.session,
        id=str(uuid.uuid4()),
        created_at=dt.datetime.now(dt.timezone.utc),
    )


def _correction(row: Row) -> Correction:
    when = row.created_at if row.created_at.tzinfo else row.created_at.replace(tzinfo=dt.timezone.utc)
    return Correction(
        image=np.frombuffer(row.image, np.uint8).reshape(28, 28),
        label=row.label,
        predicted_label=row.predicted_label,
        predicted_probability=row.predicted_probability,
        model=row.model,
        model_version=row.model_version,
        session=row.session,
        id=row.id,
        created_at=when.astimezone(dt.timezone.utc),
    )
