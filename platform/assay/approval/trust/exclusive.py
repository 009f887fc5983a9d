"""Deciding on a model, signing for it and promoting it are done by one process at a time.

Otherwise a folder could hold the verdict of one person and the signature of another, a model be promoted after it was
rejected, or two go into service under one name, each of them told that it superseded nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from assay.hashing import digest
from assay.store.services import FOLDER
from assay.store.store import Store


@contextmanager
def model(store: Store, name: str) -> Iterator[None]:
    """Nobody else decides on the model of that hash, or promotes it; raises StoreError where somebody does."""
    with store.locked(f"{FOLDER}/.{name[:12]}.lock", f"a decision on model {name[:12]}, or its promotion,"):
        yield


@contextmanager
def service(store: Store, name: str) -> Iterator[None]:
    """Nobody else promotes a model to that name; raises StoreError where somebody does."""
    with store.locked(f"{FOLDER}/.as-{digest(name.encode())[:16]}.lock", f"a promotion to {name}"):
        yield
