"""Every attack of the suite at epsilon 0 returns the clean scores exactly (Carlini et al., sanity checks)."""

from __future__ import annotations

from typing import Any

from assay.checks._context import Context, attackable, row, scored
from assay.contracts import ThreatModel

ORDER = 60


def epsilon_zero(context: Context) -> dict[str, Any]:
    """Every attack of the suite at epsilon 0 returns the clean scores exactly (Carlini et al., sanity checks)."""
    images, direction, generator = attackable(context)
    different: dict[str, int] = {}
    for entry in context.suite.attacks:
        threat, arguments = ThreatModel(entry.norm, 0.0), entry.attack.arguments()
        found = entry.attack.function(context.detector, images, direction, threat, generator, **arguments)
        if wrong := int((scored(context, found.images) != scored(context, images)).sum()):
            different[entry.name] = wrong
    total = sum(different.values())
    whose = f" ({', '.join(f'{name}: {count}' for name, count in different.items())})" if different else ""
    evidence = f"{len(context.suite.attacks)} attacks at epsilon 0 change {total} of {len(images)} scores each{whose}"
    return row("epsilon_zero", total == 0, evidence, total, 0, len(images))
