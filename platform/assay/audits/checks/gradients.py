"""The score has a finite gradient that is not zero, at every clean image and where an attack ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

from assay.attacks.apgd import apgd
from assay.audits.checks._context import NO_GRADIENT, Context, attackable
from assay.audits.checks._result import CheckResult, not_applicable, result
from assay.models.scoring import batches, pixels

if TYPE_CHECKING:
    from torch import Tensor

ORDER = 60
ABOUT = "strength"
STEPS = 10


def gradients(context: Context) -> CheckResult:
    """The score has a finite gradient that is not zero (zero gradients mask, they do not defend: Athalye et al. 2018).

    At every clean image, and at some images after a short attack at the headline.
    """
    if not context.facts.differentiable:
        return not_applicable("gradients", f"{NO_GRADIENT}; see black box without gradient")
    count = len(context.images)
    clean = sum(_useless(context, pixels(context.images, *batch, context.device)) for batch in batches(context.images))
    evidence = f"{clean} of {count} clean images have a gradient that is zero or not finite"
    attacked = 0
    if clean == 0 and context.budget:
        images, direction, random = attackable(context)
        after = apgd(context.detector, images, direction, context.budget, random, steps=STEPS)
        attacked, count = _useless(context, after.images), count + len(images)
        evidence += f", and {attacked} of {len(images)} attacked ones"
    return result("gradients", clean + attacked == 0, evidence, clean + attacked, 0, count)


def _useless(context: Context, images: Tensor) -> int:
    """How many images have a gradient that is zero everywhere, or not finite somewhere."""
    import torch

    images = images.clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(context.detector(images).sum(), images)
    flat = gradient.flatten(1)
    return int(((flat == 0).all(dim=1) | ~flat.isfinite().all(dim=1)).sum())
