"""Which of several results is best: the rule of `best:` in a search space, and the Pareto front."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def merit(
    values: Mapping[str, float], best: Mapping[str, object], directions: Mapping[str, str]
) -> tuple[float, float]:
    """Sort key, to be maximised: results that meet every `at_least` come first, ordered by `maximize`.

    values: objective -> value. best: `{"maximize": "mean" | objective, "at_least": {objective: value}}`.
    directions: objective -> `max` or `min`.
    Results that miss a bound are ranked by how far they miss it, so there is always a best one.
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
    """The mean of the objectives that are AUROCs, to be maximised; minimised ones are negated, costs left out."""
    counted = {name: value for name, value in values.items() if is_auroc(name)}
    return sum(-value if directions.get(name) == "min" else value for name, value in counted.items()) / len(counted)


def is_auroc(objective: str) -> bool:
    """Whether an objective is an AUROC, and not a cost."""
    return objective.endswith("_auroc")


def front(points: Sequence[tuple[float, ...]]) -> list[int]:
    """Indices of the points (figures to be maximised) that no other point dominates, ascending.

    Of one or two figures, goes through the points by descending first figure: only those with the highest last figure
    so far can qualify. Of more, compares each point with those of the front so far.
    """
    indices: list[int] = []
    if points and len(points[0]) > 2:
        for at in sorted(range(len(points)), key=lambda at: points[at], reverse=True):
            if not any(_dominates(points[other], points[at]) for other in indices):
                indices.append(at)
        return sorted(indices)
    for at in sorted(range(len(points)), key=lambda at: points[at], reverse=True):
        if not indices or points[at][-1] > points[indices[-1]][-1] or points[at] == points[indices[-1]]:
            indices.append(at)
    return sorted(indices)


def _dominates(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return one != other and all(a >= b for a, b in zip(one, other, strict=True))
