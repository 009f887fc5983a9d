"""The more severe a corruption, the further it moves the scores."""

from __future__ import annotations

from typing import Any

from assay.audits.checks._context import Context, not_applicable, row
from assay.metrics import corruption

ORDER = 210


def corruptions_monotone(context: Context) -> dict[str, Any]:
    """The more severe a corruption, the further it moves the scores, beyond what chance makes of no change."""
    if context.corrupted is None:
        return not_applicable("corruptions_monotone", "the suite has no corruptions")
    passed, evidence, value = corruption.monotone(context.corrupted)
    return row("corruptions_monotone", passed, evidence, value, 1, len(context.images), required=False)
