"""Tables made of columns, as the bytes of Parquet files in the store, and read again part by part."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from assay.errors import DataError, StoreError
from assay.store import formats
from assay.store.store import Store

AGAIN = "delete it and run the same audit again, which makes only what is missing"


def table(columns: Mapping[str, Any], schema: pa.Schema) -> pa.Table:
    """A table of `schema` from columns of one length, of which at least one is an array; a single value fills its own.

    Text is held as a dictionary, so that a word that occurs in a million rows is there once; `dump` writes plain text.
    """
    length = next(len(column) for column in columns.values() if not _single(column))
    return pa.table({field.name: _array(columns[field.name], field.type, length) for field in schema})


def dump(table: pa.Table) -> bytes:
    """A table as the bytes of a Parquet file, which says the version of its format."""
    text = [
        field.name for field in table.schema if pa.types.is_string(field.type) or pa.types.is_dictionary(field.type)
    ]
    content = io.BytesIO()
    # Only words repeat; a dictionary of scores costs most of the time and saves nothing. Without the Arrow schema a
    # reader of any language gets the plain types of tables.py.
    with pq.ParquetWriter(content, table.schema, use_dictionary=text, store_schema=False) as writer:
        writer.write_table(table)
        writer.add_key_value_metadata({formats.TABLE_FIELD: str(formats.written("table"))})
    return content.getvalue()


def load(store: Store, key: str, schema: pa.Schema | None = None) -> pa.Table:
    """The table of that key, with the columns of `schema` or its own; raises StoreError or DataError."""
    place, content = store.place(key), io.BytesIO(store.read(key))
    try:
        table = pq.read_table(content)
        formats.check_table(table.schema.metadata, place)
        table = table if schema is None else table.cast(schema)
        table.validate(full=True)  # a byte changed in a text can make it no text, which nobody else looks for
        return table
    except (pa.ArrowException, OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"{place} is damaged ({reason}); {AGAIN}") from error


def parts(store: Store, keys: Iterable[str], columns: Sequence[str], remedy: str = AGAIN) -> Iterator[pa.Table]:
    """Some columns of the tables of those keys, a row group at a time, text as dictionaries.

    Raises DataError, with the remedy, for a file that cannot be read or lacks a column.
    """
    for key in keys:
        path = store.place(key)
        try:
            content = pa.BufferReader(store.read(key))
            schema = pq.read_schema(content)
            formats.check_table(schema.metadata, path)
            missing = [name for name in columns if name not in schema.names]
            if missing:
                raise DataError(f"{path} has no column {', '.join(missing)}; {remedy}")
            text = [name for name in columns if pa.types.is_string(schema.field(name).type)]
            with pq.ParquetFile(content, read_dictionary=text) as file:
                for group in range(file.num_row_groups):
                    yield file.read_row_group(group, columns=list(columns))
        except StoreError as error:
            if not isinstance(error.__cause__, FileNotFoundError):
                raise
            raise DataError(f"{path} is missing; {remedy}") from None
        except (pa.ArrowException, OSError) as error:
            raise DataError(f"{path} is damaged ({str(error).splitlines()[0]}); {remedy}") from error


def _single(column: Any) -> bool:
    return isinstance(column, str | bytes) or np.ndim(column) == 0


def _array(column: Any, kind: pa.DataType, length: int) -> pa.Array:
    if not _single(column):
        array = pa.array(column, type=kind) if not isinstance(column, pa.Array) else column
        return array.dictionary_encode() if pa.types.is_string(kind) else array
    if pa.types.is_string(kind):
        return pa.DictionaryArray.from_arrays(pa.array(np.zeros(length, dtype=np.int32)), pa.array([column], type=kind))
    return pa.repeat(pa.scalar(column, type=kind), length)
