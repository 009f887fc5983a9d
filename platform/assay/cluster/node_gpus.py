"""How much memory the GPUs of a cluster have, asked of the nodes themselves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from assay.cluster import ray_failures
from assay.errors import SweepError
from assay.runtime import gpu

PATIENCE = 900.0
"""Seconds that a cluster may take to start its first node with a GPU."""


def memory_gb(ask: Callable[[], float] = gpu.memory_gb, patience: float = PATIENCE) -> float:
    """GB of the smallest GPU: a tiny task on every node that has one, or on the first that the cluster then starts.

    Raises SweepError where no such node comes up in time, one is lost meanwhile or its GPU cannot be used.
    """
    nodes = [node["NodeID"] for node in ray.nodes() if node["Alive"] and node["Resources"].get("GPU")]
    places: list[Any] = [NodeAffinitySchedulingStrategy(node, soft=False) for node in nodes] or ["DEFAULT"]
    task = ray.remote(num_cpus=0, num_gpus=0.01, max_calls=1)(ask)  # one call: its process ends and frees the GPU
    try:
        asked = [task.options(scheduling_strategy=place).remote() for place in places]
        return float(min(ray.get(asked, timeout=patience)))
    except GetTimeoutError as error:
        raise SweepError(
            f"no GPU could be asked for its memory in {patience:.0f} s; look at `ray status`, or write "
            "resources.gpu, the share of a GPU that a trial takes, in place of gpu_memory_gb"
        ) from error
    except RayTaskError as error:
        raise SweepError(
            f"a GPU of the cluster cannot be used by PyTorch there: {ray_failures.reason(error)}"
        ) from error
    except RayError as error:
        raise SweepError(
            f"a node with a GPU did not say how much memory it has: {ray_failures.reason(error)}; run the same command "
            "again, or look at the cluster's nodes"
        ) from error
