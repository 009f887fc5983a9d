"""Canaries: twins of the audited detector with a known fault, against which the suite has to prove itself.

A suite that cannot break a detector built to be broken says nothing by not breaking another one (Carlini et al. 2019,
secs. on benchmark attacks and on similar attacks).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from assay.audits.checks._context import Context, attackable, chosen, shortened
from assay.audits.checks._evidence import BEHIND, Evidence, backed, share
from assay.metrics import detection
from assay.models.scoring import score, take

if TYPE_CHECKING:
    from assay.audits.suite import Entry
    from assay.contracts import ThreatModel

FEW = 8  # samples of each class
REACH = 30.0  # standard deviations of the clean scores that the weak twin can be moved by
STAIRS = 20  # steps of the masked twin within one standard deviation
BLOCKS = 8  # a side: coarse enough for a search without gradients to find
BROKEN = 0.02  # AUROC that the suite has to bring a breakable twin to
NOISE = 0.1  # standard deviations of the stochastic twin's noise
GRADIENT_STEPS, QUERIES = 20, 500  # the most of each count among an attack's parameters: canaries are cheap


class Weak(nn.Module):
    """The detector plus a linear term that some images do not show at all and a small change of them reaches at once.

    Images (B, C, H, W) in [0, 1] -> scores (B,). The weights are a random pattern of blocks from which the part that
    the given images contain was taken out, so that these score as they do without it.
    """

    weight: Tensor

    def __init__(self, detector: nn.Module, images: Tensor, threat: ThreatModel, spread: float, visible: bool) -> None:
        super().__init__()
        self.detector, self.visible = detector, visible
        pattern = blocks(images)
        basis, _ = torch.linalg.qr(images.flatten(1).double().T)
        weight = pattern - basis @ (basis.T @ pattern)
        reach = threat.epsilon * weight.abs().sum() if threat.norm == "linf" else threat.epsilon * weight.norm()
        self.register_buffer("weight", (weight * REACH * spread / reach).to(images))

    def forward(self, images: Tensor) -> Tensor:
        """Scores (B,), higher is more anomalous."""
        term = images.flatten(1) @ self.weight
        scores: Tensor = self.detector(images) + (term if self.visible else term.detach())
        return scores


class Masked(nn.Module):
    """A detector whose score climbs in stairs, with a slope on each that points nowhere: its gradient is useless."""

    slope: Tensor

    def __init__(self, detector: nn.Module, images: Tensor, spread: float) -> None:
        super().__init__()
        self.detector, self.stair = detector, max(spread, 1e-12) / STAIRS
        slope = torch.randn(images[0].numel(), generator=torch.Generator().manual_seed(1))
        self.register_buffer("slope", 1e-3 * self.stair * slope.to(images) / slope.abs().sum())

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


def blocks(images: Tensor) -> Tensor:
    """A random pattern (C * H * W,) float64 of +1 and -1, the same within each of 8 x 8 blocks of every channel."""
    _, channels, height, width = images.shape
    generator = torch.Generator().manual_seed(0)
    coarse = torch.randint(2, (1, channels, BLOCKS, BLOCKS), generator=generator).double() * 2 - 1
    pattern = nn.functional.interpolate(coarse, size=(height, width))
    return pattern.flatten().to(images.device)


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
    images, _, _ = attackable(context, few)
    return Weak(context.detector, images, threat, context.spread, context.facts.differentiable)


def masked(context: Context, threat: ThreatModel, few: int = FEW) -> Masked:
    """The weak twin with its gradient hidden."""
    images, _, _ = attackable(context, few)
    return Masked(weak(context, threat, few), images, context.spread)


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
    images, direction, random = attackable(context, count)
    few = take(context.images, chosen(context, count))
    seen = Context(twin, few, context.suite, {}, {}, context.device, threshold=context.threshold)
    names, scores = ["clean"], [score(twin, images)]
    for entry in made:
        most = GRADIENT_STEPS if entry.knowledge == "white-box" else QUERIES
        arguments = shortened(entry.attack.arguments(), most)
        outcome = entry.attack.function(twin, images, direction, threat, random, **arguments)
        names.append(entry.name)
        scores.append(score(twin, outcome.images))
    count = len(names)
    columns = {
        "sample": np.array(few.ids * count),
        "attack": np.repeat(names, len(few)),
        "norm": np.repeat(threat.norm, len(few) * count),
        "epsilon": np.full(len(few) * count, threat.epsilon),
        "direction": np.tile(1 - 2 * few.labels, count),
        "clean_score": np.tile(scores[0].double().cpu().numpy(), count),
        "adversarial_score": torch.cat(scores).double().cpu().numpy(),
    }
    return replace(seen, scores=columns)


def auroc(seen: Context) -> float:
    """The AUROC of each sample's worst score, the clean one among them."""
    labels = seen.images.labels
    sign = 1 - 2 * labels
    worst = (sign * seen.scores["adversarial_score"].reshape(-1, len(labels))).max(axis=0)
    return detection.auroc(labels, sign * worst)
