"""The audit flags a twin of the detector that adds noise to its score."""

from __future__ import annotations

from assay.audits.checks import _canaries as canaries
from assay.audits.checks._context import Context
from assay.audits.checks._result import CheckResult, result
from assay.audits.checks.deterministic import deterministic

ORDER = 202
ABOUT = "strength"


def canary_stochastic(context: Context) -> CheckResult:
    """The audit flags a twin of the detector that adds noise to its score: randomness cannot pass for robustness."""
    seen = canaries.noisy(context)
    verdict = deterministic(seen)
    samples = len(seen.images)
    evidence = (
        f"a twin with noise of {canaries.NOISE:g} standard deviations on its score gives {verdict.value:.0f} of "
        f"{samples} images another score in a second pass, and is {'not noticed' if verdict.passed else 'flagged'}"
    )
    return result("canary_stochastic", not verdict.passed, evidence, verdict.value, 1, samples)
