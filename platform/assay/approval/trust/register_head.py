"""The end of a register as somebody remembers it elsewhere: only so can it be seen that its newest records are gone.

A record holds the hash of those before it, so the hash of the last one stands for all. `approve` and `promote` print
it, and a signed verdict.json holds the one from before it.
"""

from __future__ import annotations

from collections.abc import Sequence

from assay.approval import records
from assay.approval.trust import register_chain
from assay.approval.verification import Verification
from assay.errors import InputError
from assay.store.store import Store

DIGITS = 16
"""Of a hash that are enough to name a record."""


def heads(store: Store) -> list[str]:
    """The SHA-256 of every record that no other follows: one, or several where two were written at once."""
    return sorted(register_chain.ends(store).values())


def verify(store: Store, remembered: Sequence[str]) -> Verification:
    """Whether a register still holds the records with these hashes, and everything that came before them.

    remembered: SHA-256, or the beginnings of them. Raises InputError for what is no hash.
    """
    for one in remembered:
        if not (DIGITS <= len(one) <= 64 and set(one) <= set("0123456789abcdef")):
            raise InputError(f"head {one[:64]!r} is no hash of a record: give {DIGITS} digits of what promote said")
    hashes = register_chain.hashes(store)
    found = {one: [entry for entry, hash in hashes.items() if hash.startswith(one)] for one in remembered}
    lost = [one for one, entries in found.items() if not entries]
    covered = register_chain.covered(store, [entry for entries in found.values() for entry in entries])
    others = [entry for entry in hashes if entry not in covered]
    return Verification(
        "register",
        "-",
        store.place(records.FOLDER),
        len(hashes),
        problems=(
            *(f"no record has the hash {one}: it and what came after it were removed, or changed" for one in lost),
            *(f"{gap.entry} is {gap.what}" for gap in records.gaps(store)),
        ),
        says="" if lost else f"not before that head: {', '.join(others) or 'nothing'}",
    )
