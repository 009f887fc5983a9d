"""No attack leaves a sample better off than no attack, and no robust AUROC exceeds the clean one."""

from __future__ import annotations

from typing import Any

from assay.checks._context import Context, row

ORDER = 70


def robust_below_clean(context: Context) -> dict[str, Any]:
    """No attack leaves a sample better off than no attack, and no robust AUROC exceeds the clean one."""
    scores, figures = context.scores, context.metrics
    shift = scores["direction"] * (scores["adversarial_score"] - scores["clean_score"])
    wrong = int((shift < 0).sum())
    auroc = (figures["metric"] == "auroc") & (figures["defect"] == "all")
    clean = float(figures["value"][auroc & (figures["attack"] == "clean")][0])
    highest = float(figures["value"][auroc & (figures["attack"] != "clean")].max())
    evidence = (
        f"{wrong} of {len(shift)} scores moved the owner's way; highest robust AUROC {highest:.4f}, clean {clean:.4f}"
    )
    return row("robust_below_clean", wrong == 0 and highest <= clean, evidence, highest, clean, len(shift))
