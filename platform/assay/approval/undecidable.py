"""Gates that no audit by a suite can decide, reported before hours are spent on one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from assay.approval.gate import Gate
from assay.approval.policy import Policy
from assay.audits import suite as suites
from assay.audits.suite import Suite
from assay.errors import suggest
from assay.metrics import corruption
from assay.metrics.certified import ATTACK as CERTIFIED
from assay.store.score_matrix import CLEAN, DEPLOYED, WORST, WORST_8BIT
from assay.units import epsilon_key, in_255


@dataclass(frozen=True)
class UndecidableGate:
    """A gate on a figure that an audit by the suite will not have. why: what the suite lacks, and what it has."""

    gate: str
    why: str

    def __str__(self) -> str:
        return f"gate {self.gate}: {self.why}"


def undecidable(policy: Policy, suite: Suite) -> list[UndecidableGate]:
    """The gates of a policy that no audit by the suite can decide, but those that are waived."""
    return [UndecidableGate(gate.label, why) for gate in policy.gates_not_waived() if (why := _missing(gate, suite))]


def without_suite(policy: Policy) -> Iterator[str]:
    """A sentence for each gate that no audit by a suite that comes with Assay can decide.

    Nothing where the policy judges audits by suites of the user's own: what those hold is known once one is read.
    """
    there = policy.suites or suites.shipped()
    if not set(there) <= set(suites.shipped()):
        return
    read = [suites.read(name) for name in there]
    for gate in policy.gates_not_waived():
        if all(_missing(gate, one) for one in read):
            known = sorted({name for one in read for name in _names(gate, one)})
            near = "" if gate.attack in known else suggest(gate.attack, known)
            yield f"gate {gate.label}: of the suites {', '.join(there)} none measures {_asked(gate)}{near}"


def _names(gate: Gate, suite: Suite) -> list[str]:
    """What a gate of this norm may name in an audit by the suite."""
    if gate.norm != "corruption":
        return [entry.name for entry in suite.attacks]
    return [*suite.corruptions.names, corruption.MEAN] if suite.corruptions else []


def _asked(gate: Gate) -> str:
    """`pgd-linf linf 2/255`, `fog at severity 3`."""
    assert gate.epsilon is not None  # of a clean figure nothing is missing
    if gate.norm == "corruption":
        return f"{gate.attack} at severity {gate.epsilon:g}"
    return f"{gate.attack} {gate.norm} {in_255(gate.epsilon, gate.norm)}"


def _missing(gate: Gate, suite: Suite) -> str:
    """What the suite lacks for a gate, or nothing; a certified floor, a deployed file and seeds are the detector's."""
    attack = gate.attack.removeprefix(DEPLOYED)
    if gate.of_seeds or gate.epsilon is None or attack in (CLEAN, CERTIFIED):
        return ""
    if gate.norm == "corruption":
        severities = suite.corruptions.severities if suite.corruptions else ()
        known = gate.attack in _names(gate, suite) and gate.epsilon in severities
        return "" if known else f"suite {suite.name} makes no {_asked(gate)}"
    entries = [entry for entry in suite.attacks if entry.norm == gate.norm]
    if attack not in (WORST, WORST_8BIT):
        entries = [entry for entry in entries if entry.name == attack]
    epsilons = sorted({epsilon for entry in entries for epsilon in entry.epsilons})
    fitting = epsilons[-1:] if gate.metric == "curve_area" else epsilons
    if epsilon_key(gate.epsilon) in map(epsilon_key, fitting):
        return ""
    there = ", ".join(in_255(epsilon, gate.norm) for epsilon in fitting) or "nothing"
    return f"suite {suite.name} has no figure for {_asked(gate)}; there is: {there}"
