"""Canaries: twins of the audited detector with a known fault, against which the suite has to prove itself.

A suite that cannot break a detector built to be broken says nothing by not breaking another one (Carlini et al. 2019,
secs. on benchmark attacks and on similar attacks).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from assay.audits.checks._context import Context, at, chosen, shortened
from assay.audits.checks._evidence import BEHIND, Evidence, backed, share
from assay.data.reduced import take
from assay.metrics import detection
from assay.models.scoring import batches, score

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from assay.audits.suite import Entry
    from assay.contracts import ThreatModel

FEW = 8  # samples of each class
REACH = 30.0  # standard deviations of the clean scores that the weak twin can be moved by
STAIRS = 20  # steps of the masked twin within one standard deviation
BLOCKS = 8  # a side: coarse enough for a search without gradients to find
BROKEN = 0.02  # AUROC that the suite has to bring a breakable twin to
NOISE = 0.1  # standard deviations of the stochastic twin's noise
AT_ONCE = 2**20  # pixels of all images in float64
GRADIENT_STEPS, QUERIES = 20, 500  # the most of each count among an attack's parameters: canaries are cheap


class Weak(nn.Module):
    """The detector plus a linear term that some images do not show at all and a small change of them reaches at once.

    Images (B, C, H, W) in [0, 1] -> scores (B,). The weights are a pattern (C * H * W,) that the clean images do not
    show, so that these score as they do without it.
    """

    weight: Tensor

    def __init__(self, detector: nn.Module, pattern: Tensor, threat: ThreatModel, spread: float, visible: bool) -> None:
        super().__init__()
        self.detector, self.visible = detector, visible
        reach = threat.epsilon * pattern.abs().sum() if threat.norm == "linf" else threat.epsilon * pattern.norm()
        self.register_buffer("weight", (pattern * (REACH * spread / reach)).float())

    def forward(self, images: Tensor) -> Tensor:
        """Scores (B,), higher is more anomalous."""
        term = images.flatten(1) @ self.weight
        scores: Tensor = self.detector(images) + (term if self.visible else term.detach())
        return scores


class Masked(nn.Module):
    """A detector whose score climbs in stairs, with a slope on each that points nowhere: its gradient is useless."""

    slope: Tensor

    def __init__(self, detector: nn.Module, values: int, spread: float, device: str) -> None:
        super().__init__()
        self.detector, self.stair = detector, max(spread, 1e-12) / STAIRS
        slope = torch.randn(values, generator=torch.Generator().manual_seed(1))
        self.register_buffer("slope", 1e-3 * self.stair * slope.to(device) / slope.abs().sum())

    def forward(self, images: Tensor) -> Tensor:
        """Scores (B,), higher is more anomalous."""
        with torch.no_grad():
            stairs: Tensor = (self.detector(images) / self.stair).floor() * self.stair
        return stairs + images.flatten(1) @ self.slope


class Stochastic(nn.Module):
    """A detector with a little noise on its score, from a generator of its own."""

    def __init__(self, detector: nn.Module, spread: float, device: str) -> None:
        super().__init__()
        self.detector, self.noise = detector, NOISE * spread
        self.generator = torch.Generator(device).manual_seed(2)

    def forward(self, images: Tensor) -> Tensor:
        """Scores (B,), higher is more anomalous."""
        scores: Tensor = self.detector(images)
        drawn = torch.randn(scores.shape, generator=self.generator, device=scores.device)
        return scores + self.noise * drawn.to(scores)


def blocks(channels: int, height: int, width: int) -> Tensor:
    """A random pattern (C * H * W,) float64 of +1 and -1, the same within each of 8 x 8 blocks of every channel."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.randint(2, (1, channels, BLOCKS, BLOCKS), generator=generator).double() * 2 - 1
    pattern = nn.functional.interpolate(coarse, size=(height, width))
    return pattern.flatten()


def unseen(pattern: Tensor, pixels: NDArray[np.uint8]) -> Tensor:
    """What images (N, C, H, W) do not show of a pattern (C * H * W,): it is orthogonal to every one of them.

    Found by the products of the images with each other, some pixels at a time: a QR decomposition holds several copies
    of all of them as float64, more than a machine has for large images. The second pass takes away what rounding left.
    """
    flat = torch.from_numpy(pixels.reshape(len(pixels), -1))
    places = [slice(first, first + AT_ONCE) for first in range(0, flat.shape[1], AT_ONCE)]

    def part(place: slice) -> Tensor:
        return flat[:, place].to(pattern.device).float().div_(255).double()

    products = torch.stack([part(place) @ part(place).T for place in places]).sum(dim=0)
    inverse = torch.linalg.pinv(products, rtol=1e-10, hermitian=True)
    left = pattern.clone()
    for _ in range(2):
        shown = inverse @ torch.stack([part(place) @ left[place] for place in places]).sum(dim=0)
        for place in places:
            left[place] -= shown @ part(place)
    return left


def sizes(context: Context) -> list[int]:
    """Samples of each class that a twin is tried on, one number after the other while it is undecided."""
    most = context.suite.unbounded.samples
    return [min(FEW, most), *(more for more in (2 * FEW, 4 * FEW) if more <= most)]


def left_over(context: Context, seen: Context, looks: int) -> Evidence:
    """What a twin keeps under attack, on few samples: failed where it is shown not to be broken."""
    labels, places = seen.images.labels, np.arange(len(seen.images))
    smaller = seen.worth_of_pairs(places)
    moved = seen.shift.reshape(-1, len(labels)).max(axis=0)
    behind = int((2 * moved < REACH * context.spread).sum())
    far = share(behind, len(labels), BEHIND, looks, seen.worth(places))
    return backed(share(auroc(seen) * smaller, smaller, BROKEN, looks), far)


def weak(context: Context, threat: ThreatModel, few: int = FEW) -> Weak:
    """The weak twin; without a gradient where the detector has none."""
    pixels = context.images.pixels
    channels, height, width = pixels.shape[1:]
    pattern = unseen(blocks(channels, height, width).to(context.device), pixels[chosen(context, few)])
    return Weak(context.detector, pattern, threat, context.spread, context.facts.differentiable)


def masked(context: Context, threat: ThreatModel, few: int = FEW) -> Masked:
    """The weak twin with its gradient hidden."""
    values = math.prod(context.images.pixels.shape[1:])
    return Masked(weak(context, threat, few), values, context.spread, context.device)


def noisy(context: Context) -> Context:
    """The context of a few images and the stochastic twin, whose randomness is not declared."""
    twin = Stochastic(context.detector, context.spread, context.device)
    return Context(twin, take(context.images, chosen(context, FEW)), context.suite, {}, {}, context.device)


def entries(context: Context, threat: ThreatModel) -> list[Entry]:
    """The suite's attacks at a budget that can be made on any twin, those with most knowledge first."""
    known = ("white-box", "none") if context.facts.differentiable else ("score", "none")
    fit = [e for e in context.suite.attacks if e.norm == threat.norm and e.knowledge in known and not e.needs]
    return sorted(fit, key=lambda entry: known.index(entry.knowledge))


def attacked(
    context: Context, twin: nn.Module, threat: ThreatModel, made: Sequence[Entry], count: int = FEW
) -> Context:
    """The context of a small audit of the twin: those attacks at that budget, cut short, on a few of the samples."""
    places = chosen(context, count)
    few = take(context.images, places)
    seen = Context(twin, few, context.suite, {}, {}, context.device, threshold=context.threshold)
    names = ["clean", *(entry.name for entry in made)]
    scores: list[list[Tensor]] = [[] for _ in names]  # of each attack, batch by batch
    for first, last in batches(few):
        images, direction, random = at(context, places[first:last])
        scores[0].append(score(twin, images))
        for entry, its in zip(made, scores[1:], strict=True):
            most = GRADIENT_STEPS if entry.knowledge == "white-box" else QUERIES
            arguments = shortened(entry.attack.arguments(), most)
            outcome = entry.attack.function(twin, images, direction, threat, random, **arguments)
            its.append(score(twin, outcome.images))
    every = [torch.cat(its).double().cpu().numpy() for its in scores]
    count = len(names)
    columns = {
        "sample": np.array(few.ids * count),
        "attack": np.repeat(names, len(few)),
        "norm": np.repeat(threat.norm, len(few) * count),
        "epsilon": np.full(len(few) * count, threat.epsilon),
        "direction": np.tile(1 - 2 * few.labels, count),
        "clean_score": np.tile(every[0], count),
        "adversarial_score": np.concatenate(every),
    }
    return replace(seen, scores=columns)


def auroc(seen: Context) -> float:
    """The AUROC of each sample's worst score, the clean one among them."""
    labels = seen.images.labels
    sign = 1 - 2 * labels
    worst = (sign * seen.scores["adversarial_score"].reshape(-1, len(labels))).max(axis=0)
    return detection.auroc(labels, sign * worst)
