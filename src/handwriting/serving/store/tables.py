"""The one table of corrections, as SQLAlchemy sees it; the migrations make it."""

from __future__ import annotations

import datetime as dt

from sqlalchemy import DateTime, Float, LargeBinary, String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    """Holds the metadata that the migrations are compared with."""


class Row(Base):
    """One correction: the picture as the model saw it, what it said, and what the writer says it is."""

    __tablename__ = "corrections"

    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    created_at: Mapped[dt.datetime] = mapped_column(DateTime(timezone=True), index=True)
    session: Mapped[str] = mapped_column(String(64), index=True)
    label: Mapped[str] = mapped_column(String(32))
    predicted_label: Mapped[str] = mapped_column(String(32))
    predicted_probability: Mapped[float] = mapped_column(Float)
    model: Mapped[str] = mapped_column(String(128))
    model_version: Mapped[str] = mapped_column(String(128))
    image: Mapped[bytes] = mapped_column(LargeBinary(784))
