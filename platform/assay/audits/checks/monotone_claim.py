"""A detector that states that its score is monotone in every pixel is: its certificates rest on nothing else."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from assay.attacks.pgd import pgd
from assay.audits.checks._context import Context, attackable
from assay.audits.checks._result import CheckResult, not_applicable, result
from assay.contracts import ThreatModel
from assay.models.certificates import monotone
from assay.norm_balls import ends

if TYPE_CHECKING:
    import torch
    from torch import Tensor

ORDER = 219
BUDGET = 8 / 255  # far enough for a fault to show, near enough to be within what is certified
STEPS = 20
SHARES = (1.0, 0.1, 0.001)  # of the pixels that a random pair differs in
ROUNDING = 1e-5  # how far a score may fall by rounding, of its size and of the spread of the clean scores
PIXEL = 1e-3  # of the largest gradient of an image: less is rounding


def monotone_claim(context: Context) -> CheckResult:
    """The score is monotone in every pixel where the detector states it (contracts.Monotone).

    Tested on pairs of images, one nowhere darker than the other: random ones over the whole range and within a ball,
    from black and to white; pairs sought by PGD; and the sign of the gradient in every pixel, at images over the whole
    range. A claim that fails in one pixel, for one channel or only near white makes the certificates void.
    """
    claim = monotone(context.detector)
    if claim is None:
        return not_applicable("monotone_claim", "the detector does not state that its score is monotone")
    images, _, random = attackable(context)
    slack = ROUNDING * max(context.spread, float(abs(context.clean).max()))
    wrong, pairs = 0, 0
    for score in _rising(context.detector, claim):
        for dark, bright in _pairs(images, random):
            wrong += _falls(score, dark, bright, slack)
            pairs += len(images)
        if context.facts.differentiable:
            wrong += _sought(score, images, random, slack)
            pairs += 2 * len(images)
    points = falling = 0
    if context.facts.differentiable:
        for score in _rising(context.detector, claim):
            for at in _points(images, random):
                falling += _against(score, at)
                points += len(at)
    apart = _apart(context, images, slack) if claim == "mixed" else 0
    evidence = (
        f"stated to be {claim}; of {pairs} pairs of images of which one is nowhere darker, {wrong} are scored in the "
        f"wrong order; {falling} of {points} images have a gradient of the wrong sign in some pixel"
    )
    if claim == "mixed":
        evidence += f"; {apart} of {len(images)} images score otherwise when their parts are put together"
    bad = wrong + falling + apart
    return result("monotone_claim", bad == 0, evidence, bad, 0, pairs + points)


def _rising(detector: Any, claim: str) -> Iterator[Callable[[Tensor], Tensor]]:
    """The score as functions that must not fall with any pixel: of a mixed one, each argument around a fixed other."""
    if claim == "rising":
        yield detector
    elif claim == "falling":
        yield lambda images: -detector(images)
    else:
        for level in (0.25, 0.75):
            yield functools.partial(_rise, detector, level)
            yield functools.partial(_fall, detector, level)


def _rise(detector: Any, level: float, images: Tensor) -> Tensor:
    """The score as it rises with images, where it falls with a plain grey."""
    scores: Tensor = detector.decomposed(images, images.new_full(images.shape, level))
    return scores


def _fall(detector: Any, level: float, images: Tensor) -> Tensor:
    """Minus the score as it falls with images, where it rises with a plain grey."""
    scores: Tensor = detector.decomposed(images.new_full(images.shape, level), images)
    return -scores


def _draw(images: Tensor, random: list[torch.Generator]) -> Tensor:
    import torch

    return torch.stack([torch.rand(images.shape[1:], generator=one, device=images.device) for one in random])


def _points(images: Tensor, random: list[torch.Generator]) -> Iterator[Tensor]:
    """Images (B, C, H, W) to look at gradients: as they are, darker, near white, and plain noise."""
    yield images
    yield images * 0.5
    yield 1 - 0.02 * (1 - images)
    yield _draw(images, random)


def _pairs(images: Tensor, random: list[torch.Generator]) -> Iterator[tuple[Tensor, Tensor]]:
    """Pairs (dark, bright) of images that differ by random amounts in some of the pixels."""
    for at in _points(images, random):
        for share in SHARES:
            chosen = _draw(images, random) < share
            brighter = at + (1 - at) * _draw(images, random)
            darker = at * _draw(images, random)
            yield at, brighter.where(chosen, at)
            yield darker.where(chosen, at), at
        yield ends(at, BUDGET)


def _falls(score: Callable[[Tensor], Tensor], dark: Tensor, bright: Tensor, slack: float) -> int:
    """How many bright images score lower than the dark ones."""
    import torch

    with torch.no_grad():
        return int((score(bright) < score(dark) - slack).sum())


def _sought(score: Callable[[Tensor], Tensor], images: Tensor, random: list[torch.Generator], slack: float) -> int:
    """How many pairs an attack finds: images above the clean one that score lower, and below it that score higher."""
    import torch

    found, half = 0, ThreatModel("linf", BUDGET / 2)
    dark, bright = ends(images, BUDGET)
    with torch.no_grad():
        clean = score(images)
    for side, sign in ((bright, 1.0), (dark, -1.0)):
        # The ball around the middle of the clean image and one end is the part of the ball on that side.
        middle = (images + side) / 2

        def within(at: Tensor, side: Tensor = side, sign: float = sign) -> Tensor:
            low, high = (images, side) if sign > 0 else (side, images)
            return score(torch.minimum(torch.maximum(at, low), high))

        toward = torch.full((len(images),), -sign, device=images.device)
        made = pgd(within, middle, toward, half, random, steps=STEPS).images
        with torch.no_grad():
            found += int((sign * (within(made) - clean) < -slack).sum())
    return found


def _against(score: Callable[[Tensor], Tensor], images: Tensor) -> int:
    """How many images have a gradient below zero in some pixel."""
    import torch

    images = images.clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(score(images).sum(), images)
    flat = gradient.flatten(1)
    return int((flat.amin(1) < -PIXEL * flat.abs().amax(1)).sum())


def _apart(context: Context, images: Tensor, slack: float) -> int:
    """How many images score otherwise when `decomposed` gets them twice."""
    import torch

    detector: Any = context.detector
    with torch.no_grad():
        return int(((detector.decomposed(images, images) - detector(images)).abs() > slack).sum())
