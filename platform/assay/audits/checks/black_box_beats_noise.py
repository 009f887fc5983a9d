"""Attackers who see scores get further than those who attack another detector, and these further than noise."""

from __future__ import annotations

from assay.audits.checks._compare import pairs
from assay.audits.checks._context import Context, listed
from assay.audits.checks._result import CheckResult, not_applicable, result

ORDER = 102
SEEN = 0.2  # share of samples where the one who knows less may get further
LADDER = (("score", "transfer"), ("score", "none"), ("transfer", "none"))


def black_box_beats_noise(context: Context) -> CheckResult:
    """Attackers who see scores get further than those who attack another detector, and these further than noise."""
    told, worst, samples = [], 0.0, 0
    for more, less in LADDER:
        found = pairs(context, context.known_as(more), context.known_as(less))
        if found.samples:
            beaten = found.weaker > found.stronger + context.same
            names = sorted({sample for sample, worse in zip(found.samples, beaten, strict=True) if worse})
            noun = "noise" if less == "none" else less
            told.append(f"{noun} beats {more} on {beaten.mean():.1%} of {len(beaten)} samples{listed(names, 3)}")
            worst, samples = max(worst, float(beaten.mean())), samples + len(beaten)
    if not told:
        return not_applicable("black_box_beats_noise", "the suite has no score-based or transfer attack beside another")
    return result("black_box_beats_noise", worst <= SEEN, "; ".join(told), worst, SEEN, samples, required=False)
