"""How a piece of an audit's work is done: not twice, on one thread, its file written whole. Needs no Ray."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

import pyarrow as pa

from assay.audits.attack_job import one_thread
from assay.store import parquet
from assay.store.store import Store


class Piece(Protocol):
    """A piece of work that writes one table."""

    @property
    def key(self) -> str:
        """The store's key of the table."""
        ...

    def done(self, store: Store) -> bool:
        """Whether the table is there."""
        ...


def written(piece: Piece, root: str, compute: Callable[[], pa.Table]) -> float:
    """Compute a piece's table and write it unless it is there; returns the seconds spent."""
    store = Store(root)
    if piece.done(store):
        return 0.0
    started = time.monotonic()
    with one_thread():
        table = compute()
    store.write(piece.key, parquet.dump(table))
    return time.monotonic() - started
