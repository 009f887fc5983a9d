"""The suite's strongest attack, started afresh at the headline, finds no more than it did from smaller epsilons."""

from __future__ import annotations

from assay.audits.checks._compare import reached
from assay.audits.checks._context import FEW, NO_BALL, Context, attackable, called, chosen
from assay.audits.checks._result import CheckResult, not_applicable, result
from assay.metrics import detection

ORDER = 81
APART = 0.02  # AUROC


def cold_start(context: Context) -> CheckResult:
    """The suite's strongest attack, started afresh at the headline, finds no more than it did from smaller epsilons.

    Each epsilon starts from the images of the one before, so figures cannot rise; this check sees whether that start
    holds the attack back.
    """
    threat, scores = context.budget, context.scores
    if threat is None:
        return not_applicable("cold_start", NO_BALL)
    at = (scores["norm"] == threat.norm) & (scores["epsilon"] == threat.epsilon)
    shifts = {
        entry.name: (context.shift[at & (scores["attack"] == entry.name)].mean(), entry)
        for entry in context.suite.white_box()
        if (at & (scores["attack"] == entry.name)).any() and threat.epsilon > entry.epsilons[0]
    }
    if not shifts:
        return not_applicable("cold_start", "no white-box attack has a smaller epsilon before the headline")
    _, entry = max(shifts.values(), key=lambda pair: pair[0])
    images, direction, random = attackable(context, FEW)
    found = entry.attack.function(context.detector, images, direction, threat, random, **entry.attack.arguments())
    labels = context.images.labels[chosen(context, FEW)]
    sign = 1 - 2 * labels
    warm = detection.auroc(labels, sign * reached(context, threat, scores["attack"] == entry.name, FEW))
    cold = detection.auroc(labels, found.scores.double().cpu().numpy())
    evidence = (
        f"{entry.name} at {called(threat)} leaves AUROC {cold:.3f} on {len(images)} samples from a fresh start, "
        f"{warm:.3f} from the smaller epsilons; a fresh start may be better by {APART}"
    )
    return result("cold_start", warm - cold <= APART, evidence, warm - cold, APART, len(images))
