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
from assay.store.schemas import CATEGORY, NEWER
from assay.store.store import Store

AGAIN = "delete it and run the same audit again, which makes only what is missing"


def table(columns: Mapping[str, Any], schema: pa.Schema) -> pa.Table:
    """A table of `schema` from columns of one length, of which at least one is an array; a single value fills its own.

    Text is held as a dictionary, so that a word that occurs in a million rows is there once; `dump` writes plain text.
    A column of categories is filled with nothing where there are none.
    """
    length = next(len(column) for column in columns.values() if not _single(column))
    columns = {CATEGORY: None, **columns}
    return pa.table({field.name: _array(columns[field.name], field.type, length) for field in schema})


def dump(table: pa.Table) -> bytes:
    """A table as the bytes of a Parquet file, which says the version of its format."""
    text = [
        field.name for field in table.schema if pa.types.is_string(field.type) or pa.types.is_dictionary(field.type)
    ]
    content = io.BytesIO()
    # Only words repeat; a dictionary of scores costs most of the time and saves nothing. Without the Arrow schema a
    # reader of any language gets the plain types of schemas.py.
    with pq.ParquetWriter(content, table.schema, use_dictionary=text, store_schema=False) as writer:
        writer.write_table(table)
        writer.add_key_value_metadata({formats.TABLE_FIELD: str(formats.written("table"))})
    return content.getvalue()


def opened(content: bytes, text: Sequence[str] = ()) -> pq.ParquetFile:
    """A Parquet file of a store, `text` columns read as dictionaries; the only place where one is opened.

    Raises pa.ArrowInvalid for one with a column of an extension type, whose values other code would make (Ray unpickles
    them), and for one that unpacks to far more than its size.
    """
    file = pq.ParquetFile(pa.BufferReader(content), read_dictionary=list(text))
    if extended := [name for name, field in _fields(file.schema_arrow) if _extended(field)]:
        raise pa.ArrowInvalid(f"column {extended[0]!r} is of an extension type, which is never read")
    groups = [file.metadata.row_group(group) for group in range(file.metadata.num_row_groups)]
    unpacked, rows = sum(group.total_byte_size for group in groups), sum(group.num_rows for group in groups)
    if unpacked > UNPACKED * len(content) + SMALL or rows > ROWS * len(content) + SMALL:
        raise pa.ArrowInvalid(
            f"{len(content)} bytes that unpack to {unpacked} bytes and {rows} rows are no table of ours"
        )
    return file


UNPACKED, ROWS, SMALL = 1000, 64, 2**22
"""The most bytes, and rows, that a byte of a file may stand for; a small table may have as many as it likes."""


def _fields(schema: pa.Schema) -> Iterator[tuple[str, pa.Field]]:
    """Every column and all that is nested in it, with the column's name."""
    pending = [(field.name, field) for field in schema]
    while pending:
        name, field = pending.pop()
        yield name, field
        if not isinstance(field.type, pa.BaseExtensionType):
            pending += [(name, field.type.field(i)) for i in range(field.type.num_fields)]


def _extended(field: pa.Field) -> bool:
    """Whether a type has a name of its own, registered in this process or not."""
    return isinstance(field.type, pa.BaseExtensionType) or b"ARROW:extension:name" in (field.metadata or {})


def load(store: Store, key: str, schema: pa.Schema | None = None) -> pa.Table:
    """The table of that key, with the columns of `schema` or its own; raises StoreError or DataError."""
    place, content = store.place(key), store.read(key)
    try:
        table = opened(content).read()
        formats.check_table(table.schema.metadata, place)
        table = table if schema is None else conform(table, schema)
        table.validate(full=True)  # a byte changed in a text can make it no text, which nobody else looks for
        return table
    except (pa.ArrowException, OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"{place} is damaged ({reason}); {AGAIN}") from error


def parts(
    store: Store, keys: Iterable[str], columns: Sequence[str], remedy: str = AGAIN, newer: Sequence[str] = ()
) -> Iterator[pa.Table]:
    """Some columns of the tables of those keys, a row group at a time, text as dictionaries.

    newer: more columns, which older tables may lack. Raises DataError, with the remedy, for a file that cannot be read
    or lacks one of `columns`.
    """
    for key in keys:
        path = store.place(key)
        try:
            content = store.read(key)
            schema = opened(content).schema_arrow
            formats.check_table(schema.metadata, path)
            missing = [name for name in columns if name not in schema.names]
            if missing:
                raise DataError(f"{path} has no column {', '.join(missing)}; {remedy}")
            wanted = [*columns, *(name for name in newer if name in schema.names)]
            text = [name for name in wanted if pa.types.is_string(schema.field(name).type)]
            with opened(content, text) as file:
                for group in range(file.num_row_groups):
                    yield file.read_row_group(group, columns=wanted)
        except StoreError as error:
            if not isinstance(error.__cause__, FileNotFoundError):
                raise
            raise DataError(f"{path} is missing; {remedy}") from None
        except (pa.ArrowException, OSError) as error:
            raise DataError(f"{path} is damaged ({str(error).splitlines()[0]}); {remedy}") from error


def conform(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """The table with the types of `schema`; columns that older tables lack (schemas.NEWER) are filled with nothing.

    Raises ValueError or pa.ArrowException where it has others.
    """
    for field in schema:
        if field.name in NEWER and field.name not in table.column_names:
            table = table.append_column(field, pa.nulls(len(table), field.type))
    return table.cast(schema)


def whole(store: Store, keys: Iterable[str], schema: pa.Schema, remedy: str = AGAIN) -> pa.Table:
    """All tables of those keys as one; raises DataError as `parts` does, ValueError or pa.ArrowException as `conform`.

    Those that older tables lack need not be there.
    """
    needed = [name for name in schema.names if name not in NEWER]
    newer = [name for name in schema.names if name in NEWER]
    found = parts(store, keys, needed, remedy, newer)
    return pa.concat_tables([schema.empty_table(), *(conform(part, schema) for part in found)])


def _single(column: Any) -> bool:
    return isinstance(column, str | bytes) or np.ndim(column) == 0


def _array(column: Any, kind: pa.DataType, length: int) -> pa.Array:
    if not _single(column):
        array = pa.array(column, type=kind) if not isinstance(column, pa.Array) else column
        return array.dictionary_encode() if pa.types.is_string(kind) else array
    if pa.types.is_string(kind):
        return pa.DictionaryArray.from_arrays(pa.array(np.zeros(length, dtype=np.int32)), pa.array([column], type=kind))
    return pa.repeat(pa.scalar(column, type=kind), length)
