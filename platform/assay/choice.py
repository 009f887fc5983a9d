"""Which of several results is the best one: the rule of `best:` in a search space, and the Pareto front."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def merit(
    values: Mapping[str, float], best: Mapping[str, object], directions: Mapping[str, str]
) -> tuple[float, float]:
    """A key to maximise: results that meet every `at_least` first, among them the highest `maximize`.

    values: objective -> value. best: `{"maximize": "mean" | objective, "at_least": {objective: value}}`.
    directions: objective -> `max` or `min`; the mean is taken with minimised objectives negated.
    A result that misses a bound ranks by how far it misses it, so that there is always a best one.
    """
    signed = {name: value if directions.get(name) != "min" else -value for name, value in values.items()}
    bounds = best.get("at_least") or {}
    assert isinstance(bounds, Mapping)
    missing = sum(max(0.0, float(bound) - values[name]) for name, bound in bounds.items())
    wanted = best.get("maximize", "mean")
    value = sum(signed.values()) / len(signed) if wanted == "mean" else signed[str(wanted)]
    return -missing, value


def dominates(one: Sequence[float], other: Sequence[float]) -> bool:
    """Whether `one` is at least as high everywhere and higher somewhere (all to be maximised)."""
    return all(a >= b for a, b in zip(one, other, strict=True)) and any(a > b for a, b in zip(one, other, strict=True))


def ranks(points: Sequence[Sequence[float]]) -> list[int]:
    """The non-dominated rank of every point (all to be maximised): 0 is the Pareto front.

    Source: non-dominated sorting (Deb et al. 2002, NSGA-II, section III-A).
    """
    rank = [-1] * len(points)
    left, level = set(range(len(points))), 0
    while left:
        front = {i for i in left if not any(dominates(points[j], points[i]) for j in left)}
        for i in front:
            rank[i] = level
        left, level = left - front, level + 1
    return rank
