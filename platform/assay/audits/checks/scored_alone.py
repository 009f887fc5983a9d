"""An image has the same score alone as in a batch: neighbours and the attacker's other images do not matter."""

from __future__ import annotations

from assay.audits.checks._context import Context
from assay.audits.checks._result import CheckResult, result
from assay.data.reduced import take
from assay.models.scoring import pixels, some_of_each

ORDER = 12
ALONE = 4  # samples of each class that are scored one at a time


def scored_alone(context: Context) -> CheckResult:
    """An image has the same score alone as in a batch: neighbours and the attacker's other images do not matter."""
    import torch

    images = take(context.images, some_of_each(context.images.labels, ALONE))
    with torch.no_grad():
        together = context.detector(pixels(images, 0, len(images), context.device))
        alone = [context.detector(pixels(images, i, i + 1, context.device)) for i in range(len(images))]
    moved = float((torch.cat(alone) - together).abs().max())
    limit = context.same
    evidence = f"scored one at a time, {len(images)} images move by at most {moved:.1e}; allowed {limit:.1e}"
    return result("scored_alone", moved <= limit, evidence, moved, limit, len(images))
