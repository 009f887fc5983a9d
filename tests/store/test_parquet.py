"""A table that was damaged is a DataError, whatever byte was changed."""

from __future__ import annotations

import io
import pickle
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from assay.errors import DataError
from assay.store import parquet
from assay.store.audit_reader import Audit
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


class Pickled(pa.ExtensionType):
    """As Ray's: its values are unpickled when they are asked for."""

    def __init__(self) -> None:
        super().__init__(pa.binary(), "pickled.for.a.test")

    def __arrow_ext_serialize__(self) -> bytes:
        return b""

    @classmethod
    def __arrow_ext_deserialize__(cls, storage, serialized) -> Pickled:
        return cls()

    def __arrow_ext_scalar_class__(self):
        return Value


class Value(pa.ExtensionScalar):
    def as_py(self, **options):
        return pickle.loads(self.value.as_py())


class Bomb:
    def __reduce__(self):
        return Path.touch, (Path("ran"),)


def planted(nested: bool) -> bytes:
    values = pa.ExtensionArray.from_storage(Pickled(), pa.array([pickle.dumps(Bomb())] * 2, pa.binary()))
    column = pa.StructArray.from_arrays([values], ["inner"]) if nested else values
    content = io.BytesIO()
    pq.write_table(pa.table({**{name: TABLE[name] for name in TABLE.column_names}, "more": column}), content)
    return content.getvalue()


@pytest.fixture(params=["registered", "unknown"])
def registered(request, tmp_path, monkeypatch):
    """Both where the type is known to this process, as Ray's is once `ray.data` is imported, and where it is not."""
    monkeypatch.chdir(tmp_path)
    if request.param == "registered":
        pa.register_extension_type(Pickled())
    yield request.param == "registered"
    if request.param == "registered":
        pa.unregister_extension_type("pickled.for.a.test")
    assert not Path("ran").exists()


def test_the_planted_column_would_go_off(registered):
    rows = pq.read_table(io.BytesIO(planted(nested=False))).to_pylist()
    assert Path("ran").exists() == registered
    assert len(rows) == 2
    Path("ran").unlink(missing_ok=True)


@pytest.mark.parametrize("nested", [False, True])
def test_a_column_of_an_extension_type_is_refused_wherever_a_table_is_read(registered, tmp_path, nested):
    store = Store(tmp_path)
    store.write("t.parquet", planted(nested))
    words = r"t\.parquet (?:is damaged|cannot be read) \(column 'more' is of an extension type"
    for read in (
        lambda: parquet.load(store, "t.parquet"),
        lambda: parquet.load(store, "t.parquet", SCHEMA),
        lambda: list(parquet.parts(store, ["t.parquet"], ["name"])),
    ):
        with pytest.raises(DataError, match=words):
            read().to_pylist()


@pytest.mark.parametrize("name", ["metrics", "checks", "cost", "worst", "trials"])
def test_a_planted_column_of_an_audit_is_refused(registered, audit_folder, name):
    path = audit_folder / f"{name}.parquet"
    table = pq.read_table(path)
    values = pa.ExtensionArray.from_storage(Pickled(), pa.array([pickle.dumps(Bomb())] * len(table), pa.binary()))
    pq.write_table(table.append_column("more", values), path)
    with pytest.raises(DataError, match=rf"{name}\.parquet cannot be read \(column 'more' is of an extension type"):
        getattr(Audit(audit_folder), name)


def test_a_small_file_of_a_huge_table_is_refused(tmp_path):
    content = io.BytesIO()
    huge = pa.table({"name": pa.repeat(pa.scalar("a"), 2**23), "value": pa.repeat(pa.scalar(1.0), 2**23)})
    pq.write_table(huge, content, compression="zstd")
    assert len(content.getvalue()) < 2**17
    Store(tmp_path).write("t.parquet", content.getvalue())
    with pytest.raises(DataError, match="are no table of ours"):
        parquet.load(Store(tmp_path), "t.parquet", SCHEMA)
