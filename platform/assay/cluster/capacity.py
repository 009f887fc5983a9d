"""How many trials run at a time: what one needs, against what the cluster has."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from assay.config.search_space import Spec
from assay.errors import SweepError
from assay.runtime.gpu import CONTEXT_GB

IN_RAY = {"cpu": ("CPU", 1), "gpu": ("GPU", 1), "memory_gb": ("memory", 2**30)}
"""A key of `resources:` -> what Ray calls it, and in which unit."""

RAY_STEPS = 10_000
"""Ray counts resources in steps of 1/10,000 and rounds; a share that is rounded up would keep one trial out."""


def need(spec: Spec) -> dict[str, float]:
    """What one trial asks of Ray."""
    return {key.lower(): (getattr(spec.resources, name) or 0) * unit for name, (key, unit) in IN_RAY.items()}


def settled(spec: Spec, resources: Mapping[str, float], joined: bool, gpu_memory_gb: Callable[[], float]) -> Spec:
    """The spec with `resources.gpu_memory_gb` turned into the share of a GPU: 1/k where k trials fit.

    gpu_memory_gb: what the smallest GPU of the cluster has, asked only where that decides. Raises SweepError where
    there is no GPU or not even one trial fits.
    """
    wanted = spec.resources.gpu_memory_gb
    if not wanted:
        return spec
    _at_least_one_fits("gpu", 1, resources.get("GPU", 0), joined and bool(spec.resources.concurrent), joined)
    has = gpu_memory_gb()
    fit = int(has / (wanted + CONTEXT_GB))
    if not fit:
        raise SweepError(
            f"a trial needs {wanted:g} GB of GPU memory, CUDA itself {CONTEXT_GB:g} GB, and a GPU of the cluster has "
            f"{has:.1f}; lower resources.gpu_memory_gb and what the trial takes, such as its batch_size"
        )
    share = spec.resources.model_copy(update={"gpu": RAY_STEPS // fit / RAY_STEPS})
    return spec.model_copy(update={"resources": share})


def together(spec: Spec, resources: Mapping[str, float], joined: bool) -> int:
    """How many trials run at a time on these resources; raises SweepError where not even one fits.

    A cluster that was joined may grow when more is asked of it than it has, so there `resources.concurrent` is taken
    at its word.
    """
    if joined and spec.resources.concurrent:
        return spec.resources.concurrent
    fit = []
    for name, (key, unit) in IN_RAY.items():
        amount, has = getattr(spec.resources, name) or 0, resources.get(key, 0) / unit
        _at_least_one_fits(name, amount, has, False, joined)
        if amount:
            fit.append(_times(has, amount) if name != "gpu" or amount >= 1 else int(has) * _times(1, amount))
    return min(*fit, spec.resources.concurrent or fit[0])


def _times(has: float, amount: float) -> int:
    """How often an amount fits; 0.1 ten times into 1, whatever floating point makes of it."""
    return int(has / amount + 1e-9)


def _at_least_one_fits(name: str, amount: float, has: float, grows: bool, joined: bool) -> None:
    if amount > has and not grows:
        hint = "; a cluster that starts its workers on demand needs resources.concurrent" if joined else ""
        raise SweepError(f"a trial needs {amount:g} {name} and the cluster has {has:g}; lower resources.{name}{hint}")
