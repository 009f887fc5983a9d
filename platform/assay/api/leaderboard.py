"""A leaderboard of signed audits, one's own and others', as a static folder."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from assay.api.arguments import KeyLike, StoreLike, public_keys, store_of
from assay.errors import DataError, InputError
from assay.store import references
from assay.store.store import Store

if TYPE_CHECKING:
    from assay.approval.signature import Key
    from assay.reports.leaderboard import Entry


def leaderboard(
    folder: Path | str, audits: Sequence[str] = (), *, key: KeyLike = None, store: StoreLike = None
) -> list[Entry]:
    """Put signed audits on a leaderboard and write its page anew; what is on it stays.

    folder: of the leaderboard, made where it is missing; it holds `index.html`, `leaderboard.parquet`, the audits and
    the public keys that they were checked with, and any web server can serve it. audits: of the store, or folders that
    lie anywhere. key: public keys, each of which must have signed each of these audits.
    Raises InputError without a key, DataError for an audit that is not as it was signed, was not decided, or is a
    screen, and for one on the board that is no longer as it was; nothing is then written.

    >>> assay.approve("latest", policy, key=private, reviewer="Jane Doe", author="Max Roe", store=store).verdict
    'PASS'
    >>> [entry] = assay.leaderboard(f"{folder}/board", ["latest"], key=public, store=store)
    >>> entry.reviewer, entry.verdict
    ('Jane Doe', 'PASS')
    """
    from assay.reports import leaderboard as board
    from assay.store import parquet

    place = Store(Path(folder).expanduser())
    given = public_keys(key)
    if audits and not given:
        raise InputError("a leaderboard takes signed audits only: give the public key of whoever signed (--key)")
    with tempfile.TemporaryDirectory(prefix="assay-leaderboard-") as scratch:
        new = [_signed(store, name, given, Path(scratch)) for name in audits]
        names = set(place.names("audits"))
        kept = [place.below(f"audits/{name}") for name in sorted(names - {one.name for one in new})]
        for audit in kept:
            _check(audit, _keys_of(place, audit.name))
        entries = [_entry(one) for one in [*kept, *map(Store, new)]]
        for one in new:
            for folder_of in ("audits", "keys"):
                shutil.rmtree(place.path(f"{folder_of}/{one.name}"), ignore_errors=True)
            shutil.copytree(one, place.path(f"audits/{one.name}"))
            for each in given:
                place.write(f"keys/{one.name}/{each.fingerprint[:16]}.pem", each.path.read_bytes())
    place.write("leaderboard.parquet", parquet.dump(board.table(entries)))
    place.write("index.html", board.render(entries).encode())
    return entries


def _signed(store: StoreLike, text: str, given: Sequence[Key], scratch: Path) -> Path:
    """A copy of an audit that every key has signed, in a folder of its name."""
    path = Path(text).expanduser()
    if "/" in text and path.is_dir():
        source, name = Store(path), path.resolve().name
    else:
        place = store_of(store)
        name = references.audit(place, text)
        source = references.folder(place, name)
    copy = scratch / name
    with source.near() as near:
        shutil.copytree(near.path(), copy, symlinks=True)
    _check(Store(copy), given)
    return copy


def _entry(folder: Store) -> Entry:
    from assay.reports import leaderboard as board

    found = board.entry(folder)
    if found.audit != folder.name:
        raise DataError(f"{folder.place()} holds audit {found.audit}; a folder is named for its audit")
    return found


def _keys_of(board: Store, audit: str) -> list[Key]:
    """The keys that an audit on the board was checked with when it was put there."""
    names = board.names(f"keys/{audit}")
    if not names:
        raise DataError(f"{board.place('keys')} holds no key of audit {audit}; put it on the board again with --key")
    return public_keys([board.path(f"keys/{audit}/{name}") for name in names])


def _check(folder: Store, given: Sequence[Key]) -> None:
    from assay.approval import verification

    found = verification.of_folder(folder, given)[0]
    if not found.good or not found.signed:
        why = "; ".join(verification.lines(found)[:3]) or "it is not signed"
        raise DataError(f"{found.folder} cannot stand on a leaderboard: {why}")
