"""The audit breaks or flags a twin of the detector that hides its gradient."""

from __future__ import annotations

from assay.audits.checks import _canaries as canaries
from assay.audits.checks._context import NO_BALL, NO_GRADIENT, Context, called
from assay.audits.checks._result import CheckResult, not_applicable, result
from assay.audits.checks.gradients import gradients
from assay.audits.checks.white_box_beats_black_box import white_box_beats_black_box
from assay.audits.checks.white_box_beats_noise import white_box_beats_noise

ORDER = 201
LONG = True
ABOUT = "strength"
FLAGS = (gradients, white_box_beats_noise, white_box_beats_black_box)


def canary_masked(context: Context) -> CheckResult:
    """The audit breaks or flags a twin of the detector that hides its gradient (Athalye et al. 2018).

    The twin is as breakable as the weak one, but climbs in stairs with a slope that points nowhere: gradients are
    there, and lead astray.
    """
    threat = context.budget
    if threat is None or not context.facts.differentiable:
        return not_applicable("canary_masked", NO_GRADIENT if threat else NO_BALL)
    sizes = canaries.sizes(context)
    for few in sizes:
        twin = canaries.masked(context, threat, few)
        seen = canaries.attacked(context, twin, threat, canaries.entries(context, threat), few)
        left = canaries.auroc(seen)
        flags = [] if left <= canaries.BROKEN else [check.__name__ for check in FLAGS if not check(seen).passed]
        whole = not canaries.left_over(context, seen, len(sizes)).passed
        if left <= canaries.BROKEN or flags or whole:
            break
    samples = len(seen.images)
    kept = "not noticed" if whole else "not shown to be unbroken"
    outcome = "broken" if left <= canaries.BROKEN else f"flagged by {', '.join(flags)}" if flags else kept
    evidence = (
        f"a breakable twin that hides its gradient keeps AUROC {left:.3f} under the suite's attacks at "
        f"{called(threat)} on {samples} samples, and is {outcome}; it must be broken or flagged"
    )
    noticed = bool(flags) or not whole
    return result("canary_masked", noticed, evidence, len(flags), 1, samples)
