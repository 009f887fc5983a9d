"""The file that is deployed scores and decides as the detector that was audited, clean and under attack."""

from __future__ import annotations

from assay.audits.checks._context import Context
from assay.audits.checks._result import CheckResult, not_applicable, result
from assay.metrics import deployed

ORDER = 22
TOLERANCE = 0.01
"""Largest difference of a score, in standard deviations of the clean scores: float32 in another order of sums stays
below 0.001, another resize, bfloat16 and 8-bit weights do not."""


def deployed_equal(context: Context) -> CheckResult:
    """The file that is deployed scores and decides as the detector that was audited: its figures hold for the file.

    On every test image, clean and as each attack left it. A decision may differ only where the score is as close to the
    threshold as the tolerance, where arithmetic alone decides.
    """
    if context.deployed is None:
        return not_applicable("deployed_equal", "the model's card names no file that is deployed in its place")
    thresholds = deployed.thresholds(context.manifest)
    found = deployed.agreement(context.deployed, thresholds, TOLERANCE)
    noise = (context.same / context.spread) if context.facts.stochastic else 0.0
    limit, furthest = TOLERANCE + noise, max(found.clean, found.attacked)
    file = context.manifest["deployed"]["detector"]
    evidence = (
        f"{file} scores {found.clean_images} clean images at most {found.clean:.2g} standard deviations of the clean "
        f"scores from the audited detector, and {found.attacked_images} attacked ones at most {found.attacked:.2g}, "
        f"allowed {limit:.2g}; {found.clean_decisions} decisions on clean images differ, and "
        f"{found.attacked_decisions} on attacked ones"
    )
    if found.clean_decisions + found.attacked_decisions:
        evidence += f", {found.clear} of them further from the threshold than that"
    if thresholds.own_scale:
        evidence += f"; its scores are on a scale of their own and were multiplied by {found.scale:.3g}"
    if found.saturated:
        evidence += f"; {found.saturated} clipped scores were compared by their decisions alone"
    passed = furthest <= limit and found.clear == 0
    return result("deployed_equal", passed, evidence, furthest, limit, found.clean_images)
