"""A long attack from a fresh start finds little that the suite did not (Carlini et al., sec. on convergence)."""

from __future__ import annotations

from typing import Any

import numpy as np

from assay import metrics
from assay.attacks.apgd import apgd
from assay.checks._context import Context, attackable, chosen, row
from assay.contracts import ThreatModel
from assay.units import in_255

ORDER = 120
LEFT = 0.02  # worst-case AUROC that a longer attack may take off
LONGER = 100  # its steps


def converged(context: Context) -> dict[str, Any]:
    """A long attack from a fresh start finds little that the suite did not (Carlini et al., sec. on convergence)."""
    headline, scores = context.suite.headline, context.scores
    images, direction, generator = attackable(context)
    threat = ThreatModel(headline.norm, headline.epsilon)
    longer = apgd(context.detector, images, direction, threat, generator, steps=LONGER, restarts=2)
    reached: dict[str, float] = {}
    allowed = (scores["norm"] == headline.norm) & (scores["epsilon"] <= headline.epsilon)
    for sample, value in zip(
        scores["sample"][allowed], (scores["direction"] * scores["adversarial_score"])[allowed], strict=True
    ):
        reached[sample] = max(value, reached.get(sample, -np.inf))
    places = chosen(context)
    labels = context.images.labels[places]
    toward = (1 - 2 * labels) * longer.scores.double().cpu().numpy()
    before = np.array([reached.get(context.images.ids[i], -np.inf) for i in places])
    suite, both = (metrics.auroc(labels, (1 - 2 * labels) * worst) for worst in (before, np.maximum(before, toward)))
    budget = f"{headline.norm} {in_255(headline.epsilon, headline.norm)}"
    evidence = (
        f"APGD-{LONGER} x 2 from fresh starts takes the worst-case AUROC at {budget} of {len(places)} samples from "
        f"{suite:.3f} to {both:.3f}"
    )
    return row("converged", suite - both <= LEFT, evidence, suite - both, LEFT, len(places))
