"""Runs the probes of a forecast on the cluster that would run the trials."""

from __future__ import annotations

from collections.abc import Mapping

import ray
from ray.exceptions import GetTimeoutError, RayTaskError

from assay.cluster import capacity
from assay.cluster.connection import connected
from assay.config.search_space import Spec
from assay.contracts import TrainingData
from assay.errors import AssayError, SweepError
from assay.sweeps import tune
from assay.sweeps.probe import Rate, probe

PATIENCE = 900.0
"""Seconds within which a cluster must start its nodes and run the probes."""


def rates(
    spec: Spec, wanted: Mapping[str, Spec], data: TrainingData, address: str, seconds: float
) -> tuple[dict[str, float], list[Rate]]:
    """The cluster's resources, and the rate of every trainable in `wanted`.

    The probes run in parallel if there is room. Raises SweepError if no trial fits or no probe finishes in time.
    """
    with connected(address) as resources:
        capacity.together(spec, resources, joined=True)
        need = capacity.need(spec)
        task = ray.remote(num_cpus=need["cpu"], num_gpus=need["gpu"], memory=need["memory"], max_calls=1)(probe)
        held = ray.put(tune.in_memory(data))
        asked = [task.remote(name, alone, held, seconds) for name, alone in wanted.items()]
        try:
            return resources, ray.get(asked, timeout=PATIENCE)
        except GetTimeoutError as error:
            raise SweepError(
                f"no probe finished within {PATIENCE:.0f} s; look at `ray status`: the cluster may not start the nodes"
            ) from error
        except RayTaskError as error:
            if isinstance(error.cause, AssayError):
                raise error.cause from error
            raise
