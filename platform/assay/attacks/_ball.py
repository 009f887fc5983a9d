"""The images an attacker may choose, a ball around the clean image cut with the box [0, 1], and how to move there.

Images are (B, C, H, W) in [0, 1]; epsilon is in pixel scale, for l2 the norm of the whole perturbation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from assay.contracts import Norm, ThreatModel

LEVELS = 255
TOLERANCE = 1e-6
"""How far outside the ball float32 rounding may carry an image, in pixel scale."""


def per_image(values: Tensor) -> Tensor:
    """(B,) as (B, 1, 1, 1), to be multiplied with images."""
    return values.reshape(-1, 1, 1, 1)


def size(perturbation: Tensor, norm: Norm) -> Tensor:
    """The norm (B,) float64 of every perturbation (B, C, H, W), in pixel scale."""
    if norm == "linf":
        return perturbation.flatten(1).abs().amax(1).double()
    if norm == "l1":
        return perturbation.flatten(1).abs().sum(1, dtype=torch.float64)
    # In float64: a float32 sum over the pixels of a large image is off by more than the ball's tolerance, and the
    # squares of a tiny gradient underflow.
    length: Tensor = torch.linalg.vector_norm(perturbation.flatten(1), dim=1, dtype=torch.float64)
    return length


def project(images: Tensor, clean: Tensor, threat: ThreatModel) -> Tensor:
    """The images moved into the ball around `clean`, then into the box; those already inside stay bit for bit."""
    if threat.norm == "linf":
        images = torch.maximum(torch.minimum(images, clean + threat.epsilon), clean - threat.epsilon)
    else:
        perturbation = images - clean
        length = per_image(size(perturbation, "l2"))
        shrunk = clean + perturbation * (threat.epsilon / length).to(clean)
        images = torch.where(length > threat.epsilon, shrunk, images)
    # The clean image is in the box, so clamping only shortens the perturbation: it cannot leave the ball.
    return images.clamp(0, 1)


def steepest(gradient: Tensor, norm: Norm) -> Tensor:
    """The step of unit norm that raises a linear function of this gradient most; 0 where the gradient is 0."""
    if norm == "linf":
        return gradient.sign()
    length = per_image(size(gradient, "l2")).to(gradient)
    return gradient / torch.where(length > 0, length, 1)


def streams(generator: torch.Generator, images: Tensor) -> list[torch.Generator]:
    """One generator per image, on its device, seeded from `generator`.

    An image's random numbers then depend on its place in the sequence of all images, not on how that was cut into
    batches (given one CPU `generator` carried from batch to batch).
    """
    seeds = torch.randint(2**62, (len(images),), generator=generator, device=generator.device)
    return [torch.Generator(images.device).manual_seed(seed) for seed in seeds.tolist()]


def random_point(clean: Tensor, threat: ThreatModel, random: list[torch.Generator]) -> Tensor:
    """A random image: uniform in the linf ball, or on the sphere of the l2 ball, where nearly all its volume lies."""
    draw = torch.rand if threat.norm == "linf" else torch.randn
    shape, device = clean.shape[1:], clean.device
    noise = torch.stack([draw(shape, generator=one, device=device) for one in random]).to(clean)
    unit = 2 * noise - 1 if threat.norm == "linf" else steepest(noise, "l2")
    return project(clean + threat.epsilon * unit, clean, threat)


def to_8_bit(adversarial: Tensor, clean: Tensor, threat: ThreatModel) -> Tensor:
    """The adversarial images as an 8-bit file would hold them: multiples of 1/255 in the box.

    Inside the ball wherever the clean image is on that grid: for linf the nearest grid point in the ball, for l2
    the furthest rounded point on the way from the clean image that is still inside. Where the clean image is off
    the grid and no grid point is in reach, the nearest one is taken, although it is outside.
    """
    origin, wanted, radius = clean * LEVELS, adversarial * LEVELS, (threat.epsilon + TOLERANCE / 2) * LEVELS
    if threat.norm == "linf":
        lowest, highest = (origin - radius).ceil(), (origin + radius).floor()
        return (wanted.round().clamp(lowest, highest).clamp(0, LEVELS)) / LEVELS

    def rounded(part: Tensor) -> Tensor:
        return (origin + part * (wanted - origin)).round()

    def inside(part: Tensor) -> Tensor:
        return per_image(size(rounded(part) - origin, "l2")) <= radius

    # Rounding may lengthen the perturbation. Its rounded length only grows with the part taken, so bisect for it.
    above = torch.ones_like(per_image(clean.flatten(1)[:, 0]))
    below = inside(above).to(clean)
    for _ in range(16):
        middle = (below + above) / 2
        ok = inside(middle)
        below, above = torch.where(ok, middle, below), torch.where(ok, above, middle)
    return rounded(below) / LEVELS
