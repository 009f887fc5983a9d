"""Checks of the audit itself: a required one that fails makes the audit INVALID, whatever its figures say.

Each is a function that returns a row of `checks.parquet` with its evidence. Source of the list: Carlini et al. 2019
("On Evaluating Adversarial Robustness", the sections named below) and Pintor et al. 2022 (indicators of failure).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from assay import metrics, tables
from assay.attacks.apgd import apgd
from assay.attacks.pgd import pgd
from assay.contracts import Images, ThreatModel
from assay.evaluation import BATCH, batches, clean_scores, pixels, some_of_each, take
from assay.suite import Suite
from assay.units import in_255

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray
    from torch import Tensor, nn

TOLERANCE = 1e-6  # of a ball, in pixel scale
SAME = 1e-3  # of the standard deviation of the clean scores: how far arithmetic may move a score
ALONE = 4  # samples of each class that are scored one at a time
BROKEN = 0.02  # AUROC that an attack without bounds must reach
SEEN = 0.01  # share of samples where noise may beat the white-box attacks
LEFT = 0.02  # worst-case AUROC that a longer attack may take off
LONGER = 100  # its steps


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


def scored_alone(context: Context) -> dict[str, Any]:
    """An image has the same score alone as in a batch: neither its neighbours nor the attacker's other images count."""
    import torch

    images = take(context.images, some_of_each(context.images.labels, ALONE))
    with torch.no_grad():
        together = context.detector(pixels(images, 0, len(images), context.device))
        alone = [context.detector(pixels(images, i, i + 1, context.device)) for i in range(len(images))]
    moved = float((torch.cat(alone) - together).abs().max())
    limit = SAME * _spread(context)
    evidence = f"scored one at a time, {len(images)} images move by at most {moved:.1e}; allowed {limit:.1e}"
    return row("scored_alone", moved <= limit, evidence, moved, limit, len(images))


def clean_reproduced(context: Context) -> dict[str, Any]:
    """Every attack began from the score that the detector gives now: the scores are of this detector."""
    now = clean_scores(context.detector, context.images, context.device)
    by_id = dict(zip(context.images.ids, now, strict=True))
    expected = np.array([by_id.get(sample, np.nan) for sample in context.scores["sample"]])
    off = np.nan_to_num(np.abs(context.scores["clean_score"] - expected), nan=np.inf)
    furthest, limit = float(off.max()), SAME * _spread(context)
    evidence = f"{len(off)} clean scores of the audit are at most {furthest:.1e} from today's; allowed {limit:.1e}"
    return row("clean_reproduced", furthest <= limit, evidence, furthest, limit, len(now))


def epsilon_zero(context: Context) -> dict[str, Any]:
    """Every attack of the suite at epsilon 0 returns the clean scores exactly (Carlini et al., sanity checks)."""
    images, direction, generator = _some(context)
    different: dict[str, int] = {}
    for entry in context.suite.attacks:
        threat, arguments = ThreatModel(entry.norm, 0.0), entry.attack.arguments()
        found = entry.attack.function(context.detector, images, direction, threat, generator, **arguments)
        if wrong := int((_scored(context, found.images) != _scored(context, images)).sum()):
            different[entry.name] = wrong
    total = sum(different.values())
    whose = f" ({', '.join(f'{name}: {count}' for name, count in different.items())})" if different else ""
    evidence = f"{len(context.suite.attacks)} attacks at epsilon 0 change {total} of {len(images)} scores each{whose}"
    return row("epsilon_zero", total == 0, evidence, total, 0, len(images))


def inside_ball(context: Context) -> dict[str, Any]:
    """Every scored image lies in its ball and in [0, 1] (an image that left [0, 1] has an infinite distance)."""
    scores = context.scores
    distance = np.where(scores["norm"] == "linf", scores["linf"], scores["l2"])
    excess = np.nan_to_num(distance - scores["epsilon"], nan=np.inf)
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
    images, direction, generator = _some(context)
    steps = context.suite.unbounded.steps
    threat = ThreatModel("linf", 1.0)
    found = pgd(context.detector, images, direction, threat, generator, steps=steps, step_size=10.0)
    auroc = metrics.auroc((direction < 0).long().cpu().numpy(), found.scores.cpu().numpy())
    evidence = f"PGD-{steps} at epsilon 255/255 leaves AUROC {auroc:.3f} on {len(images)} samples"
    return row("unbounded", auroc <= BROKEN, evidence, auroc, BROKEN, len(images))


def converged(context: Context) -> dict[str, Any]:
    """A long attack from a fresh start finds little that the suite did not (Carlini et al., sec. on convergence)."""
    headline, scores = context.suite.headline, context.scores
    images, direction, generator = _some(context)
    threat = ThreatModel(headline.norm, headline.epsilon)
    longer = apgd(context.detector, images, direction, threat, generator, steps=LONGER, restarts=2)
    reached: dict[str, float] = {}
    allowed = (scores["norm"] == headline.norm) & (scores["epsilon"] <= headline.epsilon)
    for sample, value in zip(
        scores["sample"][allowed], (scores["direction"] * scores["adversarial_score"])[allowed], strict=True
    ):
        reached[sample] = max(value, reached.get(sample, -np.inf))
    chosen = _chosen(context)
    labels = context.images.labels[chosen]
    toward = (1 - 2 * labels) * longer.scores.double().cpu().numpy()
    before = np.array([reached.get(context.images.ids[i], -np.inf) for i in chosen])
    suite, both = (metrics.auroc(labels, (1 - 2 * labels) * worst) for worst in (before, np.maximum(before, toward)))
    budget = f"{headline.norm} {in_255(headline.epsilon, headline.norm)}"
    evidence = (
        f"APGD-{LONGER} x 2 from fresh starts takes the worst-case AUROC at {budget} of {len(chosen)} samples from "
        f"{suite:.3f} to {both:.3f}"
    )
    return row("converged", suite - both <= LEFT, evidence, suite - both, LEFT, len(chosen))


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


def nothing_left_out(context: Context) -> dict[str, Any]:
    """Every attack was made on every test sample once, at each of its epsilons."""
    scores = context.scores
    found = Counter(zip(scores["attack"], scores["epsilon"], scores["sample"], strict=True))
    budgets = [(entry.name, epsilon) for entry in context.suite.attacks for epsilon in entry.epsilons]
    wanted = Counter((*budget, sample) for budget in budgets for sample in context.images.ids)
    missing, surplus = (wanted - found).total(), (found - wanted).total()
    evidence = f"of {wanted.total()} attacks on a sample {missing} are missing, and {surplus} are too many"
    return row("nothing_left_out", missing + surplus == 0, evidence, missing + surplus, 0, len(context.images))


CHECKS = (
    deterministic,
    scored_alone,
    clean_reproduced,
    nothing_left_out,
    inside_ball,
    epsilon_zero,
    robust_below_clean,
    monotone_in_epsilon,
    gradients,
    white_box_beats_noise,
    unbounded,
    converged,
)
"""Every check, in the order of the report."""


def table(context: Context) -> pa.Table:
    """The rows of all checks (tables.CHECKS)."""
    return pa.Table.from_pylist([check(context) for check in CHECKS], schema=tables.CHECKS)


def _chosen(context: Context) -> NDArray[np.int64]:
    """The samples that the attacks of the checks are made on, as many of each class as the suite says."""
    return some_of_each(context.images.labels, min(context.suite.unbounded.samples, BATCH // 2))


def _some(context: Context) -> tuple[Tensor, Tensor, torch.Generator]:
    """Images, direction and generator for an attack of a check."""
    import torch

    images = take(context.images, _chosen(context))
    direction = torch.from_numpy(1 - 2 * images.labels).to(context.device)
    generator = torch.Generator(context.device).manual_seed(0)
    return pixels(images, 0, len(images), context.device), direction, generator


def _scored(context: Context, images: Tensor) -> Tensor:
    import torch

    with torch.no_grad():
        scores: Tensor = context.detector(images)
    return scores


def _spread(context: Context) -> float:
    """The standard deviation of the clean scores."""
    return float(clean_scores(context.detector, context.images, context.device).std())
