"""The records of the register as a chain: each holds the name and the hash of those that it follows."""

from __future__ import annotations

import json
from collections.abc import Iterable

from assay.hashing import digest
from assay.store.services import FOLDER
from assay.store.store import Store

BEFORE = "before"
"""The key under which a record names those it follows, each with its hash."""


def ends(store: Store) -> dict[str, str]:
    """Name and SHA-256 of each record that no other follows yet: one, or several where two were written at once."""
    contents = entries(store)
    followed = {entry for content in contents.values() for entry in before(content)}
    return {entry: digest(content) for entry, content in contents.items() if entry not in followed}


def hashes(store: Store) -> dict[str, str]:
    """Name and SHA-256 of every record, the oldest first."""
    return {entry: digest(content) for entry, content in entries(store).items()}


def covered(store: Store, some: Iterable[str]) -> set[str]:
    """Some records and all those before them, as far as they are there."""
    contents, found, open_ = entries(store), set[str](), list(some)
    while open_:
        entry = open_.pop()
        if entry in contents and entry not in found:
            found.add(entry)
            open_ += before(contents[entry])
    return found


def entries(store: Store) -> dict[str, bytes]:
    """Name and content of every record, the oldest first."""
    names = [name for name in store.names(FOLDER) if name.endswith(".json")]
    return dict(zip(names, store.read_all([f"{FOLDER}/{name}" for name in names]), strict=True))


def before(content: bytes) -> dict[str, str]:
    """What a record follows: file name -> SHA-256; nothing for an old record, or one that cannot be read."""
    try:
        followed = json.loads(content)[BEFORE]
    except (ValueError, RecursionError, LookupError, TypeError):
        return {}
    return {str(entry): str(hash) for entry, hash in followed.items()} if isinstance(followed, dict) else {}
