"""Tables as the bytes of Parquet files in the store."""

from __future__ import annotations

import io

import pyarrow as pa
import pyarrow.parquet as pq

from assay.errors import DataError
from assay.store import Store


def dump(table: pa.Table) -> bytes:
    """A table as the bytes of a Parquet file."""
    content = io.BytesIO()
    pq.write_table(table, content)
    return content.getvalue()


def load(store: Store, key: str, schema: pa.Schema) -> pa.Table:
    """The table of that key with the columns of `schema`; raises StoreError or DataError, saying what to do."""
    content = io.BytesIO(store.read(key))
    try:
        return pq.read_table(content).cast(schema)
    except (pa.ArrowException, OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(
            f"{store.path(key)} is damaged ({reason}); delete it and run the same audit again, which makes only what "
            "is missing"
        ) from error
