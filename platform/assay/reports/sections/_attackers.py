"""Every kind of attacker side by side: a floor that is proven for one says nothing of the others."""

from __future__ import annotations

from typing import NamedTuple

from assay.metrics import certified
from assay.reports.sections._html import norm
from assay.store.audit_reader import Audit, ThreatBudget
from assay.store.figures import Figure
from assay.store.score_matrix import WORST

NORMS = ("linf", "l2", "patch")
"""Attackers of whom every report with a floor says something, attacked or not."""
LIGHT = ("brightness", "contrast", "illumination_gradient", "vignetting")
"""Corruptions by another light."""
SEVERITY = 3.0
"""That stands for all, as in the section on corruptions; the largest there is where it was not measured."""


class Attacker(NamedTuple):
    """A kind of attacker: the budget in words, the proven AUROC and the one that is left."""

    name: str
    budget: ThreatBudget | None
    proven: Figure | None
    left: Figure | None
    by: str


def attackers(audit: Audit) -> list[Attacker]:
    """One row for each kind, where something is proven; nothing where nothing is."""
    if not any(audit.attacked("auroc", at, attack=certified.ATTACK) for at in audit.budgets):
        return []
    names = [*NORMS, *(name for name in audit.norms if name not in NORMS)]
    return [*(_of_norm(audit, name) for name in names), _of_light(audit)]


def _of_norm(audit: Audit, name: str) -> Attacker:
    if name not in audit.norms:
        return Attacker(norm(name), None, None, None, "")
    at = audit.shown(name)
    proven, left = (audit.attacked("auroc", at, attack=attack) for attack in (certified.ATTACK, WORST))
    return Attacker(norm(name), at, proven, left, "worst case of all attacks")


def _of_light(audit: Audit) -> Attacker:
    """The corruption by light that leaves least."""
    metrics = audit.metrics
    there = {
        (str(kind), float(severity))
        for kind, where, severity in zip(metrics["attack"], metrics["norm"], metrics["epsilon"], strict=True)
        if where == "corruption" and kind in LIGHT
    }
    if not there:
        return Attacker("light", None, None, None, "")
    severities = {severity for _, severity in there}
    at = ThreatBudget("corruption", SEVERITY if SEVERITY in severities else max(severities))
    found = {kind: audit.attacked("auroc", at, "natural", kind) for kind, severity in there if severity == at.epsilon}
    measured = {kind: figure for kind, figure in found.items() if figure}
    worst = min(measured, key=lambda kind: (measured[kind].value, kind))
    return Attacker("light", at, None, measured[worst], worst.replace("_", " "))
