"""The suite breaks a twin of the detector that is known to be breakable."""

from __future__ import annotations

from assay.audits.checks import _canaries as canaries
from assay.audits.checks._context import NO_BALL, Context, called
from assay.audits.checks._result import CheckResult, not_applicable, result

ORDER = 200


def canary_weak(context: Context) -> CheckResult:
    """The suite breaks a twin of the detector that is known to be breakable (Carlini et al., on similar attacks).

    The twin scores the clean images as the detector does; one change within the budget moves it far. A suite that
    cannot break it shows nothing by not breaking the detector.
    """
    threat = context.budget
    if threat is None:
        return not_applicable("canary_weak", NO_BALL)
    twin, used = canaries.weak(context, threat), []
    seen = canaries.attacked(context, twin, threat, [])
    left = clean = canaries.auroc(seen)
    for entry in canaries.entries(context, threat):
        used.append(entry.name)
        left = min(left, canaries.auroc(canaries.attacked(context, twin, threat, [entry])))
        if left <= canaries.BROKEN:
            break
    evidence = (
        f"a twin of the detector built to be broken at {called(threat)}: its AUROC on {len(seen.images)} samples is "
        f"{clean:.3f} clean and {left:.3f} after {', '.join(used) or 'no attack'}; the suite must bring it to "
        f"{canaries.BROKEN}"
    )
    return result("canary_weak", left <= canaries.BROKEN, evidence, left, canaries.BROKEN, len(seen.images))
