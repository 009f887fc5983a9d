"""The version of a format: what is read, what is refused in which words, and what the documentation says of it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from assay import __version__
from assay.errors import DataError, ModelError
from assay.store import formats

DOCS = Path(__file__).parents[2] / "docs" / "store.md"
NAMED = {
    "model": "models/HASH/manifest.json",
    "log": "log/*.jsonl",
    "audit": "audit.yaml",
    "verdict": "verdict.json",
    "review": "review.json",
    "register": "register/",
    "published": "published/",
    "table": "metrics.parquet",
    "comparison": "comparison.json",
    "export": "NAME.onnx.json",
}


@pytest.mark.parametrize("kind", formats.READ)
def test_the_version_that_is_written_is_read_and_the_next_is_not(kind):
    formats.check(formats.written(kind), kind, "here")
    formats.check_content({}, kind, "here")
    newer = formats.written(kind) + 1
    reads = ", ".join(map(str, formats.READ[kind]))
    words = (
        f"here has format {newer}; this version of Assay ({__version__}) reads format {reads}: install a newer Assay"
    )
    with pytest.raises(ModelError if kind == "model" else DataError, match=re.escape(words)):
        formats.check_content({"format": newer}, kind, "here")


@pytest.mark.parametrize("found", [None, 0, -1, True, 1.0, "1", [1], {}])
def test_what_is_no_version_is_damage(found):
    with pytest.raises(DataError, match="here is damaged: it has format "):
        formats.check_content({"format": found}, "audit", "here")


@pytest.mark.parametrize("found", [b"one", b"", b"-1", b"\xff", b"0", "²".encode("latin-1")])
def test_a_table_whose_version_is_damaged(found):
    with pytest.raises(DataError, match="here is damaged: it has format "):
        formats.check_table({formats.TABLE_FIELD: found}, "here")


def test_a_table_without_a_version_is_of_the_first():
    formats.check_table(None, "here")
    formats.check_table({b"pandas": b"{}"}, "here")
    formats.check_table({formats.TABLE_FIELD: b"1"}, "here")


@pytest.mark.parametrize("kind", formats.READ)
def test_the_documentation_names_the_version(kind):
    [row] = [
        line for line in DOCS.read_text(encoding="utf-8").splitlines() if f"{NAMED[kind]}`" in line and "|" in line
    ]
    assert row.split("|")[2].strip().startswith(str(formats.written(kind)))
