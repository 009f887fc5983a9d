"""Whether a proof leaves so little below what the attacks found at the headline that none could find much more."""

from __future__ import annotations

from assay.audits.checks._context import Context, called
from assay.contracts import ThreatModel
from assay.metrics.certified import ATTACK
from assay.store.score_matrix import ALL, WORST

WIDTH = 0.02  # AUROC between the proof and the worst case found; as much as `converged_in_steps` lets pass


def bracketed(context: Context) -> str | None:
    """A sentence where the headline's AUROC lies between a proof and the attacks within WIDTH, else None.

    A check of how strong attacks are far outside the headline's ball then has nothing to say about the headline: PGD
    sees one place of a maximum at a step, and may fail there on a detector that is sound.
    """
    headline, figures, found = context.suite.headline, context.metrics, {}
    for which in (ATTACK, WORST):
        rows = (figures["attack"] == which) & (figures["metric"] == "auroc") & (figures["defect"] == ALL)
        rows &= (figures["norm"] == headline.norm) & (abs(figures["epsilon"] - headline.epsilon) < 1e-9)
        rows &= figures["regime"] == "both"
        if not rows.any():
            return None
        found[which] = float(figures["value"][rows][0])
    if not 0 <= found[WORST] - found[ATTACK] <= WIDTH:
        return None
    at = called(ThreatModel(headline.norm, headline.epsilon))
    return (
        f"the proof brackets the headline, AUROC {found[ATTACK]:.3f} to {found[WORST]:.3f} at {at}, so that this is "
        "advice alone"
    )
