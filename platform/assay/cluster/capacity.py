"""How many trials run at a time: what one needs against what the cluster has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from assay.config.search_space import Spec
from assay.errors import SweepError

IN_RAY = {"cpu": ("CPU", 1), "gpu": ("GPU", 1), "memory_gb": ("memory", 2**30)}
"""A key of `resources:` -> what Ray calls it, and in which unit."""


def need(spec: Spec) -> dict[str, float]:
    """What one trial asks of Ray."""
    return {key.lower(): (getattr(spec.resources, name) or 0) * unit for name, (key, unit) in IN_RAY.items()}


def together(spec: Spec, resources: Mapping[str, float], joined: bool) -> int:
    """How many trials run at a time on these resources; raises SweepError where not even one fits.

    A joined cluster may start more nodes when it is asked for more than it has, so there `resources.concurrent` counts
    as it stands.
    """
    if joined and spec.resources.concurrent:
        return spec.resources.concurrent
    for name, amount, has in _asked(spec, resources):
        if amount > has:
            hint = "; a cluster that starts its workers on demand needs resources.concurrent" if joined else ""
            raise SweepError(
                f"a trial needs {amount:g} {name} and the cluster has {has:g}; lower resources.{name}{hint}"
            )
    most = fitting(spec, resources)
    return min(most, spec.resources.concurrent or most)


def fitting(spec: Spec, resources: Mapping[str, float]) -> int:
    """How many trials these resources hold at once."""
    return min(
        _times(has, amount) if name != "gpu" or amount >= 1 else int(has) * _times(1, amount)
        for name, amount, has in _asked(spec, resources)
        if amount
    )


def _asked(spec: Spec, resources: Mapping[str, float]) -> Iterator[tuple[str, float, float]]:
    """Each key of `resources:`, what a trial asks of it and what there is, both in the unit of the key."""
    for name, (key, unit) in IN_RAY.items():
        yield name, getattr(spec.resources, name) or 0, resources.get(key, 0) / unit


def _times(has: float, amount: float) -> int:
    """How often an amount fits: 0.1 fits ten times into 1, whatever floating point makes of it."""
    return int(has / amount + 1e-9)
