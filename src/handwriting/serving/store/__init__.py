"""Corrections: what the model got wrong and what it really was, in SQLite or PostgreSQL, with consent only."""

from handwriting.serving.store.corrections import Correction, Store, default_url
from handwriting.serving.store.export import export_folder, export_parquet

__all__ = ["Correction", "Store", "default_url", "export_folder", "export_parquet"]
