"""Checks of the audit itself: a required one that fails makes the audit INVALID, whatever its figures say.

Each is a function that returns a row of `checks.parquet` with its evidence. Source of the list: Carlini et al. 2019
("On Evaluating Adversarial Robustness", the sections named below) and Pintor et al. 2022 (indicators of failure).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from assay import metrics, tables
from assay.attacks.pgd import pgd
from assay.contracts import Images, ThreatModel
from assay.evaluation import BATCH, batches, clean_scores, pixels, take
from assay.suite import Suite
from assay.units import in_255

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import nn

TOLERANCE = 1e-6  # of a ball, in pixel scale
BROKEN = 0.02  # AUROC that an attack without bounds must reach
SEEN = 0.01  # share of samples where noise may beat the white-box attacks


@dataclass(frozen=True)
class Context:
    """What the checks look at: the audited detector, its test images, and the scores and metrics of the audit."""

    detector: nn.Module
    images: Images
    suite: Suite
    scores: Mapping[str, NDArray[Any]]  # the columns of SCORES
    metrics: Mapping[str, NDArray[Any]]  # the columns of METRICS
    device: str = "cpu"


def row(check: str, passed: bool, evidence: str, value: float, limit: float, samples: int) -> dict[str, Any]:
    """A row of tables.CHECKS of a check that an audit cannot be valid without."""
    return {
        "check": check,
        "passed": bool(passed),
        "required": True,
        "evidence": evidence,
        "value": float(value),
        "limit": float(limit),
        "samples": int(samples),
    }


def deterministic(context: Context) -> dict[str, Any]:
    """Two passes over the clean images give the same bits: eval mode, no hidden randomness."""
    first = clean_scores(context.detector, context.images, context.device)
    second = clean_scores(context.detector, context.images, context.device)
    different = int((first != second).sum())
    evidence = f"two passes over {len(first)} clean images differ in {different} scores"
    return row("deterministic", different == 0, evidence, different, 0, len(first))


def epsilon_zero(context: Context) -> dict[str, Any]:
    """An attack at epsilon 0 returns the clean scores exactly (Carlini et al., sec. on sanity checks)."""
    import torch

    different = 0
    for first, last in batches(context.images):
        images = pixels(context.images, first, last, context.device)
        direction = torch.from_numpy(1 - 2 * context.images.labels[first:last]).to(context.device)
        generator = torch.Generator(context.device).manual_seed(0)
        found = pgd(context.detector, images, direction, ThreatModel("linf", 0.0), generator, steps=2)
        with torch.no_grad():
            different += int((found.scores != context.detector(images)).sum())
    evidence = f"PGD at epsilon 0 changes {different} of {len(context.images)} scores"
    return row("epsilon_zero", different == 0, evidence, different, 0, len(context.images))


def inside_ball(context: Context) -> dict[str, Any]:
    """Every scored image lies in its ball and in [0, 1] (an image that left [0, 1] has an infinite distance)."""
    scores = context.scores
    distance = np.where(scores["norm"] == "linf", scores["linf"], scores["l2"])
    excess = distance - scores["epsilon"]
    furthest, outside = float(excess.max()), int((excess > TOLERANCE).sum())
    evidence = f"{outside} of {len(excess)} attacked images lie outside their ball or [0, 1]; furthest {furthest:.1e}"
    return row("inside_ball", outside == 0, evidence, furthest, TOLERANCE, len(excess))


def robust_below_clean(context: Context) -> dict[str, Any]:
    """No attack leaves a sample better off than no attack, and no robust AUROC exceeds the clean one."""
    scores, figures = context.scores, context.metrics
    shift = scores["direction"] * (scores["adversarial_score"] - scores["clean_score"])
    wrong = int((shift < 0).sum())
    auroc = (figures["metric"] == "auroc") & (figures["defect"] == "all")
    clean = float(figures["value"][auroc & (figures["attack"] == "clean")][0])
    highest = float(figures["value"][auroc & (figures["attack"] != "clean")].max())
    evidence = (
        f"{wrong} of {len(shift)} scores moved the owner's way; highest robust AUROC {highest:.4f}, clean {clean:.4f}"
    )
    return row("robust_below_clean", wrong == 0 and highest <= clean, evidence, highest, clean, len(shift))


def monotone_in_epsilon(context: Context) -> dict[str, Any]:
    """The worst-case AUROC never rises with epsilon (Carlini et al., sec. on distortion)."""
    figures = context.metrics
    rises, samples = [0.0], 0
    for norm in sorted(set(figures["norm"]) - {""}):
        for regime in ("evasion", "false_alarm", "both"):
            chosen = (figures["metric"] == "auroc") & (figures["defect"] == "all") & (figures["attack"] == "worst")
            chosen &= (figures["norm"] == norm) & (figures["regime"] == regime)
            order = np.argsort(figures["epsilon"][chosen])
            rises += list(np.diff(figures["value"][chosen][order]))
            samples = len(context.images)
    highest = max(rises)
    evidence = f"worst-case AUROC over {len(rises) - 1} steps in epsilon rises by at most {max(0.0, highest):.1e}"
    return row("monotone_in_epsilon", highest <= 1e-12, evidence, highest, 1e-12, samples)


def unbounded(context: Context) -> dict[str, Any]:
    """An attack without bounds (linf, epsilon 1) ranks anomalies below normals (Carlini et al., same section)."""
    import torch

    chosen, labels, steps = _balanced(context), context.images.labels, context.suite.unbounded.steps
    images = take(context.images, chosen)
    direction = torch.from_numpy(1 - 2 * labels[chosen]).to(context.device)
    found = pgd(
        context.detector,
        pixels(images, 0, len(images), context.device),
        direction,
        ThreatModel("linf", 1.0),
        torch.Generator(context.device).manual_seed(0),
        steps=steps,
        step_size=10.0,
    )
    auroc = metrics.auroc(labels[chosen], found.scores.cpu().numpy())
    evidence = f"PGD-{steps} at epsilon 255/255 leaves AUROC {auroc:.3f} on {len(chosen)} samples"
    return row("unbounded", auroc <= BROKEN, evidence, auroc, BROKEN, len(chosen))


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


def white_box_beats_noise(context: Context) -> dict[str, Any]:
    """At equal norm and epsilon the white-box attacks move a sample at least as far as random noise does."""
    scores = context.scores
    shift = scores["direction"] * (scores["adversarial_score"] - scores["clean_score"])
    noise_names = {entry.name for entry in context.suite.attacks if entry.knowledge == "none"}
    noise = np.isin(scores["attack"], list(noise_names))
    best: dict[tuple[Any, ...], list[float]] = {}
    for sample, norm, epsilon, by_noise, value in zip(
        scores["sample"], scores["norm"], scores["epsilon"], noise, shift, strict=True
    ):
        pair = best.setdefault((sample, norm, epsilon), [-np.inf, -np.inf])
        pair[int(by_noise)] = max(pair[int(by_noise)], value)
    pairs = np.array([pair for pair in best.values() if np.isfinite(pair).all()])
    if not len(pairs):
        return row(
            "white_box_beats_noise", False, "the suite has no noise control beside a white-box attack", 1, SEEN, 0
        )
    beaten = float((pairs[:, 1] > pairs[:, 0]).mean())
    mean = pairs.mean(axis=0)
    evidence = (
        f"noise moves {beaten:.1%} of {len(pairs)} samples further than every white-box attack of its budget; "
        f"mean shift {mean[0]:.3g} white-box, {mean[1]:.3g} noise"
    )
    return row("white_box_beats_noise", beaten <= SEEN and mean[0] > mean[1], evidence, beaten, SEEN, len(pairs))


def headline_attacked(context: Context) -> dict[str, Any]:
    """The headline budget was attacked on every test sample: nothing was left out."""
    headline, scores = context.suite.headline, context.scores
    there = (scores["norm"] == headline.norm) & (scores["epsilon"] == headline.epsilon)
    missing = len(set(context.images.ids) - set(scores["sample"][there]))
    evidence = (
        f"{missing} of {len(context.images)} samples were not attacked at {headline.norm} {in_255(headline.epsilon)}"
    )
    return row("headline_attacked", missing == 0, evidence, missing, 0, len(context.images))


CHECKS = (
    deterministic,
    epsilon_zero,
    inside_ball,
    robust_below_clean,
    monotone_in_epsilon,
    unbounded,
    gradients,
    white_box_beats_noise,
    headline_attacked,
)
"""Every check, in the order of the report."""


def table(context: Context) -> pa.Table:
    """The rows of all checks (tables.CHECKS)."""
    return pa.Table.from_pylist([check(context) for check in CHECKS], schema=tables.CHECKS)


def _balanced(context: Context) -> NDArray[np.int64]:
    """The first samples of each class, as many as the suite gives to the attack without bounds."""
    each = min(context.suite.unbounded.samples, BATCH // 2)
    labels = context.images.labels
    return np.concatenate([np.flatnonzero(labels == label)[:each] for label in (0, 1)])
