"""Results of checks, kept in the audit's folder like other pieces of work, so that an interrupted audit goes on.

A result is named by the hash of the tables that it was made from: where these change, the check is made again. Code,
model, suite, images and seed decide the audit's name, and so its folder.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import pyarrow as pa

from assay.audits.checks._result import CheckResult
from assay.errors import DataError
from assay.hashing import canonical, digest
from assay.store import parquet, schemas
from assay.store.store import Store

TIMES = "seconds"
"""The column that no check decides by, and that differs from run to run."""


class KeptChecks:
    """The results of an audit's checks that have this mark."""

    def __init__(self, store: Store, audit: str, mark: str) -> None:
        self.store, self.audit, self.mark = store, audit, mark

    def key(self, check: str) -> str:
        """Where the result of a check is."""
        return f"{folder(self.audit)}/{check}/part-{self.mark}.parquet"

    def read(self, check: str) -> CheckResult | None:
        """The result kept of a check, or None where there is none, or a damaged one: it is then made again."""
        if not self.store.exists(self.key(check)):
            return None
        try:
            rows = parquet.load(self.store, self.key(check), schemas.CHECKS).to_pylist()
        except DataError:
            return None
        return CheckResult(**rows[0]) if [row["check"] for row in rows] == [check] else None

    def write(self, found: CheckResult) -> None:
        """Keep a result."""
        table = pa.Table.from_pylist([dataclasses.asdict(found)], schema=schemas.CHECKS)
        self.store.write(self.key(found.check), parquet.dump(table))


def mark(made_from: Mapping[str, pa.Table], device: str) -> str:
    """What names the results of checks that are made from these tables on that device."""
    hashes = {name: digest(parquet.dump(_without_times(table))) for name, table in made_from.items()}
    return digest(canonical([hashes, device]))[:16]


def folder(audit: str) -> str:
    """Where the results of an audit's checks are."""
    return f"audits/{audit}/checks"


def of(store: Store, audit: str) -> set[str]:
    """The checks of which a result is kept, as far as their names say."""
    return {key.split("/")[-2] for key in store.walk(folder(audit))}


def _without_times(table: pa.Table) -> pa.Table:
    return table.select([name for name in table.column_names if name != TIMES])
