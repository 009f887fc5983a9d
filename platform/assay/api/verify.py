"""Is a model or an audit still what was named and signed?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from assay.api.arguments import KeyLike, StoreLike, public_keys, store_of

if TYPE_CHECKING:
    from assay.approval.verification import Verification


def verify(
    what: str,
    *,
    key: KeyLike = None,
    keys: Path | str | None = None,
    head: str | Sequence[str] = (),
    store: StoreLike = None,
) -> list[Verification]:
    """Hash every file of an audit and its model, or of a model, again; each result says whether it is `good`.

    what: an audit or a model as elsewhere, a folder that lies anywhere, or an exported file. key: the public key of
    whoever signed, or those of several people, each of whom must have; without one no signature is checked, and a model
    by the hash it is named by. keys: as in `promote`. head: the hash of what was once the last record of the store's
    register, as `promote` gives it; a last result says whether it and all before it are still there.
    Raises InputError or StoreError.

    >>> model = assay.open_audit("latest", store=store).model
    >>> [(found.kind, found.good) for found in assay.verify(model, store=store)]
    [('model', True)]
    """
    from assay.approval import exported_file, verification
    from assay.approval.trust import people, register_head

    public, place = public_keys(key), store_of(store)
    remembered = [head] if isinstance(head, str) else list(head)
    register = [register_head.verify(place, remembered)] if remembered else []
    if Path(what).is_file():
        return [*exported_file.verify(place, Path(what), public), *register]
    return [*verification.verify(place, what, public, people.known(keys) if public else None), *register]
