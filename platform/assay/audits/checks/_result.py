"""What a check returns: whether it passed, and a sentence of evidence with its figures."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class CheckResult:
    """The outcome of one check, a row of schemas.CHECKS.

    required: an audit in which a required check fails is INVALID; any other failure is advice. value, limit: the figure
    that decided and what it is compared with. samples: how many were tested.
    """

    check: str
    passed: bool
    required: bool
    evidence: str
    value: float
    limit: float
    samples: int


def result(
    check: str, passed: bool, evidence: str, value: float, limit: float, samples: int, *, required: bool = True
) -> CheckResult:
    """The result of a check, its figures as plain Python values whatever numpy or torch made them."""
    return CheckResult(check, bool(passed), required, evidence, float(value), float(limit), int(samples))


def not_applicable(check: str, why: str) -> CheckResult:
    """The result of a check that has nothing to test in this audit."""
    return result(check, True, f"not applicable: {why}", 0, 0, 0, required=False)
