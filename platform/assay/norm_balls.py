"""The images an attacker may choose: a ball around the clean image, intersected with the box [0, 1].

Images are (B, C, H, W) in [0, 1]; epsilon is in pixel scale, for l2 and l1 the norm of the whole perturbation.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from assay.contracts import Monotone, Monotonicity, Norm, ThreatModel

BALLS = ("linf", "l2", "l1")
"""The norms that define a ball; `patch` and `spatial` do not."""
LEVELS = 255
SHARE, NARROWED = 0.1, 0.8
"""Share of the entries that the first l1 step moves; share of the path after which steps move a single entry."""
ROUNDING = 64
"""How far bounds are widened, in rounding errors of float32 at their size; sums of large parts may round worse."""
DRAWN = 2**23
"""Most random numbers drawn in one call."""
TOLERANCE = 1e-6
"""How far outside the ball float32 rounding may move an image, in pixel scale."""


def per_image(values: Tensor) -> Tensor:
    """(B,) as (B, 1, 1, 1), to be multiplied with images."""
    return values.reshape(-1, 1, 1, 1)


def size(perturbation: Tensor, norm: Norm) -> Tensor:
    """The norm (B,) float64 of every perturbation (B, C, H, W), in pixel scale."""
    if norm == "linf":
        return perturbation.flatten(1).abs().amax(1).double()
    # In float64: a float32 sum over the pixels of a large image is off by more than the ball's tolerance, and the
    # squares of a tiny gradient underflow.
    order = 1 if norm == "l1" else 2
    length: Tensor = torch.linalg.vector_norm(perturbation.flatten(1), ord=order, dim=1, dtype=torch.float64)
    return length


def project(images: Tensor, clean: Tensor, threat: ThreatModel, radius: Tensor | None = None) -> Tensor:
    """The images projected into the ball around `clean` and the box; images already inside stay bit-identical.

    For linf and l1 onto the nearest point of ball and box; for l2 onto the ball, then the box.
    radius: (B,), used instead of epsilon.
    """
    if threat.norm == "linf":
        most: Tensor | float = threat.epsilon if radius is None else per_image(radius).to(clean)
        return images.clamp(clean - most, clean + most).clamp(0, 1)
    if radius is None:
        radius = torch.full((len(clean),), threat.epsilon, dtype=torch.float64, device=clean.device)
    epsilon = per_image(radius).to(clean)
    if threat.norm == "l1":
        images = _into_l1(images, clean, epsilon.flatten(1).double())
    else:
        perturbation = images - clean
        length = per_image(size(perturbation, "l2"))
        shrunk = clean + perturbation * (epsilon / length).to(clean)
        images = torch.where(length > epsilon, shrunk, images)
    # The clean image is in the box, so clamping can only shorten the perturbation and never leaves the ball.
    return images.clamp(0, 1)


def _into_l1(images: Tensor, clean: Tensor, epsilon: Tensor) -> Tensor:
    """The nearest point of l1 ball and box together (Croce & Hein 2021, proposition 2.1).

    Every entry is shortened by the same `cut` and stops at the edge of the box. Clamping after projecting onto the ball
    alone would waste the part of the budget beyond the box.
    """
    perturbation = images - clean
    length, reach = perturbation.flatten(1).abs().double(), room(perturbation, clean)
    outside = torch.minimum(length, reach).sum(1, keepdim=True) > epsilon
    # As the cut falls, an entry starts to grow when the cut passes its length, and stops at the edge of the box.
    top = length.amax(1, keepdim=True)
    begin, stop = top - length, top - (length - reach).clamp(min=0)
    ones = torch.ones_like(begin)
    cut = top - solve(torch.cat([ones, -ones], 1), torch.cat([stop, begin], 1), epsilon)
    shorter = (torch.minimum((length - cut).clamp(min=0), reach)).reshape(clean.shape).to(clean)
    moved = clean + perturbation.sign() * shorter
    # Thousands of entries rounded up would leave the ball: round each towards the clean image.
    moved = torch.where((moved - clean).abs() > shorter, moved.nextafter(clean), moved)
    return torch.where(per_image(outside), moved, images)


def ends(images: Tensor, epsilon: float) -> tuple[Tensor, Tensor]:
    """The darkest and the brightest image of the linf ball within the box: every other one lies between them."""
    return (images - epsilon).clamp(min=0), (images + epsilon).clamp(max=1)


def monotone_bounds(detector: nn.Module, claim: Monotonicity, images: Tensor, radii: Tensor) -> tuple[Tensor, Tensor]:
    """Bounds (B, R), (B, R) float64 of a monotone score (contracts.Monotone) in linf balls; two forwards a radius."""
    lowest, highest = [], []
    with torch.no_grad():
        for radius in radii.tolist():
            dark, bright = ends(images, radius)
            if claim == "mixed":
                mixed = cast("Monotone", detector)
                low, high = mixed.decomposed(dark, bright), mixed.decomposed(bright, dark)
            else:
                low, high = detector(dark), detector(bright)
                if claim == "falling":
                    low, high = high, low
            slack = ROUNDING * torch.finfo(torch.float32).eps * torch.maximum(low.abs(), high.abs())
            lowest.append((low - slack).double())
            highest.append((high + slack).double())
    return torch.stack(lowest, dim=1), torch.stack(highest, dim=1)


def room(direction: Tensor, clean: Tensor) -> Tensor:
    """How far (B, C * H * W), float64, each entry can move in the sign of its direction before it leaves the box."""
    return torch.where(direction > 0, 1 - clean, clean).mul(direction != 0).flatten(1).double()


def solve(rate: Tensor, until: Tensor, total: Tensor) -> Tensor:
    """The t (B, 1) at which the sum of rate * min(t, until) over (B, N) reaches total (B, 1); inf if it never does.

    The sum must not decrease as t grows. Exact: it is linear between the sorted `until`.
    """
    until, order = until.sort(1)
    rate = rate.gather(1, order)
    slope = rate.flip(1).cumsum(1).flip(1)  # of the segment that ends at this `until`
    done = (rate * until).cumsum(1) - rate * until
    piece = torch.searchsorted((done + slope * until).cummax(1).values, total)
    never = piece == until.shape[1]
    piece = piece.clamp(max=until.shape[1] - 1)
    slope, done = slope.gather(1, piece), done.gather(1, piece)
    return torch.where(slope > 0, (total - done) / slope, 0).masked_fill(never, torch.inf)


def fill(order: Tensor, reach: Tensor, price: Tensor, total: Tensor) -> Tensor:
    """Steps (B, N), each at most its reach, entries with the largest `order` first, until total (B, 1) is used up."""
    index = order.argsort(1, descending=True)
    reach, price = reach.gather(1, index), price.gather(1, index)
    cost = reach * price
    left = (total - (cost.cumsum(1) - cost)).clamp(min=0)
    step = torch.where(price > 0, torch.minimum(reach, left / price.clamp(min=torch.finfo(price.dtype).tiny)), 0)
    return torch.zeros_like(step).scatter(1, index, step)


def furthest(gradient: Tensor, clean: Tensor, threat: ThreatModel) -> Tensor:
    """The image of ball and box that maximises a linear function with this gradient, in closed form."""
    if threat.norm == "linf":
        return project(clean + threat.epsilon * gradient.sign(), clean, threat)
    steep, reach = gradient.flatten(1).abs().double(), room(gradient, clean)
    total = torch.full_like(steep[:, :1], threat.epsilon)
    if threat.norm == "l1":
        step = fill(steep, reach, torch.ones_like(steep), total)
    else:
        until = (reach / steep).square().masked_fill(steep == 0, 0)
        step = torch.minimum(steep * solve(steep.square(), until, total.square()).sqrt(), reach).nan_to_num()
    return project(clean + gradient.sign() * step.reshape(clean.shape).to(clean), clean, threat)


def outward(images: Tensor, clean: Tensor, threat: ThreatModel) -> Tensor:
    """The images extended in their own direction from `clean` to the edge of the ball, then moved into the box.

    Images beyond the edge are projected.
    """
    perturbation = images - clean
    length = size(perturbation, threat.norm)
    longer = (threat.epsilon / length).nan_to_num(posinf=1).clamp(min=1).to(clean)
    return project(clean + perturbation * per_image(longer), clean, threat)


def steepest(gradient: Tensor, norm: Norm, at: Tensor | None = None, share: float | Tensor = 0.0) -> Tensor:
    """The step of unit norm that raises a linear function with this gradient most; 0 where the gradient is 0.

    share: for l1, where that step would move a single entry, the share (B,) of the largest entries that are moved
    equally (Croce & Hein 2021, section 3.1). Entries that the box blocks at the image `at` are skipped.
    """
    if norm == "linf":
        return gradient.sign()
    if norm == "l1":
        flat = gradient if at is None else gradient * ~(((at <= 0) & (gradient < 0)) | ((at >= 1) & (gradient > 0)))
        steep = flat.flatten(1).abs()
        if isinstance(share, float):
            share = torch.full((len(steep),), share, device=steep.device)
        count = share * steep.shape[1]
        last = (count.long() - 1).clamp(0, steep.shape[1] - 1).unsqueeze(1)
        least = steep.sort(1, descending=True).values.gather(1, last)
        gradient = flat.sign() * (steep >= least).reshape(flat.shape)
    length = per_image(size(gradient, norm)).to(gradient)
    return gradient / torch.where(length > 0, length, 1)


def sparse_share(done: float, entries: int) -> float:
    """The share of the entries an l1 step moves once this share of the path is done: from SHARE down to one entry.

    Steps of many entries capture how they act together; those of single entries put the budget where it counts most.
    """
    return SHARE / math.pow(max(1.0, SHARE * entries), min(1.0, done / NARROWED))


def streams(generator: torch.Generator, images: Tensor) -> list[torch.Generator]:
    """One generator per image, on its device, seeded from `generator`.

    An image's random numbers then depend on its position in the sequence of all images, not on how that was cut into
    batches (given one CPU `generator` carried from batch to batch).
    """
    seeds = torch.randint(2**62, (len(images),), generator=generator, device=generator.device)
    return [torch.Generator(images.device).manual_seed(seed) for seed in seeds.tolist()]


def random_point(clean: Tensor, threat: ThreatModel, random: Sequence[torch.Generator]) -> Tensor:
    """A random image: uniform in the linf ball, or on the sphere of the l2 or l1 ball, where nearly all volume lies."""
    return next(random_points(clean, threat, random, 1))


def random_points(
    clean: Tensor, threat: ThreatModel, random: Sequence[torch.Generator], count: int
) -> Iterator[Tensor]:
    """So many such images of each."""
    draw = torch.randn if threat.norm == "l2" else torch.rand
    for few in at_a_time(count, clean.numel()):
        drawn = [draw((few, *clean.shape[1:]), generator=one, device=clean.device) for one in random]
        for noise in torch.stack(drawn, dim=1).to(clean):
            yield _point(noise, clean, threat)


def at_a_time(count: int, size: int) -> Iterator[int]:
    """How many of `count` draws of `size` numbers to make in one call, again and again: a GPU is slow to begin each."""
    most = max(1, DRAWN // max(1, size))
    for done in range(0, count, most):
        yield min(most, count - done)


def _point(noise: Tensor, clean: Tensor, threat: ThreatModel) -> Tensor:
    if threat.norm == "l2":
        unit = steepest(noise, "l2")
    else:
        unit = 2 * noise - 1
    if threat.norm == "l1":  # Laplace noise divided by its l1 norm is uniform on the sphere
        unit = unit.sign() * -torch.log1p(-unit.abs().clamp(max=1 - 1e-7))
        unit = unit / per_image(size(unit, "l1")).to(unit)
    return project(clean + threat.epsilon * unit, clean, threat)


def to_8_bit(adversarial: Tensor, clean: Tensor, threat: ThreatModel) -> Tensor:
    """The adversarial images as an 8-bit file would store them: multiples of 1/255 in the box.

    Inside the ball wherever the clean image is on that grid: for linf the nearest grid point in the ball, for l2 and
    l1 the farthest rounded point on the line from the clean image that is still inside. Where the clean image is off
    the grid and no grid point is in the ball, the nearest one is taken although it is outside. Without a ball (patch,
    spatial), simply the nearest grid point.
    """
    origin, wanted, radius = clean * LEVELS, adversarial * LEVELS, (threat.epsilon + TOLERANCE / 2) * LEVELS
    if threat.norm not in BALLS:
        return wanted.round() / LEVELS
    if threat.norm == "linf":
        lowest, highest = (origin - radius).ceil(), (origin + radius).floor()
        return (wanted.round().clamp(lowest, highest).clamp(0, LEVELS)) / LEVELS

    def rounded(part: Tensor) -> Tensor:
        return (origin + part * (wanted - origin)).round()

    def inside(part: Tensor) -> Tensor:
        return per_image(size(rounded(part) - origin, threat.norm)) <= radius

    # Rounding may lengthen the perturbation. Its rounded length is monotonic in the part taken, so bisect.
    above = torch.ones_like(per_image(clean.flatten(1)[:, 0]))
    below = inside(above).to(clean)
    for _ in range(16):
        middle = (below + above) / 2
        ok = inside(middle)
        below, above = torch.where(ok, middle, below), torch.where(ok, above, middle)
    return rounded(below) / LEVELS
