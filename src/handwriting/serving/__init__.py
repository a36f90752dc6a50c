"""The HTTP service: answers about pictures, a page to draw on, a store of corrections, and learning from them."""

from handwriting.serving.app import create_app
from handwriting.serving.server import serve
from handwriting.serving.settings import ServiceError, Settings, default_state
from handwriting.serving.store import Correction, Store, default_url, export_folder, export_parquet

__all__ = [
    "Correction",
    "ServiceError",
    "Settings",
    "Store",
    "create_app",
    "default_state",
    "default_url",
    "export_folder",
    "export_parquet",
    "serve",
]
