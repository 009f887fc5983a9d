"""Tables of images in CSV and Parquet files: chosen columns as text, and where the files that they name lie."""

from __future__ import annotations

import codecs
import math
import posixpath
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from assay.data.images import on_disk
from assay.data.masks import named
from assay.errors import DataError

Record = dict[str, str | None]
"""Key -> the text of its column in one row, None where the row has nothing there."""


def records(file: Path, columns: Mapping[str, str], *, encoding: str = "utf-8", delimiter: str = ",") -> list[Record]:
    """The rows of a CSV file (or, by its suffix, a Parquet file) under the keys of `columns`, which name its columns.

    Numbers are taken as they are written, without a decimal point where they are whole. Raises DataError for a file
    that can't be read and for columns that are missing or there twice.
    """
    table = _table(file, list(columns.values()), encoding, delimiter)
    there = table.column_names
    if missing := [name for name in columns.values() if name not in there]:
        hint = ""
        if len(there) == 1 and (other := [sign for sign in ";\t|" if sign in there[0]]):
            hint = f"; its columns may be separated by {other[0]!r}: set `delimiter`"
        raise DataError(f"{file}: no column {', '.join(missing)}; there are: {', '.join(there)}{hint}")
    if twice := [name for name in columns.values() if there.count(name) > 1]:
        raise DataError(f"{file}: {there.count(twice[0])} columns are called {twice[0]}; rename all but one")
    read = {key: [_text(value) for value in table.column(name).to_pylist()] for key, name in columns.items()}
    return [dict(zip(read, values, strict=True)) for values in zip(*read.values(), strict=True)]


def others(file: Path, used: Sequence[str], *, encoding: str = "utf-8", delimiter: str = ",") -> list[str]:
    """The columns of a file that are not among those used."""
    return [name for name in _table(file, used, encoding, delimiter).column_names if name not in used]


def below(base: Path, names: Sequence[str], file: Path) -> list[str]:
    """Paths named in a file as paths relative to `base`, with slashes and without detours.

    Raises DataError for paths that are empty or lead out of base, and for files that are not there.
    """
    clean = []
    for name in names:
        whole = name if (base / name).exists() else name.replace("\\", "/")
        if Path(whole).is_absolute() and Path(whole).is_relative_to(base.absolute()):
            whole = Path(whole).relative_to(base.absolute()).as_posix()
        clean.append(on_disk(base, posixpath.normpath(whole)))
    outside = [name for name, path in zip(names, clean, strict=True) if path.startswith(("/", "../")) or path == ".."]
    if outside:
        raise DataError(
            f"{file}: {len(outside)} paths do not lie below {base}: {named(outside)}; write them relative to root, or "
            "set another root"
        )
    if dead := [path for path in clean if not (base / path).is_file()]:
        raise DataError(f"{file}: {len(dead)} of its {len(clean)} files are not below {base}: {named(dead)}")
    return clean


def _table(file: Path, text: Sequence[str], encoding: str, delimiter: str) -> pa.Table:
    """The whole table; in a CSV file the columns of `text` are text, whatever they hold."""
    if not file.is_file():
        raise DataError(f"{file}: no such file; check the path")
    try:
        if file.suffix.lower() in (".parquet", ".pq"):
            with pa.parquet.ParquetFile(file) as parquet:
                return parquet.read()
        return pa.csv.read_csv(
            file,
            read_options=pa.csv.ReadOptions(encoding=encoding),
            parse_options=pa.csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
            convert_options=pa.csv.ConvertOptions(
                column_types=dict.fromkeys(text, pa.string()), strings_can_be_null=True, null_values=[""]
            ),
        )
    except LookupError as error:
        raise DataError(f"{file}: {error}; `encoding` is a name such as utf-8, utf-16 or cp1252") from error
    except (pa.ArrowException, OSError, UnicodeError) as error:
        other = "UTF" in str(error) or file.read_bytes()[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
        hint = "; is it in another encoding? Set `encoding`, such as cp1252 or utf-16" if other else ""
        if file.read_bytes()[:4] == b"PK\x03\x04":
            raise DataError(f"{file}: it is a workbook or a zip file, not text; save it as CSV (UTF-8)") from error
        reason = str(error).splitlines()[0]
        raise DataError(f"{file}: cannot be read as a table: {reason}{hint}") from error


def _text(value: Any) -> str | None:
    """A value as text: None for nothing and NaN, true and false in small letters, whole numbers without a point."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip() or None
