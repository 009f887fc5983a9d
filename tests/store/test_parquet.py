"""A table that was damaged is a DataError, whatever byte was changed."""

from __future__ import annotations

import pyarrow as pa
import pytest

from assay.errors import DataError
from assay.store import parquet
from assay.store.store import Store

SCHEMA = pa.schema([("name", pa.string()), ("value", pa.float64())])
TABLE = pa.table({"name": ["in_ball", "clean_scores"], "value": [1.0, 2.0]}, schema=SCHEMA)


@pytest.mark.parametrize("change", [0x01, 0x80, 0xFF])
def test_one_changed_byte_is_an_error_for_people_or_another_table(tmp_path, change):
    store, content = Store(tmp_path), parquet.dump(TABLE)
    refused = []
    for at in range(len(content)):
        store.path("t.parquet").write_bytes(content[:at] + bytes([content[at] ^ change]) + content[at + 1 :])
        try:
            parquet.load(store, "t.parquet", SCHEMA).to_pylist()
        except DataError as error:
            refused.append(str(error))
    assert len(refused) > len(content) / 20
    assert all("t.parquet is damaged" in told for told in refused)
