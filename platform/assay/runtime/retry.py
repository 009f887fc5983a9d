"""Which failures are tried again at once, and how often: one rule for each kind, for trials and pieces of audits."""

from __future__ import annotations

from collections.abc import Sequence

WORKER = 2
"""A process that died: by its own doing or not, nobody knows. A search space says otherwise with `retries:`."""

ALLOWED = {
    "node": 50,  # a machine lost or pre-empted is not the work's fault, and spot machines go often
    "host_memory": 1,  # it may have been the neighbours'; a second time it is its own
    "store": 2,  # the store has already waited and tried again by itself
}
"""Kind of failure -> how often the same work is begun again; a kind that isn't here would end as it did."""

ENDS_ALL = frozenset({"store", "versions"})
"""Kinds that end everything when they are not tried again: other work would fail as this did."""


def again(kind: str, before: Sequence[str], worker: int = WORKER) -> bool:
    """Whether work that failed is begun again, from where it was last saved.

    before: the kinds of its earlier failures. worker: how often for a process that died.
    """
    allowed = {**ALLOWED, "worker": worker}
    return before.count(kind) < allowed.get(kind, 0)
