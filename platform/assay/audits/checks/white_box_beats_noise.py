"""At equal norm and epsilon the white-box attacks move a sample at least as far as random noise does."""

from __future__ import annotations

from assay.audits.checks._compare import by_sample, pairs
from assay.audits.checks._context import NO_GRADIENT, Context, listed
from assay.audits.checks._evidence import BEHIND, backed
from assay.audits.checks._result import CheckResult, not_applicable, result

ORDER = 100
ABOUT = "strength"
SEEN = 0.01  # share of samples where noise may beat the white-box attacks


def white_box_beats_noise(context: Context) -> CheckResult:
    """At equal norm and epsilon the white-box attacks move a sample at least as far as random noise does."""
    if not context.facts.differentiable:
        return not_applicable("white_box_beats_noise", NO_GRADIENT)
    compared = pairs(context, context.known_as("white-box"), context.known_as("none"))
    if not compared.samples:
        evidence = "the suite has no noise control beside a white-box attack"
        return result("white_box_beats_noise", False, evidence, 1, SEEN, 0)
    beaten = compared.weaker > compared.stronger + context.same
    share, white, noise = float(beaten.mean()), float(compared.stronger.mean()), float(compared.weaker.mean())
    names = sorted({sample for sample, worse in zip(compared.samples, beaten, strict=True) if worse})
    # Noise gets more than half as far: the attack is no search.
    near = 2 * compared.weaker > compared.stronger + context.same
    shown = backed(by_sample(compared, beaten, SEEN), by_sample(compared, near, BEHIND))
    evidence = (
        f"noise moves {share:.1%} of {len(beaten)} samples further than every white-box attack of its budget"
        f"{listed(names)}; mean shift {white:.3g} white-box, {noise:.3g} noise; {shown.words}"
    )
    moved = max(white, noise) > 0  # a score that neither moves is flat, and nothing was attacked
    return result("white_box_beats_noise", shown.passed and moved, evidence, share, SEEN, len(beaten))
