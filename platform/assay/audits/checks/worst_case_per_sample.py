"""The worst-case figures are those of each sample's worst score over all attacks, recomputed here."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from assay.audits.checks._context import Context
from assay.audits.checks._result import CheckResult, result
from assay.store.score_matrix import SCORE, SELECTION

if TYPE_CHECKING:
    from numpy.typing import NDArray

ORDER = 190
APART = 1e-9


def worst_case_per_sample(context: Context) -> CheckResult:
    """The worst-case AUROC is that of each sample's worst score (Carlini et al.: no minimum of means).

    Computed from the scores by other code than the figures were.
    """
    figures, apart, compared = context.metrics, 0.0, 0
    rows = (figures["attack"] == "worst") & (figures["metric"] == "auroc") & (figures["defect"] == "all")
    for at in np.flatnonzero(rows):
        recomputed = _auroc(context, figures["norm"][at], figures["epsilon"][at], figures["regime"][at])
        apart, compared = max(apart, abs(recomputed - figures["value"][at])), compared + 1
    evidence = f"{compared} worst-case AUROCs, computed again from the scores, differ by at most {apart:.1e}"
    return result("worst_case_per_sample", compared > 0 and apart <= APART, evidence, apart, APART, len(context.images))


def _auroc(context: Context, norm: str, epsilon: float, regime: str) -> float:
    """Of every sample's worst score under that norm at any epsilon up to this one; a random score as it was chosen."""
    scores, by = context.scores, context.scores[SELECTION if context.redrawn else SCORE]
    clean = dict(zip(scores["sample"], scores["clean_score"], strict=True))
    label = dict(zip(scores["sample"], scores["label"], strict=True))
    worst: dict[str, float] = {}
    chosen: dict[str, float] = {}
    for at in np.flatnonzero((scores["norm"] == norm) & (scores["epsilon"] <= epsilon)):
        sample, toward = scores["sample"][at], -1 if label[scores["sample"][at]] == 1 else 1
        if sample not in worst:
            worst[sample], chosen[sample] = clean[sample], -np.inf if context.redrawn else toward * clean[sample]
        if toward * by[at] > chosen[sample]:
            worst[sample], chosen[sample] = scores[SCORE][at], toward * by[at]
    attacked = {"evasion": (1,), "false_alarm": (0,), "both": (0, 1)}[regime]

    def of(which: int) -> NDArray[np.float64]:
        if which in attacked:
            return np.array([value for sample, value in worst.items() if label[sample] == which])
        return np.array([value for sample, value in clean.items() if label[sample] == which])

    difference = of(1)[:, None] - of(0)[None, :]
    return float(np.mean(np.sign(difference) + 1) / 2)
