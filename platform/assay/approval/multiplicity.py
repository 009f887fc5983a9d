"""Several gates decided at once: with the stated confidence, not one of the decisions is wrong.

Each gate is tried at its own confidence, which is higher the more gates are open. That a gate holds and that it is
broken are two claims; each family of claims gets half of the error, one end of the intervals. Nothing is assumed about
how the figures depend on each other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

from assay.approval.gate import Decision, Gate
from assay.store.figures import Figure

Correction = Literal["holm", "bonferroni", "none"]


class Ruling(NamedTuple):
    """The decision on a gate, and the confidence of the interval it was made at."""

    decision: Decision
    confidence: float


def rule(
    gates: Sequence[Gate], confidence: float, correction: Correction, figure: Callable[[Gate, float], Figure | None]
) -> list[Ruling]:
    """A ruling for each gate; figure: the figure of a gate at a confidence, None where it cannot decide anything.

    holm: of m gates the surest must be clear at 1 - (1 - confidence) / m, the next at 1 - (1 - confidence) / (m - 1)
    and so on (Holm 1979). bonferroni: all at the first of these. none: each at the confidence itself, so that of many
    gates one may well be decided wrongly. A gate on the figure itself makes no claim and does not count among the m.
    """

    def claimed(family: list[Gate], clear: Callable[[Gate, Figure], bool]) -> tuple[dict[Gate, float], float]:
        """The gates that the claim holds for, each with its confidence; and that at which the others failed."""
        made: dict[Gate, float] = {}
        level = confidence
        while still := [gate for gate in family if gate not in made]:
            level = confidence if correction == "none" else round(1 - (1 - confidence) / len(still), 12)
            newly = [gate for gate in still if (at_level := figure(gate, level)) is not None and clear(gate, at_level)]
            made |= dict.fromkeys(newly, level)
            if not newly or correction != "holm":
                break
        return made, level

    bounded = [gate for gate in gates if gate.deciding != "value"]
    holds, hold_level = claimed([gate for gate in bounded if gate.deciding == gate.bad], Gate.holds)
    broken, break_level = claimed(bounded, Gate.broken)

    def ruling(gate: Gate) -> Ruling:
        if gate in holds:
            return Ruling("PASS", holds[gate])
        if gate in broken:
            return Ruling("FAIL", broken[gate])
        level = break_level if gate.deciding != gate.bad else max(hold_level, break_level)
        level = confidence if gate.deciding == "value" else level
        at_level = figure(gate, level)
        if at_level is None or gate.deciding == gate.bad:
            return Ruling("INCONCLUSIVE", level)
        return Ruling("PASS" if gate.holds(at_level) else "FAIL", level)

    return [ruling(gate) for gate in gates]
