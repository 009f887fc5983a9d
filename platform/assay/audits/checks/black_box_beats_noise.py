"""Attackers with scores get further than transfer attacks, and those further than noise."""

from __future__ import annotations

from assay.audits.checks._compare import by_sample, pairs
from assay.audits.checks._context import Context, listed
from assay.audits.checks._result import CheckResult, not_applicable, result

ORDER = 102
ABOUT = "strength"
SEEN = 0.2  # share of samples where the attacker with less knowledge may get further
LADDER = (("score", "transfer"), ("score", "none"), ("transfer", "none"))


def black_box_beats_noise(context: Context) -> CheckResult:
    """Attackers with scores get further than transfer attacks, and those further than noise."""
    phrases, worst, samples, passed = [], 0.0, 0, True
    for more, less in LADDER:
        compared = pairs(context, context.known_as(more), context.known_as(less))
        if compared.samples:
            beaten = compared.weaker > compared.stronger + context.same
            names = sorted({sample for sample, worse in zip(compared.samples, beaten, strict=True) if worse})
            shown = by_sample(compared, beaten, SEEN)
            noun = "noise" if less == "none" else less
            phrases.append(
                f"{noun} beats {more} on {beaten.mean():.1%} of {len(beaten)} samples{listed(names, 3)}: {shown.words}"
            )
            worst, samples = max(worst, float(beaten.mean())), samples + len(beaten)
            passed &= shown.passed
    if not phrases:
        return not_applicable("black_box_beats_noise", "the suite has no score-based or transfer attack beside another")
    return result("black_box_beats_noise", passed, "; ".join(phrases), worst, SEEN, samples, required=False)
