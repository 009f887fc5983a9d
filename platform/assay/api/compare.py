"""Is a model worse than the one it would replace?"""

from __future__ import annotations

import json

from assay.api.arguments import StoreLike, store_of
from assay.metrics import paired_comparison
from assay.metrics.paired_comparison import Comparison
from assay.store import references
from assay.store.audit_reader import Audit


def compare(
    approved: str,
    candidate: str,
    *,
    margin: float = 0.0,
    non_inferior: float | None = None,
    store: StoreLike = None,
) -> Comparison:
    """Audit B, the candidate, less audit A, the approved or older one, paired sample by sample.

    approved, candidate: an audit, or a model, of which the newest audit is taken. margin: by how much a figure may be
    worse before it counts as a regression. non_inferior: a margin within which B must be shown not to be worse; the
    result's `answer` then says whether it was. The comparison is kept as comparison.json beside B.
    Raises InputError where the two cannot be compared.

    >>> found = assay.compare(approved, candidate, store=store)
    >>> found.regression, len(found.figures) > 0
    (False, True)
    """
    place = store_of(store)
    a, b = (Audit(references.folder(place, references.newest_audit(place, text))) for text in (approved, candidate))
    comparison = paired_comparison.compare(a, b, margin=margin, non_inferior=non_inferior)
    content = json.dumps(comparison.to_json(), indent=2).encode()
    place.write(f"audits/{b.info['audit']}/comparison.json", content)
    return comparison
