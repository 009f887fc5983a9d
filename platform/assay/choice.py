"""Which of several results is the best one: the rule of `best:` in a search space, and the Pareto front."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np


def merit(
    values: Mapping[str, float], best: Mapping[str, object], directions: Mapping[str, str]
) -> tuple[float, float]:
    """A key to maximise: results that meet every `at_least` first, among them the highest `maximize`.

    values: objective -> value. best: `{"maximize": "mean" | objective, "at_least": {objective: value}}`.
    directions: objective -> `max` or `min`.
    A result that misses a bound ranks by how far it misses it, so that there is always a best one.
    """
    bounds = best.get("at_least") or {}
    assert isinstance(bounds, Mapping)
    missing = sum(max(0.0, float(bound) - values[name]) for name, bound in bounds.items())
    wanted = best.get("maximize", "mean")
    if wanted == "mean":
        return -missing, mean(values, directions)
    value = values[str(wanted)]
    return -missing, -value if directions.get(str(wanted)) == "min" else value


def mean(values: Mapping[str, float], directions: Mapping[str, str]) -> float:
    """The mean of the objectives, to be maximised; minimised ones count negated."""
    return sum(-value if directions.get(name) == "min" else value for name, value in values.items()) / len(values)


def ranks(points: Sequence[Sequence[float]]) -> list[int]:
    """The non-dominated rank of every point (all to be maximised): 0 is the Pareto front.

    Source: non-dominated sorting (Deb et al. 2002, NSGA-II, section III-A); a rank is one more than the highest among
    the points that dominate it, and those come before it in lexicographic order.
    """
    if not points:
        return []
    matrix = np.array(points, dtype=np.float64)
    rank = np.zeros(len(points), dtype=np.int64)
    order = np.lexsort(matrix.T[::-1])[::-1]
    for place, at in enumerate(order):
        before = order[:place]
        dominate = (matrix[before] >= matrix[at]).all(axis=1) & (matrix[before] > matrix[at]).any(axis=1)
        rank[at] = rank[before[dominate]].max(initial=-1) + 1
    found: list[int] = rank.tolist()
    return found
