"""Corrections out of the store, in the forms that ``handwriting train --data`` takes."""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path

from PIL import Image

from handwriting.errors import DataError
from handwriting.files import whole, write_whole
from handwriting.serving.store.corrections import Correction


def png(correction: Correction) -> bytes:
    """The correction's image as a 28x28 grey PNG."""
    buffer = io.BytesIO()
    Image.fromarray(correction.image).save(buffer, "PNG")
    return buffer.getvalue()


def export_folder(corrections: Iterable[Correction], folder: str | Path) -> int:
    """Corrections -> FOLDER/LABEL/ID.png, the layout of one's own folder of characters; how many were written.

    Pictures already there stay, so that exporting again after more corrections adds the new ones.

    Raises:
        DataError: a label that cannot be a folder's name.
        SaveError: the file system refused.
    """
    count = 0
    for correction in corrections:
        label = correction.label
        if label in (".", "..") or label != Path(label).name or label.startswith("."):
            raise DataError(f"the label {label!r} cannot be a folder's name: export to Parquet instead")
        write_whole(Path(folder) / label / f"{correction.id}.png", png(correction))
        count += 1
    return count


def export_parquet(corrections: Iterable[Correction], file: str | Path) -> int:
    """Corrections -> one Parquet file, written whole; how many rows.

    Columns: `image` (PNG bytes, 28x28 grey) and `label`, which `train --data FILE` reads; besides them `id`,
    `created_at` (UTC), `session`, `predicted_label`, `predicted_probability`, `model`, `model_version`.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema(
        [
            ("image", pa.binary()),
            ("label", pa.string()),
            ("id", pa.string()),
            ("created_at", pa.timestamp("us", tz="UTC")),
            ("session", pa.string()),
            ("predicted_label", pa.string()),
            ("predicted_probability", pa.float64()),
            ("model", pa.string()),
            ("model_version", pa.string()),
        ]
    )
    count = 0
    with whole(file) as temporary, pq.ParquetWriter(temporary, schema) as writer:
        rows: list[dict[str, object]] = []
        for correction in corrections:
            row = {name: getattr(correction, name) for name in schema.names if name != "image"}
            rows.append({"image": png(correction), **row})
            count += 1
            if len(rows) == 1000:
                writer.write_table(pa.Table.from_pylist(rows, schema=schema))
                rows = []
        writer.write_table(pa.Table.from_pylist(rows, schema=schema))
    return count
