"""Which samples an attacker gained most on: those pushed to the wrong side of the threshold, the furthest first."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def worst_first(labels: ArrayLike, clean: ArrayLike, scores: ArrayLike, threshold: float) -> NDArray[np.int64]:
    """The order of samples from the worst for the owner, of labels (N,), clean and attacked scores (N,).

    Before all others come those that were decided rightly and no longer are, by how far they lie beyond the threshold;
    then those still decided rightly, by how near they came; last those that were wrong before any attack.
    """
    toward = 1 - 2 * np.asarray(labels, dtype=np.int64)  # the attacker raises normals and lowers anomalies
    before, after = (toward * (np.asarray(values, dtype=np.float64) - threshold) for values in (clean, scores))
    # A score at the threshold is not flagged: right for a normal, wrong for an anomaly.
    was_right = np.where(toward > 0, before <= 0, before < 0)
    order: NDArray[np.int64] = np.lexsort((-after, ~was_right))
    return order
