"""What two kinds of attackers reached on the same sample within the same budget, side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from assay.audits.checks._context import Context, chosen

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from assay.contracts import ThreatModel


class Pairs(NamedTuple):
    """Per sample and budget: how far the stronger and the weaker attackers moved the score in their direction."""

    samples: list[str]
    stronger: NDArray[np.float64]
    weaker: NDArray[np.float64]


def pairs(context: Context, stronger: NDArray[np.bool_], weaker: NDArray[np.bool_]) -> Pairs:
    """The best shift of two sets of rows of the scores, wherever both have one for the same sample and budget."""
    scores, shift = context.scores, context.shift
    best: dict[tuple[str, str, float], list[float]] = {}
    for rows, which in ((stronger, 0), (weaker, 1)):
        keys = zip(scores["sample"][rows], scores["norm"][rows], scores["epsilon"][rows], strict=True)
        for key, value in zip(keys, shift[rows], strict=True):
            pair = best.setdefault(key, [-np.inf, -np.inf])
            pair[which] = max(pair[which], value)
    found = {key: pair for key, pair in best.items() if np.isfinite(pair).all()}
    values = np.array(list(found.values())).reshape(-1, 2)
    return Pairs([sample for sample, _, _ in found], values[:, 0], values[:, 1])


def reached(context: Context, threat: ThreatModel, rows: NDArray[np.bool_], most: int) -> NDArray[np.float64]:
    """direction * score that some rows reached within a budget, for each of the samples `chosen(context, most)`."""
    scores = context.scores
    best: dict[str, float] = {}
    for at in np.flatnonzero(rows & (scores["norm"] == threat.norm) & (scores["epsilon"] <= threat.epsilon)):
        sample, value = scores["sample"][at], scores["direction"][at] * scores["adversarial_score"][at]
        best[sample] = max(value, best.get(sample, -np.inf))
    labels = context.images.labels
    return np.array(
        [
            max(best.get(context.images.ids[at], -np.inf), (1 - 2 * labels[at]) * context.clean[at])
            for at in chosen(context, most)
        ]
    )
