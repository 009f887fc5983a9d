"""The suite breaks a twin of the detector that is known to be breakable."""

from __future__ import annotations

from assay.audits.checks import _canaries as canaries
from assay.audits.checks._context import NO_BALL, Context, called
from assay.audits.checks._result import CheckResult, not_applicable, result

ORDER = 200
ABOUT = "strength"


def canary_weak(context: Context) -> CheckResult:
    """The suite breaks a twin of the detector that is known to be breakable (Carlini et al., on similar attacks).

    The twin scores the clean images as the detector does; one change within the budget moves it far. A suite that
    cannot break it shows nothing by not breaking the detector.
    """
    threat = context.budget
    if threat is None:
        return not_applicable("canary_weak", NO_BALL)
    sizes = canaries.sizes(context)
    for few in sizes:
        twin, used = canaries.weak(context, threat, few), []
        seen = canaries.attacked(context, twin, threat, [], few)
        left = clean = canaries.auroc(seen)
        for entry in canaries.entries(context, threat):
            used.append(entry.name)
            seen = min(seen, canaries.attacked(context, twin, threat, [entry], few), key=canaries.auroc)
            if (left := canaries.auroc(seen)) <= canaries.BROKEN:
                break
        shown = canaries.left_over(context, seen, len(sizes))
        if left <= canaries.BROKEN or not shown.passed:
            break
    evidence = (
        f"a twin of the detector built to be broken at {called(threat)}: its AUROC on {len(seen.images)} samples is "
        f"{clean:.3f} clean and {left:.3f} after {', '.join(used) or 'no attack'}; the suite must bring it to "
        f"{canaries.BROKEN}, and of what is left {shown.words}"
    )
    return result("canary_weak", shown.passed, evidence, left, canaries.BROKEN, len(seen.images))
