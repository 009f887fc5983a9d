"""An attack without bounds (linf, epsilon 1) ranks anomalies below normals (Carlini et al., same section)."""

from __future__ import annotations

from typing import Any

from assay import metrics
from assay.attacks.pgd import pgd
from assay.checks._context import Context, attackable, row
from assay.contracts import ThreatModel

ORDER = 110
BROKEN = 0.02  # AUROC that an attack without bounds must reach


def unbounded(context: Context) -> dict[str, Any]:
    """An attack without bounds (linf, epsilon 1) ranks anomalies below normals (Carlini et al., same section)."""
    images, direction, generator = attackable(context)
    steps = context.suite.unbounded.steps
    threat = ThreatModel("linf", 1.0)
    found = pgd(context.detector, images, direction, threat, generator, steps=steps, step_size=10.0)
    auroc = metrics.auroc((direction < 0).long().cpu().numpy(), found.scores.cpu().numpy())
    evidence = f"PGD-{steps} at epsilon 255/255 leaves AUROC {auroc:.3f} on {len(images)} samples"
    return row("unbounded", auroc <= BROKEN, evidence, auroc, BROKEN, len(images))
