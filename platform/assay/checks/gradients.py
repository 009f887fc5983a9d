"""The score has a finite gradient that is not zero at every clean image (zero gradients mask, not defend)."""

from __future__ import annotations

from typing import Any

from assay.checks._context import Context, row
from assay.evaluation import batches, pixels

ORDER = 90


def gradients(context: Context) -> dict[str, Any]:
    """The score has a finite gradient that is not zero at every clean image (zero gradients mask, not defend)."""
    import torch

    zero = 0
    for first, last in batches(context.images):
        images = pixels(context.images, first, last, context.device).requires_grad_(True)
        (gradient,) = torch.autograd.grad(context.detector(images).sum(), images)
        flat = gradient.flatten(1)
        zero += int(((flat == 0).all(dim=1) | ~flat.isfinite().all(dim=1)).sum())
    evidence = f"{zero} of {len(context.images)} clean images have a gradient that is zero or not finite"
    return row("gradients", zero == 0, evidence, zero, 0, len(context.images))
