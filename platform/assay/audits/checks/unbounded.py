"""An attack without bounds ranks anomalies below normals and gets every decision wrong."""

from __future__ import annotations

from assay.attacks.pgd import pgd
from assay.audits.checks._context import NO_GRADIENT, Context, attackable
from assay.audits.checks._result import CheckResult, not_applicable, result
from assay.contracts import ThreatModel
from assay.metrics import detection

ORDER = 70
BROKEN = 0.02  # AUROC that an attack without bounds must reach
WRONG = 0.9  # share of each class whose decision must be wrong; a masked gradient leaves a quarter right and more
PATH = 0.5  # length of all steps: from the clean image to anything grey. Longer steps jump over what they look for.


def unbounded(context: Context) -> CheckResult:
    """An attack without bounds ranks anomalies below normals (Carlini et al., "Perform an unbounded attack").

    linf, epsilon 1. At the deployed threshold both error rates go to 100 %: it is not enough that half are wrong.
    """
    if not context.facts.differentiable:
        return not_applicable("unbounded", NO_GRADIENT)
    images, direction, random = attackable(context)
    steps = context.suite.unbounded.steps
    threat = ThreatModel("linf", 1.0, context.threshold)
    found = pgd(context.detector, images, direction, threat, random, steps=steps, step_size=PATH, random_start=False)
    labels, scores = (direction < 0).long().cpu().numpy(), found.scores.double().cpu().numpy()
    auroc = detection.auroc(labels, scores)
    evidence = f"PGD-{steps} at epsilon 255/255 leaves AUROC {auroc:.3f} on {len(images)} samples"
    passed = auroc <= BROKEN
    if context.threshold is not None:
        missed = detection.miss_rate(labels, scores, context.threshold)
        alarms = detection.false_alarm_rate(labels, scores, context.threshold)
        passed &= min(missed, alarms) >= WRONG
        evidence += f"; at the threshold it hides {missed:.0%} of the anomalies and flags {alarms:.0%} of the normals"
    return result("unbounded", passed, evidence, auroc, BROKEN, len(images))
