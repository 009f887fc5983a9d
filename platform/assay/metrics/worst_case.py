"""The per-sample worst case over a whole suite: what an attacker reaches with any of its attacks up to a budget.

It is the worst score of each sample, never the worst figure of an attack (Carlini et al. 2019, section on reporting).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike, NDArray

from assay.store import parquet
from assay.store.schemas import GROUP, WORST_CASE
from assay.store.score_matrix import CLEAN, ROUNDED, SCORE, SELECTION, Floats, ScoreMatrix


class WorstCase(NamedTuple):
    """What is reached within one norm and epsilon, per sample (N,) of a matrix.

    attacked: whether the sample was attacked within it at all; the others keep their clean score.
    score, rounded: the furthest in the attacker's direction, raw and after rounding to 8 bits; no worse for them than
    clean. winner: the place of the setting that reached `score` in the matrix's `settings`, -1 for the clean image.
    Of a random score both are those of the winner, which was chosen by another draw: the score of one submission of
    the image that looked best, not the luckiest of as many submissions as there are settings.
    """

    norm: str
    epsilon: float
    attacked: NDArray[np.bool_]
    score: Floats
    rounded: Floats
    winner: NDArray[np.int32]


def worst_cases(matrix: ScoreMatrix) -> Iterator[WorstCase]:
    """The worst case of every norm and epsilon: over all attacks of that norm at any epsilon up to this one.

    A tie goes to the clean image, then to the smaller epsilon, then to the first name.
    """
    toward, count = matrix.toward, len(matrix.samples)
    for norm in sorted({setting.norm for setting in matrix.settings}):
        attacked, winner = np.zeros(count, dtype=bool), np.full(count, -1, dtype=np.int32)
        chosen = np.where(toward > 0, -np.inf, np.inf)
        score, rounded = matrix.clean.copy(), matrix.clean.copy()
        of_norm = [(place, setting) for place, setting in enumerate(matrix.settings) if setting.norm == norm]
        for epsilon in sorted({setting.epsilon for _, setting in of_norm}):
            for place, setting in of_norm:
                if setting.epsilon == epsilon:
                    after = matrix.values[SCORE][setting]
                    attacked |= ~np.isnan(after)
                    if SELECTION not in matrix.values:
                        winner[_move(score, after, toward)] = place
                        _move(rounded, matrix.values[ROUNDED][setting], toward)
                        continue
                    won = _move(chosen, matrix.values[SELECTION][setting], toward)
                    winner[won], score[won] = place, after[won]
                    rounded[won] = matrix.values[ROUNDED][setting][won]
            yield WorstCase(norm, epsilon, attacked.copy(), score.copy(), rounded.copy(), winner.copy())


def table(matrix: ScoreMatrix) -> pa.Table:
    """WORST_CASE of a matrix: a row per budget and sample that was attacked within it."""
    return pa.concat_tables(parquet.table(_columns(matrix, case), WORST_CASE) for case in worst_cases(matrix))


def _columns(matrix: ScoreMatrix, case: WorstCase) -> dict[str, object]:
    rows = case.attacked
    winner = case.winner[rows]  # -1 is the last of these lists
    names = np.array([*(setting.attack for setting in matrix.settings), CLEAN], dtype=object)
    epsilons = np.array([*(setting.epsilon for setting in matrix.settings), 0.0])
    return {
        "model": matrix.model,
        "sample": matrix.samples[rows],
        "label": matrix.labels[rows],
        "defect": matrix.defects[rows],
        "norm": case.norm,
        "epsilon": case.epsilon,
        "clean_score": matrix.clean[rows],
        "score": case.score[rows],
        "rounded_score": case.rounded[rows],
        "attack": names[winner],
        "attack_epsilon": epsilons[winner],
        GROUP: (matrix.samples if matrix.groups is None else matrix.groups)[rows],
    }


def _move(held: Floats, after: Floats, toward: NDArray[np.int8]) -> NDArray[np.bool_]:
    """Move scores to where `after` (NaN where there is nothing) reaches further, and say which moved."""
    further = toward * after > toward * held
    held[further] = after[further]
    return further


def worst_first(labels: ArrayLike, clean: ArrayLike, scores: ArrayLike, threshold: float) -> NDArray[np.int64]:
    """The samples from the worst for the owner on: their order by labels (N,), clean and attacked scores (N,).

    First those that were decided rightly and no longer are, by how far they lie beyond the threshold; then those still
    decided rightly, by how near they came; last those that were wrong before any attack.
    """
    toward = 1 - 2 * np.asarray(labels, dtype=np.int64)  # the attacker raises normals and lowers anomalies
    before, after = (toward * (np.asarray(values, dtype=np.float64) - threshold) for values in (clean, scores))
    # A score at the threshold is not flagged: right for a normal, wrong for an anomaly.
    was_right = np.where(toward > 0, before <= 0, before < 0)
    order: NDArray[np.int64] = np.lexsort((-after, ~was_right))
    return order
