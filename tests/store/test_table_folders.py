"""The tables of an audit that lie in a folder of parts: pandas and pyarrow read the folder as it lies."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
import toy_audit

from assay.audits import audit, suite
from assay.models import model_folder
from assay.runtime.threads import one_thread
from assay.store import formats, parquet, schemas
from assay.store.audit_reader import Audit
from assay.store.store import Store

NEIGHBOURS = Path(__file__).parents[1] / "stores" / "format-1" / "store" / "models" / "7464b25771b08a1ce4eae0a9"
FOLDERS = {
    "scores": schemas.SCORES,
    "candidates": schemas.WORST,
    "corrupted": schemas.CORRUPTED,
    "certified": schemas.CERTIFIED,
    "minimal": schemas.MINIMAL,
    "bank": schemas.BANK_SCORES,
    "checks": schemas.CHECKS,
}


@pytest.fixture(scope="module")
def audited(tmp_path_factory, own_cache) -> Store:
    """The folder of an audit that left every kind of table: of neighbours on pixels, which have a bank and bounds."""
    folder = tmp_path_factory.mktemp("tables")
    store = Store(folder / "store")
    manifest = json.loads((NEIGHBOURS / "manifest.json").read_bytes())
    parameters = {**manifest.pop("parameters"), "distance": "cosine"}  # which has bounds
    weights = (NEIGHBOURS / "model.safetensors").read_bytes()
    model = model_folder.write_folder(store, {**manifest, "parameters": parameters}, weights)
    more = {
        "corruptions": {"kinds": ["brightness", "fog"], "severities": [1, 5]},
        "minimal_epsilon": True,
        "bank_sizes": {"shares": [0.5, 1], "steps": 2, "samples": 4},
    }
    chosen = suite.read(toy_audit.write_suite(folder / "tiny.yaml", **more))
    with pytest.MonkeyPatch.context() as patch, one_thread():
        patch.chdir(folder)
        toy_audit.pictures(Path("images"), 120, 60)
        name = audit.run(store, model, chosen, limit=4)
    return store.below(f"audits/{name}")


def test_every_folder_of_tables_is_there(audited):
    assert {name for name in audited.names() if audited.path(name).is_dir()} == set(FOLDERS)


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_folder_is_read_as_it_lies(audited, folder):
    path = audited.path(folder)
    expected = sum(pq.read_metadata(part).num_rows for part in path.rglob("*.parquet"))
    assert expected > 0
    frame = pd.read_parquet(path)
    table = pq.read_table(path)
    hive = ds.dataset(path, partitioning="hive").to_table()
    assert len(frame) == len(table) == len(hive) == expected
    assert list(frame.columns) == table.column_names == hive.column_names == FOLDERS[folder].names
    assert all("=" not in key for key in audited.walk(folder))


def test_every_table_says_the_version_of_its_format(audited):
    keys = [key for key in audited.walk() if key.endswith(".parquet")]
    assert len(keys) > len(FOLDERS)
    for key in keys:
        assert pq.read_metadata(audited.path(key)).metadata == {formats.TABLE_FIELD: b"1"}, key


def test_the_other_files_say_theirs(audited):
    assert Audit(audited).info["format"] == formats.written("audit")
    assert json.loads(audited.read("manifest.json"))["format"] == formats.written("model")


def test_parts_of_two_versions_are_read_together(tmp_path):
    store = Store(tmp_path)
    rows = pa.Table.from_pylist([{"check": "in_ball", "passed": True}], schema=schemas.CHECKS)
    store.write("new.parquet", parquet.dump(rows))
    pq.write_table(rows, store.path("old.parquet"), store_schema=False)
    for key in ("new.parquet", "old.parquet"):
        assert parquet.load(store, key, schemas.CHECKS).equals(rows)
        assert parquet.load(store, key).column_names == rows.column_names
    both = pa.concat_tables(parquet.parts(store, ["new.parquet", "old.parquet"], ["check", "passed"]))
    assert both["passed"].to_pylist() == [True, True]
